package graphcodec

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// A reader of the file that counts multiply-accumulates, as ONNX's shape inference lets it, knows less than the analysis: contents that it does not propagate are unknown to it, and so is what comes out of operators of other domains. Its
// view is the same rules run with those unknown; where a dim is a number there, the reader sees it.

// propagates reports whether the contents of the node's result are known to a reader who knows its inputs'.
func (c *call) propagates() bool {
	since := c.op().Static.Contents
	return since > 0 && c.version >= since
}

// copiedIntegers reports whether v is an Identity over a constant of integers, whose contents are not looked for behind it.
func (v *Value) copiedIntegers() bool {
	return v.Const != nil && v.Const.Copy && v.Type.IsInteger()
}

// lostTarget reports whether the node is a Reshape of an operator set in which nothing but a constant tells the result's rank, and has none.
func (c *call) lostTarget() bool {
	return c.node.OpType == "Reshape" && c.version < 14 && c.input(1) != nil && c.input(1).Const == nil
}

// forget takes away what the reader does not know of the outputs.
func (c *call) forget(domain string) {
	computed, static := c.hasComputedBounds(), c.op().Static
	x := c.input(0)
	if c.node.OpType == "Where" {
		x = c.input(1)
	}
	typeless := x != nil && x.Type == onnxio.Undefined && !static.Typed
	for _, v := range c.out {
		if v == nil {
			continue
		}
		if v.copiedIntegers() {
			v.Const, v.axes = nil, make([][]label, len(v.Shape))
		}
		if v.Const != nil {
			continue
		}
		if domain != "" || static.Opaque || typeless {
			v.Ranked, v.Shape, v.axes, v.elems = false, nil, nil, nil
			if !static.Opaque {
				v.Type = onnxio.Undefined
			}
			continue
		}
		if v.Type == onnxio.Undefined && x != nil {
			v.Type = x.Type
		}
		if c.lostTarget() {
			v.Ranked, v.Shape, v.axes, v.elems = false, nil, nil, nil
			continue
		}
		if computed {
			v.Shape = slices.Clone(v.Shape)
			for k := range v.Shape {
				v.Shape[k], v.axes[k] = expression(fmt.Sprintf("?%s.%d", v.Name, k)), nil
			}
		}
		if v.elems == nil || computed || !c.propagates() {
			c.forgetContents(v)
		}
	}
}

// hasComputedBounds reports whether something other than a constant says what the shape becomes, where it would have to be one.
func (c *call) hasComputedBounds() bool {
	_, sizes := c.resizeInputs()
	static := c.op().Static
	for i, v := range c.in {
		if c.node.OpType == "Resize" && i == sizes {
			continue // taken as far as it is propagated
		}
		if i > 0 && v != nil && c.shapeIn.has(i) && v.Const == nil && !static.Target && static.Contents == 0 {
			return true
		}
	}
	return static.Bounds > 0 && slices.ContainsFunc(c.in[min(static.Bounds-1, len(c.in)):], func(v *Value) bool { return v != nil && v.Const == nil })
}

// readTarget gives a Reshape what its target alone says, where the reader can work out no more: of an input it knows nothing about, and where a dim that is left to be inferred stands beside one that it does not know.
func (c *call) readTarget(x, s *Value) bool {
	inferred, open := false, !x.Ranked
	for _, e := range s.elems {
		inferred = inferred || e.Int == Num(-1)
		open = open || !e.Int.IsNum()
	}
	if x.Ranked && !(inferred && open) {
		return false
	}
	c.shapeIn.set(1, true)
	shape := make([]Dim, len(s.elems))
	for k, e := range s.elems {
		switch {
		case e.Int.IsNum() && e.Int.N > 0:
			shape[k] = e.Int
		case e.Int == Num(0) && x.Ranked && k < len(x.Shape):
			shape[k] = x.Shape[k]
		default:
			shape[k] = expression(fmt.Sprintf("?%s.%d", c.outName(0), k))
		}
	}
	c.set(0, x.Type, shape)
	return true
}

// forgetContents leaves nothing but the number of elements of a small vector of integers.
func (c *call) forgetContents(v *Value) {
	v.elems = nil
	if !v.Ranked || !v.Type.IsInteger() || len(v.Shape) > 1 || !product(v.Shape).IsNum() || product(v.Shape).N > 16 {
		return
	}
	v.elems = make([]Elem, product(v.Shape).N)
	for i := range v.elems {
		v.elems[i] = Elem{Int: expression(fmt.Sprintf("?%s[%d]", v.Name, i))}
	}
}

// readAt sets what each node costs in a reader's eyes. base are the rules' results that the reader knows at most: those with free sizes or with numbers for them.
func (a *Analysis) readAt(costs []callCost, base *analyzer) {
	needed, fused := []int{}, a.mostlyFused(costs)
	for i, c := range a.an.calls {
		b := c
		if base != a.an {
			if b = a.sizedCall(i); b == nil {
				continue
			}
		}
		if b.macs == nil || b.macs.kind == hiddenWork || b.macs.kind == fusedWork && !fused {
			continue
		}
		costs[i].seenFixed, costs[i].seen = b.macs.fixed, b.macs.axes
		if base != a.an {
			costs[i].seenFixed, costs[i].seen = costs[i].fixed, costs[i].axes
		}
		if costs[i].seenFixed != 0 && !plainShapes(b) && b.node.Domain != microsoft && b.macs.kind != fusedWork {
			needed = append(needed, i)
		}
	}
	if len(needed) == 0 {
		return
	}
	r := base.reader()
	for _, i := range needed {
		s := sight{cost: &costs[i], call: a.an.calls[i], base: base.calls[i], reader: r}
		s.look()
	}
}

// mostlyFused reports whether products of convolutions and matrices are less than a hundredth of the work. Only then the static count has attention, recurrent layers and fused operators in it, too: most tools count convolutions and matrices
// alone, and a target should hold for them as well, unless they are so few that it would be out of proportion.
func (a *Analysis) mostlyFused(costs []callCost) bool {
	var fused, other float64
	for i, c := range a.an.calls {
		if c.macs == nil {
			continue
		}
		n := work(costs[i].fixed, costs[i].axes)
		if c.macs.kind == fusedWork {
			fused += n
		} else if c.macs.kind != hiddenWork {
			other += n
		}
	}
	return fused > 99*other
}

// plainShapes reports whether everybody sees the shapes that the node's cost follows from, in numbers.
func plainShapes(c *call) bool {
	for _, v := range slices.Concat(c.in[:min(2, len(c.in))], c.out[:min(1, len(c.out))]) {
		if v != nil && (!v.plain || slices.ContainsFunc(v.Shape, func(d Dim) bool { return !d.IsNum() })) {
			return false
		}
	}
	return true
}

// readable reports whether a reader of the file sees how long axis k of a value is.
func (c *call) readable(v *Value, k int) bool {
	if c.concealed[c.node] {
		return false
	}
	if v.plain || c.seen == nil || !c.stands(c.node) {
		return true
	}
	rv := c.reader().values[v.Name]
	return rv != nil && rv.Ranked && k < len(rv.Shape) && rv.Shape[k].IsNum()
}

// reader runs the rules as a reader would, once. What breaks there only leaves more unknown.
func (a *analyzer) reader() (r *analyzer) {
	if a.view != nil {
		return a.view
	}
	g := a.seen.Graph
	r = newAnalyzer(a.seen)
	r.reading, r.sizes, r.lab.flat, a.view = true, a.sizes, true, r
	defer func() { _ = recover() }()
	order, err := sorted(g)
	if err != nil || r.begin() != nil {
		return r
	}
	for _, i := range order {
		c, err := r.prepare(i, g.Nodes[i])
		if err != nil {
			return r
		}
		if r.run(c); r.broken != nil {
			return r
		}
	}
	return r
}

// sight is how a reader looks at one node: call has the labels, base the shapes that the reader knows at most.
type sight struct {
	cost       *callCost
	call, base *call
	reader     *analyzer
}

// look sets the node's cost as the reader counts it: the dims of the result that it sees, times those of the kernel or of the axis that is summed over.
func (s *sight) look() {
	s.cost.seen, s.cost.seenFixed = nil, 1
	c, o := s.base, s.base.like()
	w := 1
	if o.Layer != nil {
		w = o.Layer.Weight
	}
	switch o.Static.Counts {
	case countsOutput:
		s.all(true, 0, 0)
		s.all(false, w, 1)
	case countsInput:
		s.all(false, 0, 0)
		s.all(false, w, 1)
	case countsColumns:
		x := c.input(0)
		if x == nil || s.reader.values[x.Name] == nil || len(s.reader.values[x.Name].Shape) == 0 {
			s.cost.seenFixed = 0
			return
		}
		s.all(true, 0, 0)
		s.see(x, s.call.input(0), len(x.Shape)-1)
	case countsGemm:
		s.all(true, 0, 0)
		k := 0
		if c.int("transB", 0) != 0 {
			k = 1
		}
		s.see(c.input(1), s.call.input(1), k)
	default:
		s.cost.seenFixed = 0
	}
}

// all multiplies the cost by the axes of an output or an input, from one on.
func (s *sight) all(output bool, i, from int) {
	v, own := s.base.input(i), s.call.input(i)
	if output {
		v, own = s.base.result(i), s.call.result(i)
	}
	for k := from; v != nil && k < len(v.Shape); k++ {
		s.see(v, own, k)
	}
}

// see multiplies the cost by one axis of v, which the analysis has as own, where the reader sees its length.
func (s *sight) see(v, own *Value, k int) {
	if v == nil || own == nil {
		return
	}
	rv := s.reader.values[v.Name]
	if rv == nil || k < 0 || k >= len(rv.Shape) || k >= len(v.Shape) || !rv.Shape[k].IsNum() || rv.Shape[k].N < 1 {
		return
	}
	s.cost.seen = append(s.cost.seen, costAxis{s.call.followed(own, k), rv.Shape[k].N})
}

// followed are the labels of an axis that the node reads, nil where it is not followed.
func (c *call) followed(v *Value, k int) []label {
	for _, s := range c.selections {
		if s.axis == k && c.in[s.input] == v {
			return s.labels
		}
	}
	switch {
	case v.Const != nil && k < len(v.Const.axes):
		return v.Const.axes[k]
	case v.Const == nil && k < len(v.axes):
		return v.axes[k]
	}
	return nil
}
