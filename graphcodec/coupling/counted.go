package coupling

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
	"slices"
)

// What a node costs depends on sizes that the file may leave free. The coupling of channels has to
// be right for every size, so the analysis keeps them as symbols; the work is counted in a second
// run of the rules, in which the inputs
// have sizes. Dims that depend on data are unknown even then and count as 1.

// callCost is a node's cost: fixed times the survivors of its axes, and the same as a reader of the
// file counts it.
type callCost struct {
	fixed     int64
	axes      []op.CostAxis
	seenFixed int64
	seen      []op.CostAxis
}

// CountAt sets the sizes of inputs that work and activations are counted at from now on, by input
// (the only one may be called ""). Those that are not given are assumed, as all are before the
// first call. States made before keep their counts.
func (a *Analysis) CountAt(given map[string][]int64) error {
	a.counting.Lock()
	defer a.counting.Unlock()
	c, symbols, err := a.sizes(given)
	if err != nil {
		return err
	}
	a.count(c, symbols, len(given) > 0)
	return nil
}

// CountedAt returns the sizes of inputs that are counted at, nil where all are fixed.
func (a *Analysis) CountedAt() *Counted {
	a.counts()
	if len(a.counted.Inputs) == 0 {
		return nil
	}
	return a.counted
}

// counts returns the costs, which are worked out when they are first asked for.
func (a *Analysis) counts() *classes {
	a.counting.Lock()
	defer a.counting.Unlock()
	if a.classes == nil {
		c, symbols, _ := a.sizes(nil) // nothing is given that could be wrong
		a.count(c, symbols, false)
	}
	return a.classes
}

// count works out what nodes cost at the sizes. With given ones a reader of the file is taken to
// know them, too; else he counts free sizes as 1.
func (a *Analysis) count(c *Counted, symbols map[string]int64, given bool) {
	a.counted, a.sized = c, nil
	if len(c.Inputs) > 0 {
		a.sized = a.Analyzer.At(c.Inputs, symbols)
	}
	costs := make([]callCost, len(a.Analyzer.Calls))
	for i := range costs {
		costs[i] = a.costOf(i)
	}
	if given && a.sized != nil {
		a.readAt(costs, a.sized)
	} else {
		a.readAt(costs, a.Analyzer)
	}
	a.classes = newClasses(a, costs)
}

// visibleAtSizes reports whether at least half of the work is visible at static shapes to a reader
// who
// knows the sizes that the work is counted at.
func (a *Analysis) visibleAtSizes(c *classes) bool {
	a.counting.Lock()
	defer a.counting.Unlock()
	switch {
	case c.visible != nil:
		return *c.visible
	case a.sized == nil || c != a.classes: // all sizes are fixed, or others are counted at by now
		return false
	}
	costs := make([]callCost, len(a.Analyzer.Calls))
	for i := range costs {
		costs[i] = a.costOf(i)
	}
	a.readAt(costs, a.sized)
	var total, seen float64
	for _, cost := range costs {
		total += work(cost.fixed, cost.axes)
		seen += work(cost.seenFixed, cost.seen)
	}
	half := 2*seen >= total
	c.visible = &half
	return half
}

// work is a cost before anything is removed.
func work(fixed int64, axes []op.CostAxis) float64 {
	n := float64(fixed)
	for _, x := range axes {
		n *= float64(max(x.Size, 1))
	}
	return n
}

// sizedCall is call i with sizes for the inputs; nil where it could not be run.
func (a *Analysis) sizedCall(i int) *op.Call {
	if a.sized == nil || i >= len(a.sized.Calls) || a.sized.Calls[i].Node != a.Analyzer.Calls[i].Node {
		return nil
	}
	return a.sized.Calls[i]
}

// costOf is the cost of call i at the sizes.
func (a *Analysis) costOf(i int) callCost {
	var out callCost
	m := a.Analyzer.Calls[i].MACs
	if m != nil {
		out.fixed, out.axes = m.Fixed, m.Axes
	}
	s := a.sizedCall(i)
	if s == nil || s.MACs == nil {
		return out
	}
	unlabelled := m == nil || len(m.Axes) == 0
	if !unlabelled && len(m.Axes) != len(s.MACs.Axes) {
		return out
	}
	out.fixed, out.axes = s.MACs.Fixed, slices.Clone(s.MACs.Axes)
	for k := range out.axes {
		out.axes[k].Labels = nil
		if !unlabelled {
			out.axes[k].Labels = m.Axes[k].Labels
		}
	}
	return out
}

// shapeAt is the shape of a value at the sizes; false where its rank is not known.
func (a *Analysis) shapeAt(v *op.Value) ([]dim.Dim, bool) {
	if a.sized != nil && v.Const == nil {
		if w := a.sized.Values[v.Name]; w != nil && w.Ranked && (!v.Ranked || len(w.Shape) == len(v.Shape)) {
			return w.Shape, true
		}
	}
	return v.Shape, v.Ranked
}
