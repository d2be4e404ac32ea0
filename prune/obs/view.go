package obs

import (
	"context"
	"math"

	"github.com/metaprune/metaprune/graphcodec/coupling"
)

// view is what one layer, or one group of a grouped convolution, reads of a group of channels.
type view struct {
	source    source
	moments   *moments
	outputs   int
	w         func(i, o int) float64 // by input and output; positions of a kernel are outputs of their own
	positions map[coupling.UnitID][]int32
}

// views are the layers that read a group, those of a grouped convolution group by group.
func (p *pass) views(g *coupling.Group) ([]view, error) {
	var out []view
	for _, m := range g.Members {
		l := reads(m, p.layers)
		if l == nil {
			continue
		}
		n := int(m.Const.Tensor.Dims[m.Axis])
		if p.moments[source{l.node.Inputs[0], l.channel, 0, n}] == nil || p.moments[source{l.node.Inputs[0], l.channel, (l.groups - 1) * n, n}] == nil {
			continue
		}
		stored, err := m.Const.Real()
		if err != nil {
			return nil, err
		}
		w, err := stored.Float32s()
		if err != nil {
			return nil, err
		}
		positions := map[coupling.UnitID][]int32{}
		for _, u := range g.Units {
			positions[u] = p.analysis.Positions(u, m)
		}
		for k := range l.groups {
			s := source{l.node.Inputs[0], l.channel, k * n, n}
			outputs, at := weights(w, m.Const.Tensor.Dims, m.Axis, k, l.groups)
			out = append(out, view{s, p.moments[s], outputs, at, positions})
		}
	}
	return out, nil
}

// weights are those of the k-th group of outputs: how many outputs there are, kernel positions counted, and the weight by input and output.
func weights(w []float32, dims []int64, at, k, groups int) (outputs int, weight func(i, o int) float64) {
	outer, n, inner := 1, int(dims[at]), 1
	for i, d := range dims {
		if i < at {
			outer *= int(d)
		} else if i > at {
			inner *= int(d)
		}
	}
	each := outer / groups
	return each * inner, func(i, o int) float64 {
		return float64(w[((k*each+o/inner)*n+i)*inner+o%inner])
	}
}

// diagonal is the score of each channel by a criterion that scores channels one by one.
func (v view) diagonal(criterion string) []float64 {
	out := v.moments.means()
	for i := range out {
		sum := 0.0
		for o := range v.outputs {
			w := v.w(i, o)
			if criterion == Wanda {
				sum += math.Abs(w)
			} else {
				sum += w * w / 2
			}
		}
		if criterion == Wanda {
			out[i] = math.Sqrt(out[i])
		}
		out[i] *= sum
	}
	return out
}

// weightProducts are w w' by inputs [n][n], the upper half.
func (p *pass) weightProducts(ctx context.Context, v view) ([]float64, error) {
	n := v.source.n
	sums := p.products.New(v.outputs, n, 0, nil, 0)
	err := sums.Add(ctx, v.outputs, func(o int, x, _ []float32) {
		for i := range x {
			x[i] = float32(v.w(i, o))
		}
	})
	if err != nil {
		return nil, err
	}
	return sums.Moments(ctx)
}

// spaces are what a group's channels cost, one for each source that its layers read.
func (p *pass) spaces(ctx context.Context, views []view) ([]*space, error) {
	bySource := map[source]*space{}
	var out []*space
	for _, v := range views {
		s := bySource[v.source]
		if s == nil {
			var err error
			if s, err = newSpace(ctx, p.products, v); err != nil {
				return nil, err
			}
			bySource[v.source] = s
			out = append(out, s)
		}
		if err := p.read(ctx, s, v); err != nil {
			return nil, err
		}
	}
	kept := out[:0]
	for _, s := range out {
		if s.prepare() {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// read adds a layer's weights to a space, as shares of what its outputs vary by.
func (p *pass) read(ctx context.Context, s *space, v view) error {
	if s.variance != nil {
		energy, whole := make([]float64, s.n), 0.0
		for i := range energy {
			for o := range v.outputs {
				energy[i] += v.w(i, o) * v.w(i, o)
			}
			whole += energy[i] * s.variance[i]
		}
		s.share(energy, whole)
		return nil
	}
	products, err := p.weightProducts(ctx, v)
	if err != nil {
		return err
	}
	whole := 0.0
	for i := range s.n {
		whole += s.covariance[i*s.n+i] * products[i*s.n+i]
		for j := i + 1; j < s.n; j++ {
			whole += 2 * s.covariance[i*s.n+j] * products[i*s.n+j]
		}
	}
	s.share(products, whole)
	return nil
}
