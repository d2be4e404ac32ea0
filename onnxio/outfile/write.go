package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Write replaces the file at name by what write writes. Where it fails, the file is as it was and nothing new is left beside it.
func Write(name string, write func(io.Writer) error) error {
	b := &Batch{}
	defer b.Discard()
	if err := b.Add(name, write); err != nil {
		return err
	}
	return b.Commit()
}

// WriteBytes replaces the file at name by b.
func WriteBytes(name string, b []byte) error {
	return Write(name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// writer writes files; at, where it is set, is called between two steps.
type writer struct{ at func(step string) }

func (w writer) step(name string) {
	if w.at != nil {
		w.at(name)
	}
}

// through writes to a stream. What was written before an error stays written.
func (t *Target) through(write func(io.Writer) error) error {
	var f *os.File
	var err error
	if t.fd >= 0 {
		f, err = duplicate(t.fd, t.Name)
	} else {
		f, err = os.OpenFile(t.Path, os.O_WRONLY, 0)
	}
	if err != nil {
		return t.failed(err)
	}
	err = t.own(write(f), f.Name(), "a part of it may have been written")
	if closed := f.Close(); closed != nil && err == nil {
		err = t.failed(closed)
	}
	return err
}

// draft is a file under a name of its own that is to get another one.
type draft struct {
	path string
	gone bool
}

// discard removes a draft that was not renamed.
func (d *draft) discard() {
	if d.gone {
		return
	}
	_ = settle(func() error {
		_ = os.Remove(d.path)
		return nil
	}, d.path)
	d.gone = true
}

// temporary writes a draft for the target beside it.
func (w writer) temporary(t *Target, write func(io.Writer) error) (*draft, error) {
	dir, base := folderOf(t.Path)
	return w.draft(t, dir+"."+shortened(base)+".tmp-", write)
}

// shortened leaves room in a file name, which has at most 255 bytes, for what is added to it.
func shortened(base string) string {
	const most = 200
	return base[:min(len(base), most)]
}

// draft writes a file whose name starts with prefix, with the mode of the target.
func (w writer) draft(t *Target, prefix string, write func(io.Writer) error) (*draft, error) {
	if err := t.Ready(); err != nil {
		return nil, err
	}
	f, err := w.create(t, prefix)
	if err != nil {
		return nil, t.failed(err)
	}
	d := &draft{path: f.Name()}
	w.step("created " + f.Name())
	if err := t.own(write(f), f.Name(), "nothing was changed"); err != nil {
		_ = f.Close()
		d.discard()
		return nil, err
	}
	if err := errors.Join(keep(f, t.Info), synced(f), f.Close()); err != nil {
		d.discard()
		return nil, t.failed(err)
	}
	w.step("written " + f.Name())
	return d, nil
}

// create opens a new file whose name starts with prefix.
func (w writer) create(t *Target, prefix string) (*os.File, error) {
	mode := fs.FileMode(0o666) // less the umask
	if t.Info != nil {
		mode = t.Info.Mode().Perm()
	}
	for {
		f, err := made(prefix+strconv.FormatUint(uint64(rand.Uint32()), 10), mode|0o200)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// keep gives a draft owner and mode of the file that it replaces.
func keep(f *os.File, old os.FileInfo) error {
	if old == nil {
		return nil
	}
	chown(f, old)
	const kept = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	return f.Chmod(old.Mode() & kept)
}

// rename gives a draft its name. Others, which it names, become permanent with it.
func (w writer) rename(d *draft, t *Target, others ...string) error {
	dir, _ := folderOf(t.Path)
	w.step("rename to " + t.Path)
	if err := settle(func() error { return os.Rename(d.path, t.Path) }, append(others, d.path)...); err != nil {
		return t.failed(err)
	}
	d.gone = true
	syncFolder(dir)
	w.step("renamed to " + t.Path)
	return nil
}

// own adds the user's name, and what it means for the file, to an error about the file at path; errors about anything else are returned as they are.
func (t *Target) own(err error, path, means string) error {
	var at *os.PathError
	if !errors.As(err, &at) || filepath.Clean(at.Path) != filepath.Clean(path) {
		return err
	}
	return &WriteError{t.Name, fmt.Errorf("%w; %s", at.Err, means)}
}

// numbered reports whether name is prefix and a number.
func numbered(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	_, err := strconv.ParseUint(rest, 10, 32)
	return ok && err == nil
}
