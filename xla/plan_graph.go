package xla

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// flush makes one step of the nodes that wait for GoMLX.
func (b *planning) flush() {
	nodes := b.rest
	if len(nodes) == 0 {
		return
	}
	b.mixed, b.rest, b.pending = true, nil, map[string]bool{}
	inside := map[string]bool{}
	for _, n := range nodes {
		for _, o := range n.Outputs {
			inside[o] = true
		}
	}
	g := &segment{runner: b.r, nodes: nodes, batch: b.e.batch, fixed: b.e.fixed, known: map[string]*tensors.Tensor{}}
	var s step
	for _, n := range nodes {
		for _, name := range reads(n) {
			v := b.s.values[name]
			switch {
			case name == "" || v == nil || inside[name] || slices.Contains(g.inputs, name):
			case v.known != nil:
				g.known[name] = v.known
			case b.running(name):
				g.inputs = append(g.inputs, name)
				g.dims = append(g.dims, slices.Clone(b.dims(name)))
				s.reads = append(s.reads, b.plain(name))
			}
		}
	}
	for _, n := range nodes {
		for _, name := range n.Outputs {
			if b.running(name) && (b.wanted[name] || slices.ContainsFunc(b.readers[name], func(r *onnxio.Node) bool { return !slices.Contains(nodes, r) })) {
				g.outputs = append(g.outputs, name)
				to := b.cell()
				b.setPlain(name, to)
				s.writes, s.sizes = append(s.writes, to), append(s.sizes, -1)
			}
		}
	}
	from, to := s.reads, s.writes
	s.run = func(c []cell) error { return g.run(c, from, to) }
	b.plan.steps = append(b.plan.steps, s)
}

// segment is a part of a model on GoMLX.
type segment struct {
	runner          *Runner
	nodes           []*onnxio.Node
	inputs, outputs []string
	dims            [][]int
	known           map[string]*tensors.Tensor
	batch, fixed    int
	exec            *Exec
}

// build compiles the segment.
func (g *segment) build() error {
	p, k := g.runner.Program, len(g.runner.Program.Params)
	var err error
	g.exec, err = NewExec(g.runner.backend.Backend, func(in []*Node) []*Node {
		e := p.env(in[0].Graph(), g.runner.backend, in[:k], nil)
		e.batch, e.fixed = g.batch, g.fixed
		feeds := map[string]*Node{}
		for i, name := range g.inputs {
			feeds[name] = in[k+i]
		}
		s := e.scope(feeds)
		for name, t := range g.known {
			if s.values[name] == nil {
				s.values[name] = known(t)
			}
		}
		e.nodes(s, g.nodes, "graph")
		var out []*Node
		for _, name := range g.outputs {
			out = append(out, e.node(s.values[name]))
		}
		return out
	})
	if err != nil {
		return Wrap(err)
	}
	g.runner.segments = append(g.runner.segments, g.exec)
	return nil
}

// run computes the segment's outputs.
func (g *segment) run(c []cell, from, to []int) error {
	if g.exec == nil {
		if err := g.build(); err != nil {
			return err
		}
	}
	var args []any
	for _, p := range g.runner.tensors() {
		args = append(args, p)
	}
	var made []*tensors.Tensor
	for i, k := range from {
		t := c[k].tensor
		if t == nil {
			t = tensors.FromFlatDataAndDimensions(c[k].floats, g.dims[i]...)
			made = append(made, t)
		}
		args = append(args, t)
	}
	outs, err := g.exec.Call(args...)
	if err != nil {
		return Wrap(err)
	}
	for _, t := range made {
		t.MustFinalizeAll()
	}
	for i, t := range outs {
		if t.DType() != dtypes.Float32 {
			c[to[i]] = cell{tensor: t}
			continue
		}
		v, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return err
		}
		c[to[i]] = cell{floats: v, owned: true}
		t.MustFinalizeAll()
	}
	return nil
}
