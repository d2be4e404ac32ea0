package meta

import (
	"fmt"
	"math"
	"sort"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/xla"
)

// Options are AdamW's settings. The zero value is the paper's.
type Options struct {
	Rate        float64 `json:"rate"`         // 0 for 1e-3
	WeightDecay float64 `json:"weight_decay"` // 0 for 5e-4, negative for none
	Clip        float64 `json:"clip"`         // largest norm of the gradient, 0 for none
}

func (o Options) filled() Options {
	if o.Rate == 0 {
		o.Rate = 1e-3
	}
	switch {
	case o.WeightDecay == 0:
		o.WeightDecay = 5e-4
	case o.WeightDecay < 0:
		o.WeightDecay = 0
	}
	return o
}

// Net is a metanetwork on a backend, with the state of its optimizer.
type Net struct {
	File  *safetensors.File // metadata, and the parameters that it started with
	Steps int

	net      *metanet.Network
	s        *metanet.Structure
	backend  *xla.Backend
	names    []string
	at       map[string]int // of a name in names
	encoders []int          // parameters of the encoders, by their place in names
	layers   [][]int        // of each layer: lin1 to lin4 and down
	decoders []int
	state    []*tensors.Tensor // parameters, first and second moments
	options  Options
	programs map[string]*programs
	update   *Exec
}

// New prepares a metanetwork from its file.
func New(b *xla.Backend, f *safetensors.File, o Options) (*Net, error) {
	net, err := metanet.Load(f)
	if err != nil {
		return nil, err
	}
	n := &Net{File: f, net: net, s: net.Structure(), backend: b, options: o.filled(), at: map[string]int{}, programs: map[string]*programs{}}
	for name := range f.Tensors {
		if !strings.HasPrefix(name, "mlps.") && name != "edgeInverter" {
			n.names = append(n.names, name)
		}
	}
	sort.Strings(n.names)
	for i, name := range n.names {
		n.at[name] = i
	}
	n.encoders, n.decoders = n.places(linears(append([]metanet.Stack{n.s.NodeEnc}, n.s.EdgeEnc...)...)...), n.places(linears(append([]metanet.Stack{n.s.NodeDec}, n.s.EdgeDec...)...)...)
	for _, l := range n.s.Layers {
		n.layers = append(n.layers, n.places(append(l.Lin[:], l.Down)...))
	}
	for slot := range 3 {
		for _, name := range n.names {
			t := f.Tensors[name]
			v, err := t.Floats()
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", name, err)
			}
			if slot > 0 {
				v = make([]float32, len(v))
			}
			n.state = append(n.state, tensors.FromFlatDataAndDimensions(append([]float32(nil), v...), t.Shape...))
		}
	}
	if n.update, err = NewExec(b.Backend, n.adam); err != nil {
		return nil, xla.Wrap(err)
	}
	return n, nil
}

// places finds the parameters of linear layers, weight and bias in turn.
func (n *Net) places(ls ...metanet.Linear) []int {
	var out []int
	for _, l := range ls {
		out = append(out, n.at[l.Name+".weight"], n.at[l.Name+".bias"])
	}
	return out
}

// Residuals are what the metanetwork adds to a graph's features before the residual ratio, or cotangents of them: Nodes [N, F] and Edges as the blocks' features, nil where nothing is decoded.
type Residuals struct {
	Nodes []float32
	Edges [][]float32
}

// stacked are node numbers, then blocks' numbers group by group.
func (n *Net) stacked(c *programs, nodes []float32, f int, blocks func(i int) []float32, skip bool) []*tensors.Tensor {
	out := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(nodes, c.layout.nodes, f)}
	for i := range c.layout.groups {
		g := &c.layout.groups[i]
		if skip && len(n.s.EdgeDec[g.kind].Layers) == 0 {
			continue
		}
		d := g.dims(n.net.EdgeIn[g.kind])
		var v []float32
		for _, b := range g.blocks {
			v = append(v, blocks(b)...)
		}
		out = append(out, tensors.FromFlatDataAndDimensions(v, d...))
	}
	return out
}

func (n *Net) inputs(c *programs, g *metanet.Graph) []*tensors.Tensor {
	return n.stacked(c, g.Nodes, g.F, func(i int) []float32 { return g.Blocks[i].Features }, false)
}

// call runs a program on parameters and states.
func (n *Net) call(e *Exec, params []int, states ...[]*tensors.Tensor) ([]*tensors.Tensor, error) {
	var args []any
	for _, p := range params {
		args = append(args, n.state[p])
	}
	for _, ts := range states {
		for _, t := range ts {
			args = append(args, t)
		}
	}
	out, err := e.Call(args...)
	return out, xla.Wrap(err)
}

// passed is a graph that went through encoders and layers.
type passed struct {
	*programs
	in     []*tensors.Tensor
	states [][]*tensors.Tensor // before each layer and after the last
}

// run passes a graph through encoders and layers.
func (n *Net) run(g *metanet.Graph) (*passed, error) {
	c, err := n.compile(g)
	if err != nil {
		return nil, err
	}
	p := &passed{programs: c, in: n.inputs(c, g)}
	s, err := n.call(c.encode, n.encoders, p.in)
	if err != nil {
		return nil, err
	}
	p.states = [][]*tensors.Tensor{s}
	for _, l := range n.layers {
		if s, err = n.call(c.layer, l, s); err != nil {
			return nil, err
		}
		p.states = append(p.states, s)
	}
	return p, nil
}

// Forward returns the residuals of a graph with explicit features.
func (n *Net) Forward(g *metanet.Graph) (r *Residuals, err error) {
	defer xla.Caught(&err)
	p, err := n.run(g)
	if err != nil {
		return nil, err
	}
	outs, err := n.call(p.decode, n.decoders, p.states[len(n.layers)])
	if err != nil {
		return nil, err
	}
	r, err = n.unstack(p.programs, g, outs)
	free(append(p.states, outs, p.in)...)
	return r, err
}

// unstack brings what the decoders give back to blocks.
func (n *Net) unstack(c *programs, g *metanet.Graph, outs []*tensors.Tensor) (*Residuals, error) {
	r := &Residuals{Edges: make([][]float32, len(g.Blocks))}
	var err error
	if r.Nodes, err = tensors.CopyFlatData[float32](outs[0]); err != nil {
		return nil, err
	}
	at := 1
	for i := range c.layout.groups {
		p := &c.layout.groups[i]
		if len(n.s.EdgeDec[p.kind].Layers) == 0 {
			continue
		}
		v, err := tensors.CopyFlatData[float32](outs[at])
		if err != nil {
			return nil, err
		}
		at++
		size := len(v) / len(p.blocks)
		for k, b := range p.blocks {
			r.Edges[b] = v[k*size : (k+1)*size]
		}
	}
	return r, nil
}

func free(all ...[]*tensors.Tensor) {
	for _, ts := range all {
		for _, t := range ts {
			_ = t.FinalizeAll()
		}
	}
}

// gradients returns the vector-Jacobian product, by the place of each parameter. Layer by layer from the last, it needs the states between layers and nothing else.
func (n *Net) gradients(g *metanet.Graph, cotangent *Residuals) ([]*tensors.Tensor, error) {
	p, err := n.run(g)
	if err != nil {
		return nil, err
	}
	grads := make([]*tensors.Tensor, len(n.names))
	keep := func(params []int, outs []*tensors.Tensor) []*tensors.Tensor {
		for i, p := range params {
			grads[p] = outs[i]
		}
		return outs[len(params):]
	}
	xla.ReleaseMemory() // all states are alive from here to the first layers: the peak
	top := n.stacked(p.programs, cotangent.Nodes, g.F, func(i int) []float32 { return cotangent.Edges[i] }, true)
	outs, err := n.call(p.decodeEnd, n.decoders, p.states[len(n.layers)], top)
	if err != nil {
		return nil, err
	}
	down := keep(n.decoders, outs)
	free(top, p.states[len(n.layers)])
	xla.ReleaseMemory()
	for l := len(n.layers) - 1; l >= 0; l-- {
		if outs, err = n.call(p.back, n.layers[l], p.states[l], down); err != nil {
			return nil, err
		}
		if free(down); l > 0 {
			free(p.states[l])
		}
		if l == len(n.layers)-1 {
			xla.ReleaseMemory()
		}
		down = keep(n.layers[l], outs)
	}
	if outs, err = n.call(p.encodeBack, n.encoders, p.in, down); err != nil {
		return nil, err
	}
	keep(n.encoders, outs)
	free(down, p.states[0], p.in)
	return grads, nil
}

// Gradient returns the vector-Jacobian product: the gradient of <residuals, cotangent> by each parameter, by name.
func (n *Net) Gradient(g *metanet.Graph, cotangent *Residuals) (out map[string][]float32, err error) {
	defer xla.Caught(&err)
	grads, err := n.gradients(g, cotangent)
	if err != nil {
		return nil, err
	}
	out = map[string][]float32{}
	for i, name := range n.names {
		if out[name], err = tensors.CopyFlatData[float32](grads[i]); err != nil {
			return nil, err
		}
	}
	free(grads)
	return out, nil
}

// Step changes the parameters along a vector-Jacobian product by one step of AdamW and returns the gradient's norm.
func (n *Net) Step(g *metanet.Graph, cotangent *Residuals) (norm float64, err error) {
	defer xla.Caught(&err)
	grads, err := n.gradients(g, cotangent)
	if err != nil {
		return 0, err
	}
	outs, err := n.call(n.update, nil, n.state, grads, []*tensors.Tensor{tensors.FromScalar(float32(n.options.Rate)), tensors.FromScalar(float32(n.Steps + 1))})
	if err != nil {
		return 0, err
	}
	free(grads)
	k := 3 * len(n.names)
	v, err := tensors.CopyFlatData[float32](outs[k])
	if err != nil {
		return 0, err
	}
	if math.IsNaN(float64(v[0])) || math.IsInf(float64(v[0]), 0) {
		free(outs)
		return 0, fmt.Errorf("step %d: the metanetwork's gradient is not finite", n.Steps+1)
	}
	free(n.state)
	n.state = outs[:k]
	n.Steps++
	return float64(v[0]), nil
}

// Weights returns the metanetwork's file with the parameters as they are now.
func (n *Net) Weights() (*safetensors.File, error) { return n.file(0) }

// file writes one slot of the state: parameters, or the optimizer's first or second moments.
func (n *Net) file(slot int) (*safetensors.File, error) {
	out := &safetensors.File{Metadata: map[string]string{}, Tensors: map[string]*safetensors.Tensor{}}
	for k, v := range n.File.Metadata {
		out.Metadata[k] = v
	}
	for i, name := range n.names {
		t := n.state[slot*len(n.names)+i]
		v, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, err
		}
		out.Tensors[name] = safetensors.FloatTensor(v, t.Shape().Dimensions...)
	}
	if t := n.File.Tensors["edgeInverter"]; t != nil && slot == 0 {
		out.Tensors["edgeInverter"] = t
	}
	return out, nil
}

// Close frees what was compiled and what is on the device.
func (n *Net) Close() {
	for _, c := range n.programs {
		for _, e := range []*Exec{c.encode, c.layer, c.decode, c.encodeBack, c.back, c.decodeEnd} {
			e.Finalize()
		}
	}
	n.update.Finalize()
	free(n.state)
}
