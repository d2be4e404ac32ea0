package graphcodec

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// Changes gives what a metanetwork adds: it calls sink with runs of rows of a block, [rows, cols, Kernel] or [rows, Kernel] of a diagonal, possibly from several goroutines at a time.
type Changes func(block int, sink func(row, rows int, delta []float32)) error

// Decoder turns a changed graph back into tensors. Elements whose features did not change keep their bits.
type Decoder struct {
	n       *Network
	nodes   []float32
	changes Changes
	blocks  map[*op.Constant][]int
	params  map[*op.Constant][]int
}

// Decoder returns a decoder for new node features [N, F] and for changes of the kernels, nil for none.
func (n *Network) Decoder(nodes []float32, changes Changes) (*Decoder, error) {
	if len(nodes) != len(n.Nodes) {
		return nil, fmt.Errorf("%d node features, the graph has %d", len(nodes), len(n.Nodes))
	}
	d := &Decoder{n: n, nodes: nodes, changes: changes, blocks: map[*op.Constant][]int{}, params: map[*op.Constant][]int{}}
	for i := range n.Blocks {
		if b := &n.Blocks[i]; b.Const != nil && !b.Fixed {
			d.blocks[b.Const] = append(d.blocks[b.Const], i)
		}
	}
	for i, p := range n.params {
		if !p.fixed {
			d.params[p.c] = append(d.params[p.c], i)
		}
	}
	return d, nil
}

// Represented returns the constants that have a place in the graph and can change, in the model's order.
func (d *Decoder) Represented() []*op.Constant {
	var out []*op.Constant
	for _, c := range d.n.Analysis.Constants() {
		if d.blocks[c] != nil || d.params[c] != nil {
			out = append(out, c)
		}
	}
	return out
}

// Tensor returns a constant with what the graph says of it; nil where nothing of it changed.
func (d *Decoder) Tensor(c *op.Constant) (*onnxio.Tensor, error) {
	if d.blocks[c] == nil && d.params[c] == nil {
		return nil, nil
	}
	old, err := c.Tensor.Bytes()
	if err != nil {
		return nil, err
	}
	w, err := newWriter(c, slices.Clone(old))
	if err != nil {
		return nil, err
	}
	if d.changes != nil {
		for _, i := range d.blocks[c] {
			b := &d.n.Blocks[i]
			if err := d.changes(i, func(row, rows int, delta []float32) { w.block(b, row, rows, delta) }); err != nil {
				return nil, err
			}
		}
	}
	for _, i := range d.params[c] {
		p := d.n.params[i]
		at := int(p.node)*d.n.F + int(p.feature)
		if before, after := d.n.Nodes[at], d.nodes[at]; before != after {
			w.add(int(p.index), (float64(after)-float64(before))*float64(p.scale), isVariance(d.n, p))
		}
	}
	if string(w.raw) == string(old) {
		return nil, nil
	}
	t := &onnxio.Tensor{Name: c.Name, Dims: c.Tensor.Dims, DataType: c.Tensor.DataType}
	t.SetRaw(w.raw)
	return t, nil
}

// isVariance reports whether a parameter must stay positive.
func isVariance(n *Network, p param) bool {
	return n.Scheme.Name == ReferenceCNN.Name && p.feature%4 == 3
}

// writer changes elements of a constant's raw bytes.
type writer struct {
	reader
	put func([]byte, float64)
}

func newWriter(c *op.Constant, raw []byte) (*writer, error) {
	read, width, err := onnxio.FloatReader(c.Tensor.DataType)
	if err != nil {
		return nil, err
	}
	w := &writer{reader: reader{raw, width, read}}
	switch c.Tensor.DataType {
	case onnxio.Float:
		w.put = func(b []byte, v float64) { binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v))) }
	case onnxio.Double:
		w.put = func(b []byte, v float64) { binary.LittleEndian.PutUint64(b, math.Float64bits(v)) }
	case onnxio.Float16:
		w.put = func(b []byte, v float64) { binary.LittleEndian.PutUint16(b, onnxio.Float32To16(float32(v))) }
	case onnxio.BFloat16:
		w.put = func(b []byte, v float64) { binary.LittleEndian.PutUint16(b, onnxio.Float32ToB16(float32(v))) }
	default:
		return nil, &onnxio.UnsupportedError{What: fmt.Sprintf("writing element type %s", c.Tensor.DataType)}
	}
	return w, nil
}

// add changes one element; a variance that would not be positive stays.
func (w *writer) add(i int, delta float64, variance bool) {
	if delta == 0 {
		return
	}
	v := w.at(i) + delta
	if variance && v <= 0 {
		return
	}
	w.put(w.raw[i*w.width:], v)
}

func (w *writer) block(b *EdgeBlock, row, rows int, delta []float32) {
	width := b.Cols
	if b.Diagonal {
		width = 1
	}
	for i, d := range delta {
		if d != 0 {
			edge := i / b.Kernel
			w.add(b.at.offset(row+edge/width, edge%width, i%b.Kernel), float64(d), false)
		}
	}
}

// Model returns the model with the decoded tensors; everything else is the original's, and nothing is changed where nothing changed.
func (d *Decoder) Model() (*onnxio.Model, error) {
	changed := map[*op.Constant]*onnxio.Tensor{}
	for _, c := range d.Represented() {
		t, err := d.Tensor(c)
		if err != nil {
			return nil, err
		}
		if t != nil {
			changed[c] = t
		}
	}
	if len(changed) == 0 {
		return d.n.Analysis.Source(), nil
	}
	return d.n.Analysis.Replace(changed), nil
}
