package xla

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// kernels plan single nodes on package kernel, by operator. They return false for what they do not
// compute, before they have planned anything.
var kernels = map[string]func(b *planning, o *nodeOp) bool{}

// held says in which cells a value of the model is, in ONNX's layout and channels last; -1 for none.
type held struct{ plain, last int }

// planning makes a plan from a graph that was built for its shapes alone.
type planning struct {
	r       *Runner
	e       *env
	s       *scope
	nodes   []*onnxio.Node
	plan    *plan
	at      map[string]held
	readers map[string][]*onnxio.Node
	wanted  map[string]bool // outputs and taps
	done    map[*onnxio.Node]bool
}

// newPlan plans a program for inputs like these, or returns nil where GoMLX alone should run it.
func newPlan(r *Runner, inputs []Array) (p *plan) {
	defer func() {
		if recover() != nil {
			p = nil // GoMLX builds the same graph and says what is wrong
		}
	}()
	b := &planning{r: r, plan: &plan{}, at: map[string]held{}, readers: map[string][]*onnxio.Node{}, wanted: map[string]bool{}, done: map[*onnxio.Node]bool{}}
	g := b.trace(inputs)
	defer g.Finalize()
	for _, name := range slices.Concat(r.Program.Outputs, r.taps) {
		b.wanted[name] = true
	}
	for _, n := range b.nodes {
		for _, name := range reads(n) {
			b.readers[name] = append(b.readers[name], n)
		}
	}
	for _, n := range b.nodes {
		if !b.node(n) {
			return nil
		}
	}
	if len(b.plan.steps) == 0 || !b.finish() {
		return nil
	}
	return b.plan
}

// trace builds the graph for its shapes and for what is known without data; nothing is compiled.
func (b *planning) trace(inputs []Array) *Graph {
	p := b.r.Program
	g := NewGraph(b.r.backend.Backend, "")
	var params, in []*Node
	for i, c := range p.Params {
		params = append(params, Parameter(g, fmt.Sprintf("p%d", i), shapeOf(b.r.values[i].dtype(), c.Dims)))
	}
	for i, a := range inputs {
		in = append(in, Parameter(g, fmt.Sprintf("x%d", i), shapeOf(a.dtype(), a.Dims)))
	}
	// a convolution is one node there
	b.e = p.env(g, &Backend{b.r.backend.Backend, "shapes"}, params, in)
	b.s = b.e.scope(p.feeds(in))
	b.nodes = sorted(p.Model.Graph.Nodes)
	b.e.nodes(b.s, p.Model.Graph.Nodes, "graph")
	for i, input := range p.Inputs {
		b.plan.inputs = append(b.plan.inputs, b.cell())
		b.at[input.Name] = held{b.plan.inputs[i], -1}
	}
	return g
}

// dtype is the GoMLX type of an array.
func (a Array) dtype() dtypes.DType {
	if a.Type == onnxio.Double {
		return dtypes.Float64
	}
	if t, ok := dtype(a.Type); ok && (a.Floats == nil || t.IsFloat()) {
		return t
	}
	if a.Floats != nil {
		return dtypes.Float32
	}
	return dtypes.Int64
}

// reads lists what a node and its subgraphs read.
func reads(n *onnxio.Node) []string {
	out := slices.Clone(n.Inputs)
	for _, a := range n.Attributes {
		for _, g := range a.Subgraphs() {
			out = append(out, captures(g)...)
		}
	}
	return out
}

func (b *planning) cell() int {
	b.plan.cells = append(b.plan.cells, cell{})
	return len(b.plan.cells) - 1
}

// running reports whether a value depends on the input.
func (b *planning) running(name string) bool {
	v := b.s.values[name]
	return name != "" && v != nil && v.known == nil && b.r.Program.index[name] == nil
}

// node plans one node; it returns false for one that depends on the input and has no kernel.
func (b *planning) node(n *onnxio.Node) bool {
	if b.done[n] || !slices.ContainsFunc(n.Outputs, b.running) {
		return true
	}
	f := kernels[key(n)]
	b.done[n] = f != nil && b.e.function(n) == nil && b.floating(n) && f(b, b.op(n))
	return b.done[n]
}

// floating reports whether a node reads and writes float32 alone, but for what is known, and first
// of all something that depends on the input.
func (b *planning) floating(n *onnxio.Node) bool {
	if len(n.Inputs) == 0 || !b.running(n.Inputs[0]) {
		return false
	}
	for i, name := range n.Outputs {
		if i > 0 && name != "" || i == 0 && b.type32(name) != dtypes.Float32 {
			return false
		}
	}
	for _, name := range n.Inputs {
		if b.running(name) && b.type32(name) != dtypes.Float32 {
			return false
		}
	}
	return true
}

func (b *planning) type32(name string) dtypes.DType {
	switch v := b.s.values[name]; {
	case v == nil:
	case v.plain != nil:
		return v.plain.DType()
	case v.last != nil:
		return v.last.DType()
	}
	return dtypes.InvalidDType
}

// op is the node as a rule sees it.
func (b *planning) op(n *onnxio.Node) *nodeOp {
	o := &nodeOp{Node: n, e: b.e, s: b.s, at: n.Name, since: b.r.Program.opset[domain(n.Domain)]}
	for _, name := range n.Inputs {
		var v *value
		if name != "" {
			v = b.e.lookup(b.s, name)
		}
		o.in = append(o.in, v)
	}
	return o
}

// dims are the dims of a value in ONNX's layout.
func (b *planning) dims(name string) []int { return b.s.values[name].dims() }

// constant returns the numbers of an input that is a parameter or known, nil for others.
func (b *planning) constant(o *nodeOp, i int) []float32 {
	if !o.has(i) {
		return nil
	}
	for k, c := range b.r.Program.Params {
		if c.Name == o.Inputs[i] {
			return b.r.values[k].Floats
		}
	}
	return floats32(o.in[i].known)
}

func floats32(t *tensors.Tensor) []float32 {
	if t == nil || t.DType() != dtypes.Float32 {
		return nil
	}
	v, err := tensors.CopyFlatData[float32](t)
	if err != nil {
		return nil
	}
	return v
}

// only returns the node that alone reads a value, nil where others want it too.
func (b *planning) only(name string) *onnxio.Node {
	if r := b.readers[name]; len(r) == 1 && !b.wanted[name] && !b.done[r[0]] && slices.Index(r[0].Inputs, name) >= 0 {
		return r[0]
	}
	return nil
}

// where returns the cells of a value. One that no step computes ends the plan: GoMLX runs the model.
func (b *planning) where(name string) held {
	h, ok := b.at[name]
	if !ok {
		panic("no step computes " + name)
	}
	return h
}

// plain returns the cell of a value in ONNX's layout.
func (b *planning) plain(name string) int {
	h := b.where(name)
	if h.plain < 0 {
		d := b.dims(name)
		if h.plain = h.last; d[2]*d[3] != 1 && d[1] != 1 {
			h.plain = b.turned(h.last, []int{d[0], d[2] * d[3], d[1]})
		}
		b.at[name] = h
	}
	return h.plain
}

// last returns the cell of a value of rank 4 channels last.
func (b *planning) last(name string) int {
	h := b.where(name)
	if h.last < 0 {
		d := b.dims(name)
		if h.last = h.plain; d[2]*d[3] != 1 && d[1] != 1 {
			h.last = b.turned(h.plain, []int{d[0], d[1], d[2] * d[3]})
		}
		b.at[name] = h
	}
	return h.last
}

// isLast reports whether a value is held channels last and in no other way.
func (b *planning) isLast(name string) bool {
	h, ok := b.at[name]
	return ok && h.plain < 0
}

// add plans a step that writes one value of the given number of elements.
func (b *planning) add(size int, reads []int, run func(c []cell, out []float32)) int {
	to := b.cell()
	b.plan.steps = append(b.plan.steps, step{reads: reads, writes: []int{to}, sizes: []int{size}, run: func(c []cell) error {
		run(c, c[to].floats)
		return nil
	}})
	return to
}

func (b *planning) setPlain(name string, cell int) { b.at[name] = held{cell, -1} }
func (b *planning) setLast(name string, cell int)  { b.at[name] = held{-1, cell} }

// finish notes the outputs; it returns false where one is no result of a step.
func (b *planning) finish() bool {
	for _, name := range slices.Concat(b.r.Program.Outputs, b.r.taps) {
		v := b.s.values[name]
		switch {
		case v != nil && v.known != nil:
			b.plan.outputs = append(b.plan.outputs, planOutput{known: v.known})
			continue
		case !b.running(name):
			return false
		}
		if _, ok := b.at[name]; !ok {
			return false
		}
		b.plan.outputs = append(b.plan.outputs, planOutput{cell: b.plain(name), dims: slices.Clone(b.dims(name))})
	}
	b.plan.finish()
	return true
}
