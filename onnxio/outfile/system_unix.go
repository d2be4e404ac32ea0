//go:build unix

package outfile

import (
	"errors"
	"os"
	"syscall"
)

// duplicate opens an open file of this process once more, at the place where it is.
func duplicate(fd int, name string) (*os.File, error) {
	own, err := syscall.Dup(fd)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(own)
	return os.NewFile(uintptr(own), name), nil
}

// chown gives a file the owner of another one, where the system lets it.
func chown(f *os.File, old os.FileInfo) {
	if s, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(s.Uid), int(s.Gid))
	}
}

// synced brings a file to the disk, where the file system can do that.
func synced(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// syncFolder brings the names of a folder to the disk. Some file systems cannot.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
