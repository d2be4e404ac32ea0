package server

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/wasm/api"
	"golang.org/x/sync/semaphore"
)

// spool keeps bodies in memory as far as there is room, and the others in files without names, which are gone with the process whatever ends it.
type spool struct {
	folder string
	memory api.Memory
	room   *semaphore.Weighted // bytes of bodies in memory
	small  int64               // bodies whose length is not known start with so much room
}

func newSpool(folder string, room int64) *spool {
	return &spool{folder, api.Memory{Pool: &sync.Pool{}}, semaphore.NewWeighted(room), min(1<<20, room)}
}

// Keep reads a body.
func (s *spool) Keep(r io.Reader, size int64) (*api.Upload, error) {
	known := size >= 0
	if !known {
		size = s.small
	}
	if !s.room.TryAcquire(size) {
		return s.file(r)
	}
	release := sync.OnceFunc(func() { s.room.Release(size) })
	u, err := s.memory.Keep(io.LimitReader(r, size+1), size)
	if err == nil && int64(len(u.Data)) > size { // there is more
		defer release()
		return s.file(io.MultiReader(bytes.NewReader(u.Data), r))
	}
	if err != nil {
		release()
		return nil, err
	}
	free := u.Free
	u.Free = sync.OnceFunc(func() { free(); release() })
	return u, nil
}

func (s *spool) file(r io.Reader) (u *api.Upload, err error) {
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
