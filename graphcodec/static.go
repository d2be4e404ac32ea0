package graphcodec

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

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
