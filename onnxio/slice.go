package onnxio

import (
	"fmt"
	"io"
)

// Slice is the part of a dense array that keeps, on each axis, the indices in Keep; it implements Lazy.
type Slice struct {
	runs   [][]run // per collapsed axis, the kept runs in units of that axis
	stride []int   // bytes per index of the collapsed axis
	size   int64
	src    []byte
	load   func() ([]byte, error) // reads src when it is wanted, where it is not at hand
}

type run struct{ start, n int }

// sliceBuffer is the size of the pieces in which a Slice is written.
const sliceBuffer = 1 << 17

// NewSlice describes src, an array of dims with elements of width bytes, with only the indices keep[axis] (ascending) left; nil keeps all of an axis.
func NewSlice(src []byte, width int, dims []int64, keep [][]int) (*Slice, error) {
	n, err := checkedProduct(dims)
	if err != nil {
		return nil, err
	}
	if n*int64(width) != int64(len(src)) {
		return nil, fmt.Errorf("%d bytes, but dims %v of %d bytes each take %d", len(src), dims, width, n*int64(width))
	}
	return newSlice(src, width, dims, keep)
}

func newSlice(src []byte, width int, dims []int64, keep [][]int) (*Slice, error) {
	s := &Slice{src: src, size: int64(width)}
	stride, full := width, 1
	for axis := len(dims) - 1; axis >= 0; axis-- {
		d := int(dims[axis])
		if keep[axis] == nil {
			full *= d
			s.size *= int64(d)
			continue
		}
		if full > 1 {
			s.push([]run{{0, full}}, stride)
			stride *= full
			full = 1
		}
		runs, count, err := toRuns(keep[axis], d)
		if err != nil {
			return nil, fmt.Errorf("axis %d: %w", axis, err)
		}
		s.push(runs, stride)
		s.size *= int64(count)
		stride *= d
	}
	s.push([]run{{0, full}}, stride)
	return s, nil
}

// push adds an axis outside the ones there are.
func (s *Slice) push(runs []run, stride int) {
	s.runs = append(s.runs, runs)
	s.stride = append(s.stride, stride)
}

func toRuns(keep []int, d int) ([]run, int, error) {
	var runs []run
	last := -1
	for _, i := range keep {
		if i <= last || i >= d {
			return nil, 0, fmt.Errorf("kept index %d of %d is out of order or range", i, d)
		}
		if n := len(runs); n > 0 && i == last+1 {
			runs[n-1].n++
		} else {
			runs = append(runs, run{i, 1})
		}
		last = i
	}
	return runs, len(keep), nil
}

// Size returns the number of bytes that are kept.
func (s *Slice) Size() int64 { return s.size }

// WriteTo writes the kept bytes in order.
func (s *Slice) WriteTo(w io.Writer) (int64, error) {
	if s.size == 0 {
		return 0, nil
	}
	if s.load != nil {
		src, err := s.load()
		if err != nil {
			return 0, err
		}
		at := *s
		at.src, at.load = src, nil
		return at.WriteTo(w)
	}
	c := &copier{w: w, buf: make([]byte, 0, min(sliceBuffer, s.size))}
	axis := len(s.runs) - 1
	inner := 0
	if len(s.runs) > 1 && s.stride[0] > 0 && len(s.runs[0]) == 1 && s.runs[0][0].start == 0 {
		inner = s.innerWhole()
	}
	s.write(c, axis, inner, 0)
	c.flush()
	return c.n, c.err
}

// innerWhole returns how many of the innermost axes are kept whole, so that their parent's runs are contiguous in memory.
func (s *Slice) innerWhole() int {
	if s.runs[0][0].n*s.stride[0] == s.stride[1] {
		return 1
	}
	return 0
}

func (s *Slice) write(c *copier, axis, inner, at int) {
	stride := s.stride[axis]
	for _, r := range s.runs[axis] {
		from := at + r.start*stride
		if axis <= inner {
			c.copy(s.src[from : from+r.n*stride])
			continue
		}
		for i := range r.n {
			s.write(c, axis-1, inner, from+i*stride)
		}
	}
}

type copier struct {
	w   io.Writer
	buf []byte
	n   int64
	err error
}

func (c *copier) copy(b []byte) {
	if len(b) > cap(c.buf)-len(c.buf) {
		c.flush()
	}
	if len(b) >= cap(c.buf) {
		c.put(b)
		return
	}
	c.buf = append(c.buf, b...)
}

func (c *copier) flush() {
	c.put(c.buf)
	c.buf = c.buf[:0]
}

func (c *copier) put(b []byte) {
	if c.err != nil || len(b) == 0 {
		return
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.err = err
}

// Cut removes everything but keep from the tensor: its dims shrink and its elements become lazy slices of what they were. keep has one entry per
// axis, nil for an axis that stays whole.
func (t *Tensor) Cut(keep [][]int) error {
	if len(keep) != len(t.Dims) {
		return errorAt(fmt.Sprintf("tensor %q", t.Name), "has %d axes, want %d", len(t.Dims), len(keep))
	}
	dims := append([]int64(nil), t.Dims...)
	for axis, k := range keep {
		if k != nil {
			dims[axis] = int64(len(k))
		}
	}
	if t.DataType == String {
		return t.cutStrings(dims, keep)
	}
	bits := t.DataType.Bits()
	if p, ok := t.Lazy.(*part); ok && bits >= 8 {
		return t.cutPart(p, bits/8, dims, keep)
	}
	b, err := t.Bytes()
	if err != nil {
		return err
	}
	if bits < 8 {
		b = unpackBits(b, bits, t.Dims)
	}
	s, err := NewSlice(b, max(bits/8, 1), t.Dims, keep)
	if err != nil {
		return errorAt(fmt.Sprintf("tensor %q", t.Name), "%w", err)
	}
	t.Dims = dims
	if bits >= 8 {
		t.SetLazy(s)
		return nil
	}
	w := &growing{}
	if _, err := s.WriteTo(w); err != nil {
		return err
	}
	t.SetRaw(packBits(w.b, bits))
	return nil
}

// cutPart is Cut for elements that stay in the file until they are written.
func (t *Tensor) cutPart(p *part, width int, dims []int64, keep [][]int) error {
	size, err := t.ByteSize()
	if err != nil {
		return err
	}
	if size != p.length {
		return errorAt(fmt.Sprintf("tensor %q", t.Name), "%d bytes, but dims %v take %d", p.length, t.Dims, size)
	}
	s, err := newSlice(nil, width, t.Dims, keep)
	if err != nil {
		return errorAt(fmt.Sprintf("tensor %q", t.Name), "%w", err)
	}
	s.load, t.Dims = p.load, dims
	t.SetLazy(s)
	return nil
}

func (t *Tensor) cutStrings(dims []int64, keep [][]int) error {
	index := make([]byte, 4*len(t.StringData))
	for i := range t.StringData {
		for k := range 4 {
			index[4*i+k] = byte(i >> (8 * k))
		}
	}
	s, err := NewSlice(index, 4, t.Dims, keep)
	if err != nil {
		return errorAt(fmt.Sprintf("tensor %q", t.Name), "%w", err)
	}
	w := &growing{}
	if _, err := s.WriteTo(w); err != nil {
		return err
	}
	var out [][]byte
	for b := w.b; len(b) > 0; b = b[4:] {
		out = append(out, t.StringData[int(b[0])|int(b[1])<<8|int(b[2])<<16|int(b[3])<<24])
	}
	t.StringData, t.Dims = out, dims
	return nil
}

// unpackBits spreads elements of 2 or 4 bits, low bits first, over one byte each.
func unpackBits(b []byte, bits int, dims []int64) []byte {
	n, _ := checkedProduct(dims)
	out, per := make([]byte, n), 8/bits
	for i := range out {
		out[i] = b[i/per] >> (i % per * bits) & (1<<bits - 1)
	}
	return out
}

func packBits(v []byte, bits int) []byte {
	per := 8 / bits
	out := make([]byte, (len(v)+per-1)/per)
	for i, x := range v {
		out[i/per] |= x << (i % per * bits)
	}
	return out
}
