package samples

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/prune/calib"
)

// Limits of a folder: entries that are looked at, and folders in folders.
const (
	maxEntries = 1 << 20
	maxDepth   = 8
)

// file is one of a folder's or an archive's.
type file struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
}

// bytes reads the whole file, no more than [MaxFile] bytes.
func (f file) bytes() ([]byte, error) {
	if f.size > MaxFile {
		return nil, &calib.SampleError{File: f.name, Want: fmt.Sprintf("at most %d bytes", MaxFile), Got: fmt.Sprint(f.size), Do: "remove the file, or make it smaller"}
	}
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, f.size+1))
	if err == nil && int64(len(raw)) > f.size {
		err = fmt.Errorf("holds more than the %d bytes that it declares", f.size)
	}
	return raw, err
}

func onDisk(path string, size int64) file {
	return file{path, size, func() (io.ReadCloser, error) { return os.Open(path) }}
}

// The kinds of files that folders and archives are searched for.
const (
	kindPicture = "picture"
	kindSound   = "sound"
)

// kindOf is the kind of a file by its name; empty for any other.
func kindOf(name string) string {
	switch e := extension(name); {
	case slices.Contains(pictureTypes, e):
		return kindPicture
	case e == ".wav":
		return kindSound
	}
	return ""
}

// hidden reports files that programs put beside others: .DS_Store, ._photo.jpg, __MACOSX/photo.jpg.
func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != "." || part == "__MACOSX" || part == "Thumbs.db" || part == "desktop.ini" {
			return true
		}
	}
	return false
}

// found is what a folder or an archive holds.
type found struct {
	kinds   map[string][]file
	entries int
	other   int // files that are hidden or of another kind
}

func (f *found) add(name string, x file) {
	if kind := kindOf(name); kind != "" && !hidden(name) {
		f.kinds[kind] = append(f.kinds[kind], x)
		return
	}
	f.other++
}

// walk adds the files of a folder and of those in it, in the order of their names.
func (f *found) walk(dir string, depth int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		full := filepath.Join(dir, e.Name())
		if f.entries++; f.entries > maxEntries {
			return &calib.SampleError{File: dir, Want: fmt.Sprintf("a folder of at most %d files", maxEntries), Got: "more", Do: "give one of its folders"}
		}
		info, err := os.Stat(full)
		switch {
		case err != nil: // a link to nothing
			f.other++
		case info.IsDir() && (hidden(e.Name()) || depth == maxDepth):
			f.other++
		case info.IsDir():
			if err := f.walk(full, depth+1); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			f.add(e.Name(), onDisk(full, info.Size()))
		default:
			f.other++
		}
	}
	return nil
}

// folder opens the pictures or the sound of a folder; of one with a folder "train", of that.
func (o Options) folder(dir string) (*Samples, error) {
	if info, err := os.Stat(filepath.Join(dir, "train")); err == nil && info.IsDir() {
		dir = filepath.Join(dir, "train")
	}
	f := &found{kinds: map[string][]file{}}
	if err := f.walk(dir, 0); err != nil {
		return nil, err
	}
	return o.listed(dir, f)
}

// listed opens what was found in a folder or archive.
func (o Options) listed(path string, f *found) (s *Samples, err error) {
	pictures, sound := f.kinds[kindPicture], f.kinds[kindSound]
	switch {
	case len(pictures) > 0 && (len(sound) == 0 || len(o.Inputs) > 0 && len(o.Inputs[0].Dims) == 4):
		f.other += len(sound)
		s, err = o.pictures(path, pictures)
	case len(sound) > 0:
		f.other += len(pictures)
		s, err = o.sound(path, sound)
	default:
		return nil, &calib.SampleError{File: path, Want: "pictures (" + strings.Join(pictureTypes, ", ") + ") or sound (.wav)", Got: fmt.Sprintf("%d other files", f.other),
			Do: "give another folder, or one of the formats of docs/calibration.md"}
	}
	if err == nil && f.other > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d other or hidden files were skipped", path, f.other))
	}
	return s, err
}

// zip opens an archive, which stays open until the samples are closed.
func (o Options) zip(path string) (*Samples, error) {
	r, err := zip.OpenReader(path)
	if err != nil {
		return nil, damaged(path, err, "give a zip file of pictures")
	}
	s, err := o.archive(path, &r.Reader)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s.close = r.Close
	return s, nil
}

func (o Options) archive(name string, z *zip.Reader) (*Samples, error) {
	if len(z.File) > maxEntries {
		return nil, &calib.SampleError{File: name, Want: fmt.Sprintf("an archive of at most %d files", maxEntries), Got: fmt.Sprint(len(z.File)), Do: "give a part of it"}
	}
	f := &found{kinds: map[string][]file{}}
	for _, x := range z.File {
		if x.FileInfo().IsDir() {
			continue
		}
		f.add(path.Clean(x.Name), file{name + ": " + x.Name, int64(min(x.UncompressedSize64, MaxFile+1)), x.Open})
	}
	for _, files := range f.kinds {
		slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	}
	return o.listed(name, f)
}
