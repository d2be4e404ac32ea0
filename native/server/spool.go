package server

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/wasm/api"
)

// spool keeps small bodies in memory and large ones in a file without a name, which is gone with the process whatever ends it.
type spool struct {
	folder    string
	threshold int64
}

// Keep reads a body.
func (s spool) Keep(r io.Reader, size int64) (*api.Upload, error) {
	if size >= 0 && size <= s.threshold {
		return api.Memory{}.Keep(r, size)
	}
	head, err := api.Memory{}.Keep(io.LimitReader(r, s.threshold), -1)
	if err != nil || int64(len(head.Data)) < s.threshold {
		return head, err
	}
	return s.file(io.MultiReader(bytes.NewReader(head.Data), r))
}

func (s spool) file(r io.Reader) (u *api.Upload, err error) {
	f, err := os.CreateTemp(s.folder, "metaprune-upload-*")
	if err != nil {
		return nil, err
	}
	named := os.Remove(f.Name()) != nil // some systems keep the names of open files
	done := func() error {
		if !named {
			return nil
		}
		return os.Remove(f.Name())
	}
	fail := func(err error) (*api.Upload, error) { return nil, errors.Join(err, f.Close(), done()) }
	if _, err := io.Copy(f, r); err != nil {
		return fail(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fail(err)
	}
	data, free, err := onnxio.Map(f)
	if err != nil {
		return fail(err)
	}
	if err := f.Close(); err != nil {
		return nil, errors.Join(err, free(), done())
	}
	return &api.Upload{Data: data, Free: func() { _, _ = free(), done() }}, nil
}
