package outfile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Claims are the files that a command reads and writes. Check compares them by what they are and not by their names.
type Claims struct {
	reads, writes []claim
	folders       []folder // whose files are read
	made          []folder // whose files are written
}

type claim struct {
	name, use string
	place     place
	target    *Target // nil for an open file
	made      bool    // the folder of the file is made when it is missing
}

type folder struct {
	name, use string
	info      os.FileInfo
	part      func(base string) bool
}

// ClashError says that a file that would be written is also read, or would be written twice.
type ClashError struct {
	Output, OutputUse string // what would be written
	Other, OtherUse   string // what it is as well
	Written           bool   // the other one would be written too
}

func (e *ClashError) Error() string {
	name, other := e.Other, ""
	if e.Output != e.Other {
		other = fmt.Sprintf("%s is the same file; ", e.Output)
	}
	if e.Written {
		return fmt.Sprintf("%s would be written twice: %sit would be written as %s and as %s; choose another name for one of them", name, other, e.OtherUse, e.OutputUse)
	}
	return fmt.Sprintf("%s would be overwritten: %sit is read as %s and would be written as %s; choose another name for the output", name, other, e.OtherUse, e.OutputUse)
}

// place is where a file is: the file itself, or the deepest folder on the way to it that exists, and the rest of the way.
type place struct {
	info os.FileInfo
	rest string
}

func placeOf(t *Target) place {
	if t.fd >= 0 || t.Info != nil {
		return place{info: t.Info}
	}
	dir, rest := folderOf(t.Path)
	for {
		if info, err := os.Stat(dir); err == nil {
			return place{info, rest}
		}
		up, base := filepath.Split(strings.TrimRight(dir, string(filepath.Separator)))
		if up == dir || base == "" {
			return place{rest: filepath.Join(dir, rest)}
		}
		if up == "" {
			up = "."
		}
		dir, rest = up, filepath.Join(base, rest)
	}
}

// same reports whether two places are one file that a write changes. A device takes what it gets.
func (p place) same(q place) bool {
	if !sameName(p.rest, q.rest) || p.info == nil || q.info == nil {
		return p.info == nil && q.info == nil && p.rest != "" && sameName(p.rest, q.rest)
	}
	return p.info.Mode()&os.ModeDevice == 0 && os.SameFile(p.info, q.info)
}

// sameName compares names of files that are not there yet; on these systems most file systems ignore case.
func sameName(x, y string) bool {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return strings.EqualFold(x, y)
	}
	return x == y
}

// Read claims a file that is read; use says what it is, such as "the model". Names that cannot be followed are left to whoever reads them.
func (c *Claims) Read(name, use string) {
	if t, err := Resolve(name); err == nil {
		c.reads = append(c.reads, claim{name: name, use: use, place: placeOf(t), target: t})
	}
}

// ReadOpen claims an open file that is read, such as standard input.
func (c *Claims) ReadOpen(f *os.File, use string) {
	if info, err := f.Stat(); err == nil {
		c.reads = append(c.reads, claim{name: f.Name(), use: use, place: place{info: info}})
	}
}

// ReadFolder claims the files of a folder, and of the folders in it, whose names reads accepts.
func (c *Claims) ReadFolder(name, use string, reads func(base string) bool) {
	if info, err := os.Stat(name); err == nil {
		c.folders = append(c.folders, folder{name, use, info, reads})
	}
}

// Write claims a file that is written.
func (c *Claims) Write(name, use string) error { return c.write(name, use, false) }

// WriteMade is Write for a file whose folder is made when it is missing.
func (c *Claims) WriteMade(name, use string) error { return c.write(name, use, true) }

func (c *Claims) write(name, use string, made bool) error {
	t, err := Resolve(name)
	if err != nil {
		return err
	}
	c.writes = append(c.writes, claim{name, use, placeOf(t), t, made})
	return nil
}

// WriteOpen claims an open file that is written, such as standard output.
func (c *Claims) WriteOpen(f *os.File, use string) {
	if info, err := f.Stat(); err == nil {
		c.writes = append(c.writes, claim{name: f.Name(), use: use, place: place{info: info}})
	}
}

// WriteFolder claims the files of a folder, and of the folders in it, whose names writes accepts. The folder is made when it is missing.
func (c *Claims) WriteFolder(name, use string, writes func(base string) bool) {
	if info, err := os.Stat(name); err == nil { // else nothing in it is read
		c.made = append(c.made, folder{name, use, info, writes})
	}
}

// Check returns a ClashError for two claims of one file, of which one at least writes it, and else a WriteError for a file that cannot be written.
func (c *Claims) Check() error {
	if err := c.clash(); err != nil {
		return err
	}
	for _, w := range c.writes {
		if w.target == nil || w.made {
			continue
		}
		if err := w.target.Ready(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Claims) clash() error {
	for i, w := range c.writes {
		for _, r := range c.reads {
			if w.place.same(r.place) {
				return &ClashError{Output: w.name, OutputUse: w.use, Other: r.name, OtherUse: r.use}
			}
		}
		for _, o := range c.writes[:i] {
			if w.place.same(o.place) {
				return &ClashError{w.name, w.use, o.name, o.use, true}
			}
		}
		for _, f := range c.folders {
			if f.has(w) {
				return &ClashError{Output: w.name, OutputUse: w.use, Other: filepath.Join(f.name, filepath.Base(w.target.Path)), OtherUse: f.use}
			}
		}
	}
	for _, r := range c.reads {
		for _, f := range c.made {
			if f.has(r) {
				return &ClashError{Output: filepath.Join(f.name, filepath.Base(r.target.Path)), OutputUse: f.use, Other: r.name, OtherUse: r.use}
			}
		}
	}
	return nil
}

// has reports whether a file that exists is one of those in the folder.
func (f *folder) has(w claim) bool {
	if w.target == nil || w.target.Info == nil || w.target.Stream() || !f.part(filepath.Base(w.target.Path)) {
		return false
	}
	dir, _ := folderOf(w.target.Path)
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false
	}
	for {
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, f.info) {
			return true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false
		}
		dir = up
	}
}
