package onnxio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// File is a model on disk, mapped into memory.
type File struct {
	*Model
	Data []byte // the file as it stands
	dir  *folder
	free func() error
}

// Open maps and decodes the model at path. External data is read from files below the model's folder and from nowhere else.
func Open(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, aFolder(path)
	}
	data, free, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	dir := &folder{path: filepath.Dir(path)}
	m, err := Decode(data, dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), free())
	}
	return &File{Model: m, Data: data, dir: dir, free: free}, nil
}

// aFolder says that a path is a folder, and which models are in it.
func aFolder(path string) error {
	advice := "give the .onnx file in it"
	if found, _ := filepath.Glob(filepath.Join(path, "*.onnx")); len(found) > 0 {
		advice = "give the .onnx file, such as " + found[0]
	}
	return fmt.Errorf("%s: %w", path, &FormatError{Offset: -1, Want: "an ONNX model", Got: "a folder", Err: errors.New("it is a folder, not an ONNX model; " + advice)})
}

// Close unmaps the file; the model must not be used any more.
func (f *File) Close() error { return errors.Join(f.dir.close(), f.free()) }

// folder is ExternalData on disk, confined to one folder by os.Root.
type folder struct {
	path  string
	mu    sync.Mutex
	root  *os.Root
	files map[string][]byte
	free  []func() error
}

func (d *folder) Read(location string, offset, length int64) ([]byte, error) {
	d.mu.Lock()
	data, err := d.file(location)
	d.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("external data %q: %w", location, err)
	}
	size := int64(len(data))
	if length < 0 {
		length = size - offset
	}
	if what, advice := foreign(data[:min(len(data), 64)]); size < 1024 && what == magics[0].what {
		return nil, &FormatError{Path: fmt.Sprintf("external data %q", location), Offset: -1, Want: "the model's weights", Got: what, Err: errors.New("it is " + what + "; " + advice)}
	}
	if offset > size || length < 0 || length > size-offset {
		return nil, &FormatError{Path: fmt.Sprintf("external data %q", location), Offset: -1,
			Err: fmt.Errorf("the model needs bytes %d to %d, but the file has %d bytes", offset, offset+length, size)}
	}
	return data[offset : offset+length : offset+length], nil
}

func (d *folder) file(location string) ([]byte, error) {
	if data, ok := d.files[location]; ok {
		return data, nil
	}
	if d.root == nil {
		root, err := os.OpenRoot(d.path)
		if err != nil {
			return nil, err
		}
		d.root, d.files = root, map[string][]byte{}
	}
	f, err := d.root.Open(filepath.FromSlash(location))
	if err != nil {
		return nil, &FormatError{Offset: -1, Err: err}
	}
	defer f.Close()
	data, free, err := mapOpen(f)
	if err != nil {
		return nil, err
	}
	d.files[location], d.free = data, append(d.free, free)
	return data, nil
}

func (d *folder) close() error {
	var errs []error
	for _, free := range d.free {
		errs = append(errs, free())
	}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	return errors.Join(errs...)
}

func mapFile(path string) ([]byte, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return mapOpen(f)
}

// Map maps an open file into memory, read-only, until free is called; the file may be closed and removed before. Where files cannot be mapped it is read.
func Map(f *os.File) (data []byte, free func() error, err error) { return mapOpen(f) }

// readAll is mapOpen where files cannot be mapped.
func readAll(f *os.File) ([]byte, func() error, error) {
	data, err := io.ReadAll(f)
	return data, func() error { return nil }, err
}
