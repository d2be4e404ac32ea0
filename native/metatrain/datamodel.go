package metatrain

import (
	"fmt"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/xla"
	"github.com/metaprune/metaprune/xla/meta"
)

// DataModel is a network that a metanetwork is trained on.
type DataModel struct {
	Name string

	analysis *coupling.Analysis
	network  *graphcodec.Network
	graph    *metanet.Graph // with explicit features
	loss     *xla.Differentiator
	constant map[string]*op.Constant
	wanted   []float64 // by unit: logarithm of the score that it is to have, up to a constant; NaN for none
}

// NewDataModel encodes a model for a feature scheme and prepares its loss for an objective, on so many devices of the backend.
func NewDataModel(b *xla.Backend, name string, m *onnxio.Model, s graphcodec.Scheme, objective string, devices int) (*DataModel, error) {
	fail := func(err error) (*DataModel, error) { return nil, fmt.Errorf("data model %s: %w", name, err) }
	a, err := coupling.Analyze(m)
	if err != nil {
		return fail(err)
	}
	n, err := graphcodec.Encode(a, s)
	if err != nil {
		return fail(err)
	}
	d := &DataModel{Name: name, analysis: a, network: n, graph: &metanet.Graph{N: n.N, F: n.F, Nodes: n.Nodes}, constant: map[string]*op.Constant{}}
	for i := range n.Blocks {
		e := &n.Blocks[i]
		d.graph.Blocks = append(d.graph.Blocks, metanet.Block{Out: e.Out, In: e.In, Rows: e.Rows, Cols: e.Cols, Diagonal: e.Diagonal, Type: e.Type, Features: e.Features(0, e.Rows)})
	}
	if !Taught(objective) {
		p, err := xla.Load(m)
		if err != nil {
			return fail(err)
		}
		if d.loss, err = xla.NewDifferentiator(b, p, objective == Masks, devices); err != nil {
			return fail(err)
		}
	}
	decoder, err := n.Decoder(n.Nodes, nil)
	if err != nil {
		return fail(err)
	}
	for _, c := range decoder.Represented() {
		d.constant[c.Name] = c
	}
	return d, nil
}

// decoder returns the decoder for the graph plus ratio times residuals.
func (d *DataModel) decoder(r *meta.Residuals, nodeRatio, edgeRatio float64) (*graphcodec.Decoder, error) {
	nodes := make([]float32, len(d.graph.Nodes))
	for i, x := range d.graph.Nodes {
		nodes[i] = x + float32(nodeRatio*float64(r.Nodes[i]))
	}
	return d.network.Decoder(nodes, func(block int, sink func(row, rows int, delta []float32)) error {
		sink(0, d.network.Blocks[block].Rows, d.delta(block, r.Edges[block], edgeRatio))
		return nil
	})
}

// delta is what residuals of a block's features change in its kernels.
func (d *DataModel) delta(block int, residuals []float32, ratio float64) []float32 {
	b := &d.network.Blocks[block]
	f := len(residuals) / max(b.Edges(), 1)
	zero, to := make([]float32, f), make([]float32, f)
	out := make([]float32, 0, b.Edges()*b.Kernel)
	for at := 0; at < len(residuals); at += f {
		for i := range to {
			to[i] = float32(ratio * float64(residuals[at+i]))
		}
		out = append(out, b.Delta(zero, to)...)
	}
	return out
}

// tensorsOf decodes every constant that the metanetwork changes.
func tensorsOf(decoder *graphcodec.Decoder) (map[*op.Constant]*onnxio.Tensor, error) {
	out := map[*op.Constant]*onnxio.Tensor{}
	for _, c := range decoder.Represented() {
		t, err := decoder.Tensor(c)
		if err != nil {
			return nil, err
		}
		if t == nil {
			t = c.Tensor
		}
		out[c] = t
	}
	return out, nil
}

// values are tensors in the order of the program's parameters, nil for parameters that the graph does not hold.
func (d *DataModel) values(ts map[*op.Constant]*onnxio.Tensor) ([][]float32, error) {
	out := make([][]float32, len(d.loss.Program.Params))
	for i, p := range d.loss.Program.Params {
		c := d.constant[p.Name]
		if c == nil {
			continue
		}
		v, err := ts[c].Float32s()
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p.Name, err)
		}
		out[i] = append([]float32(nil), v...)
	}
	return out, nil
}

// Close frees what is on the device.
func (d *DataModel) Close() {
	if d.loss != nil {
		d.loss.Close()
	}
}
