package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Operators with bodies. What goes in, comes out or is captured stays whole, but for Ifs at the top of the graph (branches.go); bodies are run for the shapes that come out, so that what follows is known.

func init() {
	register(
		Op{Name: "If", Since: 1, Infer: branch, Note: "the branch that is taken is analysed, or both if the condition is unknown; a body inside another body cannot be pruned"},
		Op{Name: "Loop", Since: 1, Infer: loop, Note: "frozen, with the shapes that its body gives"},
		Op{Name: "Scan", Since: 9, Infer: scan, Note: "frozen, with the shapes that its body gives"},
	)
}

// maxBodies bounds how deep bodies nest, maxBodyNodes how many nodes are run in them: loops run theirs several times, also those inside.
const (
	maxBodies    = 8
	maxBodyNodes = 1 << 18
)

// unlabelled is what a body sees of a value from outside: everything but labels.
func unlabelled(v *Value, name string) *Value {
	out := &Value{Name: name, Type: v.Type, Ranked: v.Ranked, Shape: slices.Clone(v.Shape), axes: make([][]label, len(v.Shape)), elems: slices.Clone(v.elems), zero: nonZero, static: v.static}
	for i := range out.elems {
		out.elems[i].taint, out.elems[i].length = nil, nil
	}
	return out
}

// fromOutside finds a value that a body captures.
func (a *analyzer) fromOutside(name string) *Value {
	for o := a.outer; o != nil; o = o.outer {
		if v := o.values[name]; v != nil {
			return a.add(unlabelled(v, name))
		}
	}
	return nil
}

// body runs a subgraph on the given inputs, which it gets without labels, and returns its outputs; nil where it cannot be run.
func (c *call) body(g *onnxio.Graph, in []*Value) []*Value {
	if g == nil || len(in) > len(g.Inputs) || c.depth >= maxBodies {
		return nil
	}
	if *c.budget -= len(g.Nodes); *c.budget < 0 {
		return nil
	}
	sub := newAnalyzer(&onnxio.Model{OpsetImport: c.model.OpsetImport, Functions: c.model.Functions, Graph: g})
	sub.outer, sub.depth, sub.reading, sub.budget = c.analyzer, c.depth+1, c.reading, c.budget
	if sub.begin() != nil {
		return nil
	}
	for i, v := range in {
		if v != nil {
			sub.values[g.Inputs[i].Name] = unlabelled(v, g.Inputs[i].Name)
		}
	}
	order, err := sorted(g)
	if err != nil {
		return nil
	}
	for _, i := range order {
		n, err := sub.prepare(i, g.Nodes[i])
		if err != nil {
			return nil
		}
		if sub.run(n); sub.broken != nil {
			return nil
		}
	}
	out := make([]*Value, len(g.Outputs))
	for i, o := range g.Outputs {
		if out[i] = sub.values[o.Name]; out[i] == nil {
			out[i] = sub.fromOutside(o.Name)
		}
	}
	return out
}

func (c *call) graph(name string) *onnxio.Graph {
	if a := c.attr(name); a != nil {
		return a.G
	}
	return nil
}

// freezeInputs keeps everything that goes in whole, and lets the outputs be what the file declares.
func (c *call) freezeInputs() { c.unknown("is an input of the body of %s", c.node.OpType) }

// comesOut gives output i a shape; a rank that is not known stays so.
func (c *call) comesOut(i int, t onnxio.DataType, shape []Dim, ranked bool) {
	if ranked {
		c.set(i, t, slices.Clone(shape)).zero = nonZero
	} else if i < len(c.out) && c.out[i] != nil {
		c.out[i].Type = t
	}
}

// both returns what two shapes have in common: where their dims differ, a symbol; false where their ranks do or are not known.
func (c *call) both(a, b *Value, name string) ([]Dim, bool) {
	if a == nil || b == nil || !a.Ranked || !b.Ranked || len(a.Shape) != len(b.Shape) {
		return nil, false
	}
	shape := slices.Clone(a.Shape)
	for k, d := range b.Shape {
		if shape[k] != d {
			shape[k] = Symbol("?" + name + "." + Num(int64(k)).String())
		}
	}
	return shape, true
}

func (c *call) outName(i int) string {
	if i < len(c.node.Outputs) && c.node.Outputs[i] != "" {
		return c.node.Outputs[i]
	}
	return c.name()
}

func branch(c *call) {
	if len(c.in) == 3 {
		joinBranches(c)
		return
	}
	c.freezeInputs()
	yes, no := c.graph("then_branch"), c.graph("else_branch")
	if v, ok := c.input(0).ints(); ok && len(v) == 1 && !c.reading { // a condition that is known
		if v[0] != 0 {
			no = yes
		} else {
			yes = no
		}
		if e := c.input(0).elems[0]; e.taint == nil && e.length == nil {
			c.takes(yes)
		}
	} else {
		c.takes(yes, no)
	}
	a := c.body(yes, nil)
	b := a
	if yes != no {
		b = c.body(no, nil)
	}
	for i := range c.out {
		if i < len(a) && i < len(b) && a[i] != nil {
			shape, ok := c.both(a[i], b[i], c.outName(i))
			c.comesOut(i, a[i].Type, shape, ok)
			if a[i] == b[i] && ok && c.out[i] != nil {
				c.out[i].elems = unlabelled(a[i], "").elems // of the branch that is taken
			}
		}
	}
}

// loop has the number of trips, the condition and what is carried as inputs; its body takes the trip's number in front. What the body changes the shape of has symbols from the second trip on.
func loop(c *call) {
	c.freezeInputs()
	g := c.graph("body")
	if len(c.in) < 2 || g == nil {
		return
	}
	carried := slices.Clone(c.in[2:])
	var out []*Value
	for range 3 {
		scalar := func(t onnxio.DataType) *Value { return &Value{Type: t, Ranked: true, Shape: []Dim{}} }
		if out = c.body(g, append([]*Value{scalar(onnxio.Int64), scalar(onnxio.Bool)}, carried...)); len(out) < 1+len(carried) {
			return
		}
		same := true
		for i, v := range carried {
			if v == nil {
				return
			}
			w := unlabelled(v, v.Name)
			w.elems = nil
			shape, ok := c.both(v, out[1+i], c.outName(i))
			w.Shape, w.Ranked, w.axes = shape, ok, make([][]label, len(shape))
			same = same && slices.Equal(shape, v.Shape) && ok == v.Ranked && v.elems == nil
			carried[i] = w
		}
		if same {
			break
		}
	}
	for i := range c.out {
		switch {
		case i < len(carried):
			c.comesOut(i, carried[i].Type, carried[i].Shape, carried[i].Ranked)
		case 1+i < len(out) && out[1+i] != nil:
			c.comesOut(i, out[1+i].Type, append([]Dim{Symbol("?" + c.outName(i) + ".trips")}, out[1+i].Shape...), out[1+i].Ranked)
		}
	}
}

// scan has initial states and then the values that it runs along; its body takes the states and one slice of each.
func scan(c *call) {
	c.freezeInputs()
	g, along := c.graph("body"), int(c.int("num_scan_inputs", 0))
	states := len(c.in) - along
	if g == nil || along < 1 || states < 0 {
		return
	}
	in, length := slices.Clone(c.in), Num(0)
	for i := range along {
		v := c.in[states+i]
		axis := int64(0)
		if axes := c.ints("scan_input_axes"); i < len(axes) {
			axis = axes[i]
		}
		if v == nil || !v.Ranked {
			return
		}
		k, ok := normAxis(axis, len(v.Shape))
		if !ok {
			return
		}
		length = v.Shape[k]
		w := unlabelled(v, v.Name)
		w.elems, w.Shape = nil, slices.Delete(w.Shape, k, k+1)
		w.axes = make([][]label, len(w.Shape))
		in[states+i] = w
	}
	for i := range states {
		if in[i] != nil {
			w := unlabelled(in[i], in[i].Name)
			w.elems = nil
			in[i] = w
		}
	}
	out := c.body(g, in)
	for i := range c.out {
		if i >= len(out) || out[i] == nil {
			continue
		}
		shape := slices.Clone(out[i].Shape)
		if i >= states && out[i].Ranked {
			axis := int64(0)
			if axes := c.ints("scan_output_axes"); i-states < len(axes) {
				axis = axes[i-states]
			}
			k, ok := normAxis(axis, len(shape)+1)
			if !ok {
				continue
			}
			shape = slices.Insert(shape, k, length)
		}
		c.comesOut(i, out[i].Type, shape, out[i].Ranked)
	}
}
