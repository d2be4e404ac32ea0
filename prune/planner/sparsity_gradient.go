package planner

import (
	"fmt"
	"math"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// GroupSparsity returns the gradient of a penalty that pushes unimportant units to zero, DepGraph's group-level sparse training (https://arxiv.org/abs/2301.12900, section 3.4): with s the root of a unit's
// group L2 importance, gamma = alpha^((max s - s)/(max s - min s)) within its group, and gamma*w is added on the output rows, input columns and normalisation weights that are the
// unit's. gamma is 1 where all of a group's scores are equal. Frozen groups get nothing. c.Weights gives weights that stand in for the model's, as in scoring; its other fields are not
// read.
func GroupSparsity(a *coupling.Analysis, c Criterion, alpha float64) (map[*op.Constant][]float32, error) {
	if !(alpha >= 1) || math.IsInf(alpha, 0) {
		return nil, fmt.Errorf("an alpha of %g: want a number from 1 on", alpha)
	}
	return timesWeights(a, c, func(_ *coupling.Group, scores []float64) []float64 { return gammas(scores, alpha) })
}

// timesWeights adds up, over all groups that can be pruned, a factor for each unit times the weights on the unit's slices. factors gets the sums of squares of a group's units.
func timesWeights(a *coupling.Analysis, c Criterion, factors func(g *coupling.Group, scores []float64) []float64) (map[*op.Constant][]float32, error) {
	s := &scorer{a: a, c: Criterion{Kind: "l2", Reduction: "sum", Normalizer: "none", Weights: c.Weights}, sums: map[*op.Constant]axisSums{}}
	p := &penalty{s: s, grads: map[*op.Constant][]float32{}, weights: map[*op.Constant][]float32{}}
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		scores, err := s.group(g)
		if err == nil {
			err = p.add(g, factors(g, scores))
		}
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	return p.grads, nil
}

// gammas are the shrinkage strengths of a group's units from their group L2 importance.
func gammas(scores []float64, alpha float64) []float64 {
	low, high := math.Inf(1), 0.0
	for _, v := range scores {
		low, high = min(low, math.Sqrt(v)), max(high, math.Sqrt(v))
	}
	out := make([]float64, len(scores))
	for i, v := range scores {
		out[i] = 1
		if high > low {
			out[i] = math.Pow(alpha, (high-math.Sqrt(v))/(high-low))
		}
	}
	return out
}

type penalty struct {
	s              *scorer
	grads, weights map[*op.Constant][]float32
}

func (p *penalty) weight(c *op.Constant) ([]float32, error) {
	if w, ok := p.weights[c]; ok {
		return w, nil
	}
	t := c.Tensor
	if p.s.c.Weights != nil {
		other, err := p.s.c.Weights(c)
		if err != nil {
			return nil, err
		}
		if other != nil {
			t = other
		}
	}
	w, err := t.Float32s()
	p.weights[c] = w
	return w, err
}

// add puts gamma*w on every element of a member whose position on its axis belongs to a unit.
func (p *penalty) add(g *coupling.Group, gamma []float64) error {
	for _, m := range g.Members {
		if !p.s.counts(m) {
			continue
		}
		w, err := p.weight(m.Const)
		if err != nil {
			return err
		}
		d := m.Const.Tensor.Dims
		strength := make([]float64, d[m.Axis])
		for i, u := range g.Units {
			for _, at := range p.s.a.Positions(u, m) {
				strength[at] = gamma[i]
			}
		}
		inner := inner(m.Const, m.Axis)
		grad := p.grads[m.Const]
		if grad == nil {
			grad = make([]float32, len(w))
			p.grads[m.Const] = grad
		}
		for i, x := range w {
			grad[i] += float32(strength[i/inner%len(strength)] * float64(x))
		}
	}
	return nil
}
