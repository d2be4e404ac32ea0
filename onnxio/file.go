package onnxio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	if offset > size || length < 0 || length > size-offset {
		return nil, &FormatError{Path: fmt.Sprintf("external data %q", location), Offset: -1,
			Err: fmt.Errorf("the model wants bytes %d to %d, the file has %d", offset, offset+length, size)}
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

// WriteFile writes to a temporary file beside path and renames it to path when write has returned without an error; otherwise path is left as it was.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return asked(err, path)
	}
	defer noteTemporary(f.Name())()
	defer func() {
		if err != nil {
			err = errors.Join(asked(err, path), os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// asked gives an error about the temporary file the name that was asked for.
func asked(err error, path string) error {
	var at *os.PathError
	if errors.As(err, &at) && strings.HasPrefix(filepath.Base(at.Path), "."+filepath.Base(path)+".tmp-") {
		return &os.PathError{Op: at.Op, Path: path, Err: fmt.Errorf("%w; nothing is left of it, and what was there before is still there", at.Err)}
	}
	return err
}

// externalThreshold is the size in bytes from which SaveExternal moves a tensor's elements out of the model.
const externalThreshold = 1024

// externalAlign is the alignment of tensors in external data, the page size that readers map by.
const externalAlign = 4096

// SaveExternal writes the model to path and the elements of its larger initializers to path+".data" beside it. Both are written in full before either is renamed.
func (m *Model) SaveExternal(path string) error {
	if err := m.noExternalAttributes(); err != nil {
		return err
	}
	location := filepath.Base(path) + ".data"
	changed, g := *m, *m.Graph
	changed.Graph = &g
	g.Initializers = append([]*Tensor(nil), g.Initializers...)
	return WriteFile(path+".data", func(w io.Writer) error {
		at := int64(0)
		for i, t := range g.Initializers {
			size, err := t.ByteSize()
			if t.DataType == String || err == nil && size < externalThreshold {
				if g.Initializers[i], err = t.inlined(); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return err
			}
			pad := (externalAlign - at%externalAlign) % externalAlign
			if _, err := w.Write(make([]byte, pad)); err != nil {
				return err
			}
			at += pad
			if err := t.writeRaw(w); err != nil {
				return err
			}
			c := *t
			c.SetExternal(location, at, size)
			g.Initializers[i] = &c
			at += size
		}
		return WriteFile(path, changed.Encode)
	})
}

// noExternalAttributes refuses models whose node attributes keep elements in external data: those would point at files that are not written.
func (m *Model) noExternalAttributes() error {
	var found *Tensor
	initializer := map[*Tensor]bool{}
	for _, t := range m.Graph.Initializers {
		initializer[t] = true
	}
	m.EachTensor(func(t *Tensor) {
		if t.IsExternal() && !initializer[t] {
			found = t
		}
	})
	if found == nil {
		return nil
	}
	return &UnsupportedError{Path: fmt.Sprintf("tensor %q", found.Name), What: "external data in a node's attribute or a subgraph"}
}

// Inline returns the model with the elements of all initializers inside, for writing to one stream.
func (m *Model) Inline() (*Model, error) {
	if err := m.noExternalAttributes(); err != nil {
		return nil, err
	}
	changed, g := *m, *m.Graph
	changed.Graph = &g
	g.Initializers = append([]*Tensor(nil), g.Initializers...)
	for i, t := range g.Initializers {
		in, err := t.inlined()
		if err != nil {
			return nil, err
		}
		g.Initializers[i] = in
	}
	return &changed, nil
}

// inlined returns the tensor with its elements in the model.
func (t *Tensor) inlined() (*Tensor, error) {
	if !t.IsExternal() {
		return t, nil
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	c := *t
	c.SetRaw(raw)
	return &c, nil
}

func (t *Tensor) writeRaw(w io.Writer) error {
	if t.Lazy != nil {
		_, err := t.Lazy.WriteTo(w)
		return err
	}
	raw, err := t.Bytes()
	if err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}
