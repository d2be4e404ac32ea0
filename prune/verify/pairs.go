package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// pair are two models that have to give the same outputs.
type pair struct{ want, got *onnxio.Model }

// pairs are what has to be equal: the masked original and the pruned model; under a repair, which changes the outputs by intention, the cut without it, and the pruned model and what the plan makes of the original.
// Where there is nothing to compare, why says so.
func pairs(before, after Side, p *planner.Plan) (out []pair, note, why string, err error) {
	if len(p.Zeroed) == 0 {
		if node := renormalised(before.Analysis, after.Analysis); node != "" {
			return nil, "", fmt.Sprintf("%s computes over the channels that are kept, which zeros in place of the removed ones do not show", node), nil
		}
		masked, err := planner.Masked(before.Analysis, p)
		if err != nil {
			return nil, "", err.Error(), nil
		}
		if p.Repaired == nil {
			return []pair{{masked, after.Model}}, "", "", nil
		}
		cut, err := planner.Apply(before.Analysis, p.Cut())
		if err != nil {
			return nil, "", "", err
		}
		out, note = append(out, pair{masked, cut}), " (the pruned model without its repair)"
	} else {
		note = " (with the planned zeros in the original)"
	}
	planned, err := planner.Apply(before.Analysis, p)
	return append(out, pair{planned, after.Model}), note, "", err
}

// renormalised names a node that takes means over an axis that has become shorter; zeros in the original do not show what it gives then.
func renormalised(before, after *coupling.Analysis) string {
	for _, n := range after.Model.Graph.Nodes {
		if len(n.Inputs) == 0 || len(n.Outputs) == 0 {
			continue
		}
		x, y, z := before.Value(n.Inputs[0]), after.Value(n.Inputs[0]), after.Value(n.Outputs[0])
		if x == nil || y == nil || z == nil || x.Rank() != y.Rank() {
			continue
		}
		for k := range x.Shape {
			shorter := x.Shape[k] != y.Shape[k]
			switch op.Describe(n.Domain, n.OpType).Means {
			case op.MeansOfLast:
				shorter = shorter && k == len(x.Shape)-1
			case op.MeansOfAxes:
				shorter = shorter && reduces(n, x, y, before.Value(n.Outputs[0]), z, k)
			case op.MeansOfPlaces:
				shorter = shorter && k > 1
			default:
				shorter = false
			}
			if shorter {
				return fmt.Sprintf("%s %q", n.OpType, cmp.Or(n.Name, n.Outputs[0]))
			}
		}
	}
	return ""
}

// reduces reports whether a mean that makes x0 and x1 to y0 and y1 is taken over axis k; where the node does not say so itself, dims are dropped and it cannot be told, it is.
func reduces(n *onnxio.Node, x0, x1, y0, y1 *op.Value, k int) bool {
	for _, a := range n.Attributes {
		if a.Name == "axes" {
			return slices.Contains(a.Ints, int64(k)) || slices.Contains(a.Ints, int64(k-x1.Rank()))
		}
	}
	if y0 == nil || y1.Rank() == x1.Rank() {
		return y0 == nil || y1.Shape[k] != x1.Shape[k]
	}
	if y1.Rank() != x1.Rank()-1 || y0.Rank() != y1.Rank() {
		return true
	}
	for r := range x1.Shape {
		without := func(v *op.Value) []dim.Dim { return slices.Delete(slices.Clone(v.Shape), r, r+1) }
		if r != k && slices.Equal(without(x0), y0.Shape) && slices.Equal(without(x1), y1.Shape) {
			return false
		}
	}
	return true
}
