package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
)

// maxUnpacked bounds what a compressed file may unpack to.
const maxUnpacked = 1 << 30

// ReadIDX reads images and labels in IDX format, gzipped or not; labels may be "".
func ReadIDX(images, labels string) (*Set, error) {
	px, dims, err := readIDX(images, 3)
	if err != nil {
		return nil, err
	}
	s := &Set{Name: images, N: dims[0], C: 1, H: dims[1], W: dims[2]}
	size := s.Size()
	s.fill = func(i int, dst []float32) error { return bytesTo(dst, px[i*size:(i+1)*size]) }
	if labels == "" {
		return s, nil
	}
	lb, n, err := readIDX(labels, 1)
	if err != nil {
		return nil, err
	}
	if n[0] != dims[0] {
		return nil, fmt.Errorf("%s has %d images, %s has %d labels", images, dims[0], labels, n[0])
	}
	s.setLabels(lb)
	return s, nil
}

// setLabels takes labels 0 to 255; the classes are their numbers.
func (s *Set) setLabels(labels []byte) {
	top := 0
	s.Labels = make([]int32, len(labels))
	for i, l := range labels {
		s.Labels[i] = int32(l)
		top = max(top, int(l))
	}
	s.Classes = numbered(top + 1)
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}

func bytesTo(dst []float32, px []byte) error {
	for i, p := range px {
		dst[i] = float32(p) / 255
	}
	return nil
}

// unpacking returns what a file holds, unpacked where it is gzipped.
func unpacking(raw []byte) (io.Reader, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return bytes.NewReader(raw), nil
	}
	return gzip.NewReader(bytes.NewReader(raw))
}

func unpack(path string, raw []byte) ([]byte, error) {
	r, err := unpacking(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if raw, err = io.ReadAll(io.LimitReader(r, maxUnpacked+1)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(raw) > maxUnpacked {
		return nil, fmt.Errorf("%s: unpacks to more than %d bytes", path, maxUnpacked)
	}
	return raw, nil
}

// readIDX reads the bytes of a file with so many dimensions. No more is unpacked than these say.
func readIDX(path string, rank int) ([]byte, []int, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := unpacking(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	head := make([]byte, 4+4*rank)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 0 || head[1] != 0 || head[2] != 8 || int(head[3]) != rank {
		return nil, nil, fmt.Errorf("%s: not an IDX file of bytes with %d dimensions", path, rank)
	}
	dims, total := make([]int, rank), 1
	for i := range dims {
		dims[i] = int(binary.BigEndian.Uint32(head[4+4*i:]))
		if dims[i] > maxUnpacked || total > maxUnpacked/max(dims[i], 1) {
			return nil, nil, fmt.Errorf("%s: dimensions %v are too large", path, dims[:i+1])
		}
		total *= dims[i]
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(total)+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	case len(body) > total:
		return nil, nil, fmt.Errorf("%s: more data than the %d bytes that dimensions %v want", path, total, dims)
	case len(body) < total:
		return nil, nil, fmt.Errorf("%s: %d bytes of data, dimensions %v want %d", path, len(body), dims, total)
	}
	return body, dims, nil
}
