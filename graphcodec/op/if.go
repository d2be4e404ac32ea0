package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// takes notes the branches of an If that can be looked into: the one that is taken whatever is
// pruned, or both.
func (c *Call) takes(bodies ...*onnxio.Graph) {
	for _, b := range bodies {
		if b == nil || len(b.Outputs) != len(c.Node.Outputs) || len(b.SparseInitializers) > 0 || len(b.Inputs) > 0 || slices.ContainsFunc(b.Initializers, (*onnxio.Tensor).IsExternal) {
			return // external initializers could not be written as nodes
		}
	}
	if c.depth == 0 && !c.reading && c.Input(0) != nil && (len(bodies) == 1 || !slices.Contains(c.Node.Outputs, "")) {
		c.Taken = append(c.Taken, flatten.Taken{Node: c.Node, Bodies: bodies})
	}
}

// joinBranches is what comes out of an If whose condition is not known: what both branches give, as
// one.
func joinBranches(c *Call) {
	cond, a, b := c.Input(0), c.Input(1), c.Input(2)
	if cond == nil || a == nil || b == nil {
		c.unknown("needs a condition and two values")
		return
	}
	for _, v := range []*Value{cond, a, b} {
		c.freezeTaint(v, "depends on the branch that is taken")
	}
	for k := range cond.Shape {
		c.freeze(cond, k, "decides which branch is taken")
	}
	shape, ok := c.both(a, b, c.outName(0))
	if !ok || len(a.seq) > 0 || len(b.seq) > 0 {
		c.freezeValue(a, "depends on the branch that is taken")
		c.freezeValue(b, "depends on the branch that is taken")
		c.comesOut(0, a.Type, shape, ok)
		return
	}
	axes := make([][]label.Label, len(shape))
	for k := range shape {
		if a.Shape[k] == b.Shape[k] {
			c.link(a, k, b, k)
			axes[k] = c.axis(a, k)
			continue
		}
		c.freeze(a, k, "its length depends on the branch that is taken")
		c.freeze(b, k, "its length depends on the branch that is taken")
	}
	y := c.set(0, a.Type, shape, axes...)
	if y.zero = nonZero; c.zeroed(a) == isZero && c.zeroed(b) == isZero {
		y.zero = isZero
	}
}
