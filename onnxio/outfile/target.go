package outfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Target is the file that a name stands for.
type Target struct {
	Name string      // as the user gave it
	Path string      // with symbolic links followed: the file that is replaced
	Info os.FileInfo // nil where there is no file yet
	fd   int         // of this process, -1 where the name is that of a file
}

// maxLinks bounds a chain of symbolic links, as the kernel does.
const maxLinks = 40

// Resolve follows the symbolic links of a name. What the name stands for need not exist.
func Resolve(name string) (*Target, error) {
	t := &Target{Name: name, Path: name, fd: -1}
	for range maxLinks {
		if fd, ok := descriptor(t.Path); ok {
			t.fd = fd
			break
		}
		info, err := os.Lstat(t.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, t.failed(err)
		}
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			break
		}
		to, err := os.Readlink(t.Path)
		if err != nil {
			return nil, t.failed(err)
		}
		if filepath.IsAbs(to) {
			t.Path = to
		} else {
			dir, _ := filepath.Split(t.Path)
			t.Path = dir + to // not joined: "link/.." is not the folder of link
		}
	}
	info, err := os.Stat(name)
	switch {
	case err == nil:
		t.Info = info
	case !errors.Is(err, fs.ErrNotExist):
		return nil, t.failed(err)
	}
	return t, nil
}

// descriptor says which open file of this process a name such as /dev/fd/3 or /proc/self/fd/3 stands for.
func descriptor(path string) (int, bool) {
	dir, file := filepath.Split(path)
	n, err := strconv.Atoi(file)
	if err != nil || n < 0 || dir == "" {
		return 0, false
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return 0, false
	}
	own := fmt.Sprintf("/proc/%d", os.Getpid())
	return n, real == "/dev/fd" || real == own+"/fd" || filepath.Dir(filepath.Dir(real)) == own+"/task" && filepath.Base(real) == "fd"
}

// Stream reports whether the target is a pipe, a device, a socket or an open file of this process, which is written to and not replaced.
func (t *Target) Stream() bool {
	return t.fd >= 0 || t.Info != nil && !t.Info.Mode().IsRegular() && !t.Info.IsDir()
}

// Descriptor is the open file of this process that the name stands for, such as 1 for /dev/stdout; -1 for any other name.
func (t *Target) Descriptor() int { return t.fd }

// folderOf is the folder that a path lies in, as the kernel sees it: filepath.Dir takes ".." by its letters.
func folderOf(path string) (dir, base string) {
	dir, base = filepath.Split(path)
	if dir == "" {
		dir = "." + string(filepath.Separator)
	}
	return dir, base
}

// Ready says why the target cannot be written, as far as can be seen without writing.
func (t *Target) Ready() error {
	if t.Stream() {
		return nil
	}
	dir, _ := folderOf(t.Path)
	if t.Info != nil && t.Info.IsDir() {
		return t.failed(errors.New("this is a folder; give the name of a file"))
	}
	info, err := os.Stat(dir)
	shown := filepath.Clean(dir)
	if t.Path != t.Name {
		shown += fmt.Sprintf(", which the link %s points into,", t.Name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.failed(folderError{"folder " + shown + " does not exist", fs.ErrNotExist})
	case err != nil:
		return t.failed(err)
	case !info.IsDir():
		return t.failed(fmt.Errorf("%s is not a folder", shown))
	}
	if t.Info != nil { // a file that may not be written is not to be replaced either
		if err := replaceable(t.Path); err != nil {
			return t.failed(err)
		}
	}
	if err := writable(dir); err != nil {
		return t.failed(fmt.Errorf("folder %s: %w", shown, err))
	}
	return nil
}

// folderError says that a folder is missing.
type folderError struct {
	text string
	err  error
}

func (e folderError) Error() string { return e.text }

func (e folderError) Unwrap() error { return e.err }

// WriteError says that a file could not be written. What was there before is still there.
type WriteError struct {
	Name string // as the user gave it
	Err  error
}

func (e *WriteError) Error() string { return e.Name + ": " + e.Err.Error() }

func (e *WriteError) Unwrap() error { return e.Err }

// failed gives an error the name that the user gave instead of that of a temporary file.
func (t *Target) failed(err error) error {
	var at *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		err = at.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return &WriteError{t.Name, err}
}
