package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Operators with bodies. What goes in, comes out or is captured stays whole, but for Ifs at the top
// of the graph (branches.go); bodies are run for the shapes that come out, so that what follows is
// known.

func init() {
	register(
		Op{Name: "If", Since: 1, Infer: branch, Note: "the branch that is taken is analysed, or both if the condition is unknown; a body inside another body cannot be pruned"},
		Op{Name: "Loop", Since: 1, Infer: loop, Note: "frozen, with the shapes that its body gives"},
		Op{Name: "Scan", Since: 9, Infer: scan, Note: "frozen, with the shapes that its body gives"},
	)
}

// maxBodies bounds how deep bodies nest, maxBodyNodes how many nodes are run in them: loops run
// theirs several times, also those inside.
const (
	MaxBodies    = 8
	maxBodyNodes = 1 << 18
)

// unlabelled is what a body sees of a value from outside: everything but labels.
func unlabelled(v *Value, name string) *Value {
	out := &Value{Name: name, Type: v.Type, Ranked: v.Ranked, Shape: slices.Clone(v.Shape), Axes: make([][]label.Label, len(v.Shape)), Elements: slices.Clone(v.Elements), zero: nonZero, Static: v.Static}
	for i := range out.Elements {
		out.Elements[i].taint, out.Elements[i].length = nil, nil
	}
	return out
}

// fromOutside finds a value that a body captures.
func (a *Analyzer) fromOutside(name string) *Value {
	for o := a.outer; o != nil; o = o.outer {
		if v := o.Values[name]; v != nil {
			return a.add(unlabelled(v, name))
		}
	}
	return nil
}

// body runs a subgraph on the given inputs, which it gets without labels, and returns its outputs;
// nil where it cannot be run.
func (c *Call) body(g *onnxio.Graph, in []*Value) []*Value {
	if g == nil || len(in) > len(g.Inputs) || c.depth >= MaxBodies {
		return nil
	}
	if *c.budget -= len(g.Nodes); *c.budget < 0 {
		return nil
	}
	sub := NewAnalyzer(&onnxio.Model{OpsetImport: c.model.OpsetImport, Functions: c.model.Functions, Graph: g})
	sub.outer, sub.depth, sub.reading, sub.budget = c.Analyzer, c.depth+1, c.reading, c.budget
	if sub.Begin() != nil {
		return nil
	}
	for i, v := range in {
		if v != nil {
			sub.Values[g.Inputs[i].Name] = unlabelled(v, g.Inputs[i].Name)
		}
	}
	order, err := Sorted(g)
	if err != nil {
		return nil
	}
	for _, i := range order {
		n, err := sub.Prepare(i, g.Nodes[i])
		if err != nil {
			return nil
		}
		if sub.Run(n); sub.Broken != nil {
			return nil
		}
	}
	out := make([]*Value, len(g.Outputs))
	for i, o := range g.Outputs {
		if out[i] = sub.Values[o.Name]; out[i] == nil {
			out[i] = sub.fromOutside(o.Name)
		}
	}
	return out
}

func (c *Call) graph(name string) *onnxio.Graph {
	if a := c.attr(name); a != nil {
		return a.G
	}
	return nil
}

// freezeInputs keeps everything that goes in whole, and lets the outputs be what the file declares.
func (c *Call) freezeInputs() { c.unknown("is an input of the body of %s", c.Node.OpType) }

// comesOut gives output i a shape; a rank that is not known stays so.
func (c *Call) comesOut(i int, t onnxio.DataType, shape []dim.Dim, ranked bool) {
	if ranked {
		c.set(i, t, slices.Clone(shape)).zero = nonZero
	} else if i < len(c.Out) && c.Out[i] != nil {
		c.Out[i].Type = t
	}
}

// both returns what two shapes have in common: where their dims differ, a symbol; false where their
// ranks do or are not known.
func (c *Call) both(a, b *Value, name string) ([]dim.Dim, bool) {
	if a == nil || b == nil || !a.Ranked || !b.Ranked || len(a.Shape) != len(b.Shape) {
		return nil, false
	}
	shape := slices.Clone(a.Shape)
	for k, d := range b.Shape {
		if shape[k] != d {
			shape[k] = dim.Symbol("?" + name + "." + dim.Num(int64(k)).String())
		}
	}
	return shape, true
}

func (c *Call) outName(i int) string {
	if i < len(c.Node.Outputs) && c.Node.Outputs[i] != "" {
		return c.Node.Outputs[i]
	}
	return c.Name()
}

func branch(c *Call) {
	if len(c.In) == 3 {
		joinBranches(c)
		return
	}
	c.freezeInputs()
	yes, no := c.graph("then_branch"), c.graph("else_branch")
	if v, ok := c.Input(0).ints(); ok && len(v) == 1 && !c.reading { // a condition that is known
		if v[0] != 0 {
			no = yes
		} else {
			yes = no
		}
		if e := c.Input(0).Elements[0]; e.taint == nil && e.length == nil {
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
	for i := range c.Out {
		if i < len(a) && i < len(b) && a[i] != nil {
			shape, ok := c.both(a[i], b[i], c.outName(i))
			c.comesOut(i, a[i].Type, shape, ok)
			if a[i] == b[i] && ok && c.Out[i] != nil {
				c.Out[i].Elements = unlabelled(a[i], "").Elements // of the branch that is taken
			}
		}
	}
}

// loop has the number of trips, the condition and what is carried as inputs; its body takes the
// trip's number in front. What the body changes the shape of has symbols from the second trip on.
func loop(c *Call) {
	c.freezeInputs()
	g := c.graph("body")
	if len(c.In) < 2 || g == nil {
		return
	}
	carried := slices.Clone(c.In[2:])
	var out []*Value
	for range 3 {
		scalar := func(t onnxio.DataType) *Value { return &Value{Type: t, Ranked: true, Shape: []dim.Dim{}} }
		if out = c.body(g, append([]*Value{scalar(onnxio.Int64), scalar(onnxio.Bool)}, carried...)); len(out) < 1+len(carried) {
			return
		}
		same := true
		for i, v := range carried {
			if v == nil {
				return
			}
			w := unlabelled(v, v.Name)
			w.Elements = nil
			shape, ok := c.both(v, out[1+i], c.outName(i))
			w.Shape, w.Ranked, w.Axes = shape, ok, make([][]label.Label, len(shape))
			same = same && slices.Equal(shape, v.Shape) && ok == v.Ranked && v.Elements == nil
			carried[i] = w
		}
		if same {
			break
		}
	}
	for i := range c.Out {
		switch {
		case i < len(carried):
			c.comesOut(i, carried[i].Type, carried[i].Shape, carried[i].Ranked)
		case 1+i < len(out) && out[1+i] != nil:
			c.comesOut(i, out[1+i].Type, append([]dim.Dim{dim.Symbol("?" + c.outName(i) + ".trips")}, out[1+i].Shape...), out[1+i].Ranked)
		}
	}
}

// scan has initial states and then the values that it runs along; its body takes the states and one
// slice of each.
func scan(c *Call) {
	c.freezeInputs()
	g, along := c.graph("body"), int(c.Int("num_scan_inputs", 0))
	states := len(c.In) - along
	if g == nil || along < 1 || states < 0 {
		return
	}
	in, length := slices.Clone(c.In), dim.Num(0)
	for i := range along {
		v := c.In[states+i]
		axis := int64(0)
		if axes := c.ints("scan_input_axes"); i < len(axes) {
			axis = axes[i]
		}
		if v == nil || !v.Ranked {
			return
		}
		k, ok := NormAxis(axis, len(v.Shape))
		if !ok {
			return
		}
		length = v.Shape[k]
		w := unlabelled(v, v.Name)
		w.Elements, w.Shape = nil, slices.Delete(w.Shape, k, k+1)
		w.Axes = make([][]label.Label, len(w.Shape))
		in[states+i] = w
	}
	for i := range states {
		if in[i] != nil {
			w := unlabelled(in[i], in[i].Name)
			w.Elements = nil
			in[i] = w
		}
	}
	out := c.body(g, in)
	for i := range c.Out {
		if i >= len(out) || out[i] == nil {
			continue
		}
		shape := slices.Clone(out[i].Shape)
		if i >= states && out[i].Ranked {
			axis := int64(0)
			if axes := c.ints("scan_output_axes"); i-states < len(axes) {
				axis = axes[i-states]
			}
			k, ok := NormAxis(axis, len(shape)+1)
			if !ok {
				continue
			}
			shape = slices.Insert(shape, k, length)
		}
		c.comesOut(i, out[i].Type, shape, out[i].Ranked)
	}
}
