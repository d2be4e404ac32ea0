package coupling

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
	"slices"
)

// A reader of the file that counts multiply-accumulates, as ONNX's shape inference lets it, knows
// less than the analysis: contents that it does not propagate are unknown to it, and so is what
// comes out of operators of other domains. Its
// view is the same rules run with those unknown; where a dim is a number there, the reader sees it.

// readAt sets what each node costs at static shapes. base has the most that static shape inference
// can know: the results of the rules with free sizes, or with numbers for them.
func (a *Analysis) readAt(costs []callCost, base *op.Analyzer) {
	needed, fused := []int{}, a.mostlyFused(costs)
	for i, c := range a.Analyzer.Calls {
		b := c
		if base != a.Analyzer {
			if b = a.sizedCall(i); b == nil {
				continue
			}
		}
		if b.MACs == nil || b.MACs.Kind == op.HiddenWork || b.MACs.Kind == op.FusedWork && !fused {
			continue
		}
		costs[i].seenFixed, costs[i].seen = b.MACs.Fixed, b.MACs.Axes
		if base != a.Analyzer {
			costs[i].seenFixed, costs[i].seen = costs[i].fixed, costs[i].axes
		}
		if costs[i].seenFixed != 0 && !plainShapes(b) && b.Node.Domain != op.Microsoft && b.MACs.Kind != op.FusedWork {
			needed = append(needed, i)
		}
	}
	if len(needed) == 0 {
		return
	}
	r := base.Reader()
	for _, i := range needed {
		s := sight{cost: &costs[i], call: a.Analyzer.Calls[i], base: base.Calls[i], reader: r}
		s.look()
	}
}

// mostlyFused reports whether products of convolutions and matrices are less than a hundredth of
// the work. Only then the static count has attention, recurrent layers and fused operators in it,
// too: most tools count convolutions and matrices
// alone, and a target should hold for them as well, unless they are so few that it would be out of
// proportion.
func (a *Analysis) mostlyFused(costs []callCost) bool {
	var fused, other float64
	for i, c := range a.Analyzer.Calls {
		if c.MACs == nil {
			continue
		}
		n := work(costs[i].fixed, costs[i].axes)
		if c.MACs.Kind == op.FusedWork {
			fused += n
		} else if c.MACs.Kind != op.HiddenWork {
			other += n
		}
	}
	return fused > 99*other
}

// plainShapes reports whether everybody sees the shapes that the node's cost follows from, in
// numbers.
func plainShapes(c *op.Call) bool {
	for _, v := range slices.Concat(c.In[:min(2, len(c.In))], c.Out[:min(1, len(c.Out))]) {
		if v != nil && (!v.Plain || slices.ContainsFunc(v.Shape, func(d dim.Dim) bool { return !d.IsNum() })) {
			return false
		}
	}
	return true
}

// sight counts one node at static shapes: call has its labels, base the shapes that can be known at
// most.
type sight struct {
	cost       *callCost
	call, base *op.Call
	reader     *op.Analyzer
}

// look sets the cost of the node at static shapes: the known dims of its result, times those of the
// kernel or of the axis that is summed over.
func (s *sight) look() {
	s.cost.seen, s.cost.seenFixed = nil, 1
	c, o := s.base, s.base.Like()
	w := 1
	if o.Layer != nil {
		w = o.Layer.Weight
	}
	switch o.Static.Counts {
	case op.CountsOutput:
		s.all(true, 0, 0)
		s.all(false, w, 1)
	case op.CountsInput:
		s.all(false, 0, 0)
		s.all(false, w, 1)
	case op.CountsColumns:
		x := c.Input(0)
		if x == nil || s.reader.Values[x.Name] == nil || len(s.reader.Values[x.Name].Shape) == 0 {
			s.cost.seenFixed = 0
			return
		}
		s.all(true, 0, 0)
		s.see(x, s.call.Input(0), len(x.Shape)-1)
	case op.CountsGemm:
		s.all(true, 0, 0)
		k := 0
		if c.Int("transB", 0) != 0 {
			k = 1
		}
		s.see(c.Input(1), s.call.Input(1), k)
	default:
		s.cost.seenFixed = 0
	}
}

// all multiplies the cost by the axes of an output or an input, from one on.
func (s *sight) all(output bool, i, from int) {
	v, own := s.base.Input(i), s.call.Input(i)
	if output {
		v, own = s.base.Result(i), s.call.Result(i)
	}
	for k := from; v != nil && k < len(v.Shape); k++ {
		s.see(v, own, k)
	}
}

// see multiplies the cost by one axis of v, which the analysis has as own, where its length is
// known at static shapes.
func (s *sight) see(v, own *op.Value, k int) {
	if v == nil || own == nil {
		return
	}
	rv := s.reader.Values[v.Name]
	if rv == nil || k < 0 || k >= len(rv.Shape) || k >= len(v.Shape) || !rv.Shape[k].IsNum() || rv.Shape[k].N < 1 {
		return
	}
	s.cost.seen = append(s.cost.seen, op.CostAxis{Labels: s.call.Followed(own, k), Size: rv.Shape[k].N})
}
