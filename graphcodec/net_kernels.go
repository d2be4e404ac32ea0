package graphcodec

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// kernels finds the elements of a block's kernels in a constant's raw bytes.
type kernels struct {
	raw   []byte
	width int // bytes of an element
	read  func([]byte) float64
	kind  byte // what Tile writes: elements, ones, or the identity matrix

	base, out int     // in elements: of the first kernel, from row to row
	col       []int32 // [cols, repeat]: where a column's kernels begin
	repeat    int     // kernels of one column
	inner     []int32 // within a kernel
}

const (
	elements    byte = iota
	ones1            // every edge is 1
	identity3x3      // 1 in the middle of the kernel on the diagonal, else 0
)

// offset returns where number j of edge (row, col) is stored, in elements.
func (k *kernels) offset(row, col, j int) int {
	return k.base + row*k.out + int(k.col[col*k.repeat+j/len(k.inner)]) + int(k.inner[j%len(k.inner)])
}

func (k *kernels) tile(dst []float32, row, rows, col, cols, ld int) {
	switch {
	case k.kind == ones1:
		for r := range rows {
			for c := range cols {
				dst[r*ld+c] = 1
			}
		}
		return
	case k.kind == identity3x3:
		k.identity(dst, row, rows, col, cols, ld)
		return
	}
	size := k.repeat * len(k.inner)
	for r := range rows {
		for j := range size {
			line := dst[(r*size+j)*ld:][:cols]
			at := k.base + (row+r)*k.out + int(k.inner[j%len(k.inner)])
			first := col*k.repeat + j/len(k.inner)
			if k.width == 4 {
				for c := range line {
					i := (at + int(k.col[first+c*k.repeat])) * 4
					line[c] = math.Float32frombits(binary.LittleEndian.Uint32(k.raw[i:]))
				}
				continue
			}
			for c := range line {
				line[c] = float32(k.read(k.raw[(at+int(k.col[first+c*k.repeat]))*k.width:]))
			}
		}
	}
}

func (k *kernels) identity(dst []float32, row, rows, col, cols, ld int) {
	for r := range rows {
		for j := range 9 {
			clear(dst[(r*9+j)*ld:][:cols])
		}
		if c := row + r - col; c >= 0 && c < cols {
			dst[(r*9+4)*ld+c] = 1
		}
	}
}

// weightView is a constant's elements as a matrix of kernels.
type weightView struct {
	c                    *op.Constant
	raw                  []byte
	width                int
	read                 func([]byte) float64
	rows, cols           int
	rowStride, colStride int
	inner                []int32
	extents              []int
}

// weight describes value w, whose axes outAxis and inAxis are channels (-1: none), by the constant that it is a view of; nil where it is none of floating-point numbers.
func (b *netBuilder) weight(c *op.Call, w *op.Value, outAxis, inAxis int) *weightView {
	if w == nil || !w.Ranked || len(w.Shape) == 0 {
		return nil
	}
	var source *op.Constant
	perm := make([]int, len(w.Shape))
	for k := range w.Shape {
		s, axis := c.Origin(w, k)
		if s == nil && (k != outAxis && k != inAxis || w.Shape[k] == dim.Num(1)) {
			perm[k] = -1
			continue
		}
		if s == nil || !w.Shape[k].IsNum() {
			return nil
		}
		if source == nil {
			source = s
		}
		if source != s || s.Tensor.Dims[axis] != w.Shape[k].N {
			return nil
		}
		perm[k] = axis
	}
	if source == nil || !source.Tensor.DataType.IsFloat() {
		return nil
	}
	read, width, err := onnxio.FloatReader(source.Tensor.DataType)
	if n, e := source.Tensor.NumElements(); err != nil || e != nil || n > math.MaxInt32 {
		return nil
	}
	raw, err := source.Tensor.Bytes()
	if err != nil {
		return nil
	}
	v := &weightView{c: source, raw: raw, width: width, read: read, rows: 1, cols: 1, inner: []int32{0}}
	v.strides(perm, outAxis, inAxis)
	return v
}

func (v *weightView) strides(perm []int, outAxis, inAxis int) {
	dims := v.c.Tensor.Dims
	stride := func(axis int) int {
		s := 1
		for _, d := range dims[axis+1:] {
			s *= int(d)
		}
		return s
	}
	inside := func(axis int) {
		n, s := int(dims[axis]), stride(axis)
		next := make([]int32, 0, n*len(v.inner))
		for _, at := range v.inner {
			for i := range n {
				next = append(next, at+int32(i*s))
			}
		}
		v.inner, v.extents = next, append(v.extents, n)
	}
	for axis := range dims {
		if !slices.Contains(perm, axis) { // picked from at run time, as experts are
			inside(axis)
		}
	}
	for k, axis := range perm {
		switch {
		case axis < 0:
		case k == outAxis:
			v.rows, v.rowStride = int(dims[axis]), stride(axis)
		case k == inAxis:
			v.cols, v.colStride = int(dims[axis]), stride(axis)
		default:
			inside(axis)
		}
	}
}

// square returns the extents of n positions: a square where n is one.
func square(n int) []int {
	if s := int(math.Round(math.Sqrt(float64(n)))); s*s == n && n > 1 {
		return []int{s, s}
	}
	if n > 1 {
		return []int{n}
	}
	return nil
}

// stack turns blocks of rows into one block whose kernels hold all of them.
func (v *weightView) stack(blocks int) {
	if blocks == 1 {
		return
	}
	v.rows /= blocks
	var inner []int32
	for i := range blocks {
		for _, at := range v.inner {
			inner = append(inner, int32(i*v.rows*v.rowStride)+at)
		}
	}
	v.inner, v.extents = inner, append([]int{blocks}, v.extents...)
}
