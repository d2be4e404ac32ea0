package main

import (
	"io"
	"runtime"

	"github.com/metaprune/metaprune/wasm/api"
)

// room is an api.Store for one request at a time whose memory is used again: WebAssembly's never shrinks, so two buffers for models would be one too many.
type room struct {
	buffer []byte
	taken  bool
}

// Keep reads a body of known length into the room, and any other to the heap.
func (s *room) Keep(r io.Reader, size int64) (*api.Upload, error) {
	if size <= 0 || s.taken {
		return api.Memory{}.Keep(r, size)
	}
	if int64(cap(s.buffer)) <= size {
		s.buffer = nil
		runtime.GC()
		s.buffer = make([]byte, size+1)
	}
	s.taken = true
	n, err := io.ReadFull(r, s.buffer[:size+1])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull returns these as they are
		s.taken = false
		return nil, err
	}
	return &api.Upload{Data: s.buffer[:n:n], Free: func() { s.taken = false }}, nil
}
