package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// maxUnpacked bounds what a compressed file may unpack to.
const maxUnpacked = 1 << 30

// Images are grey images with labels: Pixels holds N*H*W bytes.
type Images struct {
	N, H, W int
	Pixels  []byte
	Labels  []byte
}

// ReadIDX reads images and labels in IDX format, gzipped or not.
func ReadIDX(images, labels string) (*Images, error) {
	px, dims, err := readIDX(images, 3)
	if err != nil {
		return nil, err
	}
	lb, n, err := readIDX(labels, 1)
	if err != nil {
		return nil, err
	}
	if n[0] != dims[0] {
		return nil, fmt.Errorf("%s has %d images, %s has %d labels", images, dims[0], labels, n[0])
	}
	return &Images{N: dims[0], H: dims[1], W: dims[2], Pixels: px, Labels: lb}, nil
}

func readIDX(path string, rank int) ([]byte, []int, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if raw, err = io.ReadAll(io.LimitReader(z, maxUnpacked)); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	head := 4 + 4*rank
	if len(raw) < head || raw[0] != 0 || raw[1] != 0 || raw[2] != 8 || int(raw[3]) != rank {
		return nil, nil, fmt.Errorf("%s: not an IDX file of bytes with %d dimensions", path, rank)
	}
	dims, total := make([]int, rank), 1
	for i := range dims {
		dims[i] = int(binary.BigEndian.Uint32(raw[4+4*i:]))
		if dims[i] > maxUnpacked || total > maxUnpacked/max(dims[i], 1) {
			return nil, nil, fmt.Errorf("%s: dimensions %v are too large", path, dims[:i+1])
		}
		total *= dims[i]
	}
	if len(raw) != head+total {
		return nil, nil, fmt.Errorf("%s: %d bytes of data, dimensions %v want %d", path, len(raw)-head, dims, total)
	}
	return raw[head:], dims, nil
}

// Floats returns images from to to as [to-from, 1, H, W], scaled to (pixel/255 - mean) / std.
func (s *Images) Floats(from, to int, mean, std float64) []float32 {
	px := s.Pixels[from*s.H*s.W : to*s.H*s.W]
	out := make([]float32, len(px))
	for i, p := range px {
		out[i] = float32((float64(p)/255 - mean) / std)
	}
	return out
}
