package repair

import (
	"context"
	"math"
	"slices"
)

// solvable reports whether least squares fit a layer: one output's inputs must be few enough, and depthwise kernels have nothing to redistribute.
func (q *pair) solvable(l *layer) bool {
	w := q.p.constant(l.weight)
	inputs := 1
	for i, d := range w.Dims {
		if i != l.out {
			inputs *= int(d)
		}
	}
	if l.conv != nil && l.conv.groups > 1 && w.Dims[1] == 1 {
		return false
	}
	return inputs <= q.options.MaxInputs && q.own(l.weight, l.bias)
}

// solve replaces a layer's weights by the least-squares fit of the original's outputs on the inputs that are left.
func (q *pair) solve(ctx context.Context, l *layer, at int) error {
	target, err := q.target(ctx, l, at)
	if err != nil || target == nil {
		return err
	}
	w, err := q.p.floats(l.weight)
	if err != nil {
		return err
	}
	w = slices.Clone(w)
	var bias []float32
	if l.bias != "" {
		if bias, err = q.p.floats(l.bias); err != nil {
			return err
		}
		if len(bias) != len(target.kept) {
			return nil
		}
		bias = slices.Clone(bias)
	}
	// A BatchNormalization after the layer absorbs any shift; its mean is matched next.
	free := bias != nil || q.p.normBehind(l) != nil
	systems, err := q.systems(ctx, l, target, w)
	if err != nil || systems == nil {
		return err
	}
	for i, s := range systems {
		v, b, ok, err := s.sums.Solve(ctx, q.options.Ridge, free)
		if err != nil || !ok || !usable(v) {
			return err
		}
		for at, j := range s.index {
			w[j] = float32(v[at])
		}
		if bias != nil {
			for j, x := range b {
				bias[i*len(b)+j] = float32(x)
			}
		}
	}
	return q.putAll(l, w, bias)
}

// putAll replaces a layer's weight and, where there is one, its bias.
func (q *pair) putAll(l *layer, w, bias []float32) error {
	if err := q.put(l.weight, w); err != nil || bias == nil {
		return err
	}
	return q.put(l.bias, bias)
}

func usable(v []float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.Abs(x) > 1e30 {
			return false
		}
	}
	return true
}
