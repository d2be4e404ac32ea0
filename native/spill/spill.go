// Package spill keeps values of calibration samples in a temporary folder, one file for each, for
// what does not fit into memory. Files are written and read as a whole, not mapped.
//
// # Limits
//
// Values are float32, in the machine's byte order: the files are of no use to others.
//
// # Errors
//
// Those of the file system, with the file's path.
//
// # Concurrency
//
// A Folder may be used from several goroutines.
package spill

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"unsafe"
)

// Folder implements engine.Spill. Its folder is made for the first value and removed with the last.
type Folder struct {
	open func() (dir string, remove func(), err error)

	mu     sync.Mutex
	dir    string
	remove func()
	files  map[string]string // by key
	next   int
}

// New makes a Folder. open makes an empty folder, and what removes it.
func New(open func() (dir string, remove func(), err error)) *Folder {
	return &Folder{open: open, files: map[string]string{}}
}

// Put keeps v.
func (f *Folder) Put(key string, v []float32) error {
	path, err := f.add(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytesOf(v), 0o600)
}

// add gives a key a file.
func (f *Folder) add(key string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == "" {
		var err error
		if f.dir, f.remove, err = f.open(); err != nil {
			return "", err
		}
	}
	f.next++
	f.files[key] = filepath.Join(f.dir, strconv.Itoa(f.next))
	return f.files[key], nil
}

// Get reads what Put has kept.
func (f *Folder) Get(key string, v []float32) error {
	f.mu.Lock()
	path := f.files[key]
	f.mu.Unlock()
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	for b := bytesOf(v); len(b) > 0; {
		n, err := file.Read(b)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		b = b[n:]
	}
	return nil
}

// Drop removes what Put has kept.
func (f *Folder) Drop(key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := f.files[key]
	delete(f.files, key)
	err := os.Remove(path)
	if len(f.files) == 0 && f.dir != "" {
		f.remove()
		f.dir = ""
	}
	return err
}

// bytesOf are the bytes of floats, not copied.
func bytesOf(v []float32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
}
