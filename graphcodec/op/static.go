package op

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// propagates reports whether static shape inference knows the contents of the result where it knows
// those of the inputs.
func (c *Call) propagates() bool {
	since := c.Op().Static.Contents
	return since > 0 && c.Version >= since
}

// copiedIntegers reports whether v is an Identity over a constant of integers, whose contents are
// not looked up through it.
func (v *Value) copiedIntegers() bool {
	return v.Const != nil && v.Const.Copy && v.Type.IsInteger()
}

// lostTarget reports whether the node is a Reshape of an operator set in which nothing but a
// constant tells the result's rank, and has none.
func (c *Call) lostTarget() bool {
	return c.Node.OpType == "Reshape" && c.Version < 14 && c.Input(1) != nil && c.Input(1).Const == nil
}

// forget removes from the outputs what static shape inference does not know.
func (c *Call) forget(domain string) {
	computed, static := c.hasComputedBounds(), c.Op().Static
	x := c.Input(0)
	if c.Node.OpType == "Where" {
		x = c.Input(1)
	}
	typeless := x != nil && x.Type == onnxio.Undefined && !static.Typed
	for _, v := range c.Out {
		if v == nil {
			continue
		}
		if v.copiedIntegers() {
			v.Const, v.Axes = nil, make([][]label.Label, len(v.Shape))
		}
		if v.Const != nil {
			continue
		}
		if domain != "" || static.Opaque || typeless {
			v.Ranked, v.Shape, v.Axes, v.Elements = false, nil, nil, nil
			if !static.Opaque {
				v.Type = onnxio.Undefined
			}
			continue
		}
		if v.Type == onnxio.Undefined && x != nil {
			v.Type = x.Type
		}
		if c.lostTarget() {
			v.Ranked, v.Shape, v.Axes, v.Elements = false, nil, nil, nil
			continue
		}
		if computed {
			v.Shape = slices.Clone(v.Shape)
			for k := range v.Shape {
				v.Shape[k], v.Axes[k] = dim.Expression(fmt.Sprintf("?%s.%d", v.Name, k)), nil
			}
		}
		if v.Elements == nil || computed || !c.propagates() {
			c.forgetContents(v)
		}
	}
}

// hasComputedBounds reports whether something other than a constant says what the shape becomes,
// where it would have to be one.
func (c *Call) hasComputedBounds() bool {
	_, sizes := c.resizeInputs()
	static := c.Op().Static
	for i, v := range c.In {
		if c.Node.OpType == "Resize" && i == sizes {
			continue // taken as far as it is propagated
		}
		if i > 0 && v != nil && c.shapeIn.Has(i) && v.Const == nil && !static.Target && static.Contents == 0 {
			return true
		}
	}
	return static.Bounds > 0 && slices.ContainsFunc(c.In[min(static.Bounds-1, len(c.In)):], func(v *Value) bool { return v != nil && v.Const == nil })
}

// readTarget computes the output shape of a Reshape from its target alone, where static shape
// inference can do no more: the
// input is unknown, or the target has a dim to be inferred beside an unknown one. It reports
// whether that was the case.
func (c *Call) readTarget(x, s *Value) bool {
	inferred, open := false, !x.Ranked
	for _, e := range s.Elements {
		inferred = inferred || e.Int == dim.Num(-1)
		open = open || !e.Int.IsNum()
	}
	if x.Ranked && !(inferred && open) {
		return false
	}
	c.shapeIn.set(1, true)
	shape := make([]dim.Dim, len(s.Elements))
	for k, e := range s.Elements {
		switch {
		case e.Int.IsNum() && e.Int.N > 0:
			shape[k] = e.Int
		case e.Int == dim.Num(0) && x.Ranked && k < len(x.Shape):
			shape[k] = x.Shape[k]
		default:
			shape[k] = dim.Expression(fmt.Sprintf("?%s.%d", c.outName(0), k))
		}
	}
	c.set(0, x.Type, shape)
	return true
}

// forgetContents keeps only the number of elements of a small vector of integers.
func (c *Call) forgetContents(v *Value) {
	v.Elements = nil
	if !v.Ranked || !v.Type.IsInteger() || len(v.Shape) > 1 || !dim.Product(v.Shape).IsNum() || dim.Product(v.Shape).N > 16 {
		return
	}
	v.Elements = make([]Elem, dim.Product(v.Shape).N)
	for i := range v.Elements {
		v.Elements[i] = Elem{Int: dim.Expression(fmt.Sprintf("?%s[%d]", v.Name, i))}
	}
}

// readable reports whether static shape inference knows the length of axis k of a value.
func (c *Call) readable(v *Value, k int) bool {
	if c.Concealed[c.Node] {
		return false
	}
	if v.Plain || c.Seen == nil || !c.stands(c.Node) {
		return true
	}
	rv := c.Reader().Values[v.Name]
	return rv != nil && rv.Ranked && k < len(rv.Shape) && rv.Shape[k].IsNum()
}

// Reader runs the rules once with the knowledge of static shape inference. After an error there,
// more is unknown.
func (a *Analyzer) Reader() (r *Analyzer) {
	if a.view != nil {
		return a.view
	}
	g := a.Seen.Graph
	r = NewAnalyzer(a.Seen)
	r.reading, r.sizes, r.Labels.Flat, a.view = true, a.sizes, true, r
	defer func() { _ = recover() }()
	order, err := Sorted(g)
	if err != nil || r.Begin() != nil {
		return r
	}
	for _, i := range order {
		c, err := r.Prepare(i, g.Nodes[i])
		if err != nil {
			return r
		}
		if r.Run(c); r.Broken != nil {
			return r
		}
	}
	return r
}

// Followed are the labels of an axis that the node reads, nil where it is not followed.
func (c *Call) Followed(v *Value, k int) []label.Label {
	for _, s := range c.selections {
		if s.axis == k && c.In[s.input] == v {
			return s.labels
		}
	}
	switch {
	case v.Const != nil && k < len(v.Const.Axes):
		return v.Const.Axes[k]
	case v.Const == nil && k < len(v.Axes):
		return v.Axes[k]
	}
	return nil
}
