package planner

import (
	"errors"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// ScoreGradient returns the gradient, by the weights that c scores by, of the sum over units of by[unit] times the logarithm of the unit's group L2 importance (mean reduction, before it is normalised). by is indexed by
// unit; units whose importance is zero get nothing.
func ScoreGradient(a *coupling.Analysis, c Criterion, by []float64) (map[*op.Constant][]float32, error) {
	if len(by) != a.NumUnits() {
		return nil, fmt.Errorf("%d factors for %d units", len(by), a.NumUnits())
	}
	if (c.Kind != "" && c.Kind != "l2" && c.Kind != "metanet") || (c.Reduction != "" && c.Reduction != "mean") {
		return nil, errors.New("only the mean reduction of l2 has a gradient here")
	}
	return timesWeights(a, c, func(g *coupling.Group, scores []float64) []float64 { return logFactors(g, scores, by) })
}

// logFactors are what a unit's weights are multiplied with in the gradient of by times the logarithm of their sum of squares.
func logFactors(g *coupling.Group, scores, by []float64) []float64 {
	out := make([]float64, len(scores))
	for i, u := range g.Units {
		if scores[i] > 0 && !math.IsInf(scores[i], 0) {
			out[i] = 2 * by[u] / scores[i]
		}
	}
	return out
}

// Gates are the positions at which a unit can be switched off for all layers that read it: the input slices of these layers' weights. Setting them to zero gives the network without the unit, but for operators that compute statistics over
// its axis.
type Gates struct{ a *coupling.Analysis }

// NewGates returns the gates of a model's units.
func NewGates(a *coupling.Analysis) Gates { return Gates{a} }

// each calls do with every weight that has gates and, for each element of it, the unit that it listens to, -1 for none.
func (g Gates) each(do func(c *op.Constant, axis int, unit []coupling.UnitID) error) error {
	for i := range g.a.Groups {
		group := &g.a.Groups[i]
		if group.Frozen != "" {
			continue
		}
		for _, m := range group.Members {
			if m.Role != op.Input || !m.Const.Tensor.DataType.IsFloat() {
				continue
			}
			units := make([]coupling.UnitID, m.Const.Tensor.Dims[m.Axis])
			for k := range units {
				units[k] = -1
			}
			for _, u := range group.Units {
				for _, at := range g.a.Positions(u, m) {
					units[at] = u
				}
			}
			if err := do(m.Const, m.Axis, units); err != nil {
				return fmt.Errorf("group %s: %w", group.Name, err)
			}
		}
	}
	return nil
}

// inner returns the number of elements below one position of an axis.
func inner(c *op.Constant, axis int) int {
	n := 1
	for _, d := range c.Tensor.Dims[axis+1:] {
		n *= int(d)
	}
	return n
}

// Closed returns the weights whose gates are shut for some of the removed units, with zeros there.
func (g Gates) Closed(removed func(coupling.UnitID) bool) (map[*op.Constant][]float32, error) {
	out := map[*op.Constant][]float32{}
	err := g.each(func(c *op.Constant, axis int, unit []coupling.UnitID) error {
		w := out[c]
		if w == nil {
			v, err := c.Tensor.Float32s()
			if err != nil {
				return err
			}
			w = append([]float32(nil), v...)
			out[c] = w
		}
		n := inner(c, axis)
		for i := range w {
			if u := unit[i/n%len(unit)]; u >= 0 && removed(u) {
				w[i] = 0
			}
		}
		return nil
	})
	return out, err
}

// Gradient returns, by unit, the derivative of a loss by the unit's gate, from the loss's gradient by the weights with closed gates.
func (g Gates) Gradient(gradient map[*op.Constant][]float32) ([]float64, error) {
	out := make([]float64, g.a.NumUnits())
	err := g.each(func(c *op.Constant, axis int, unit []coupling.UnitID) error {
		d := gradient[c]
		if d == nil {
			return nil
		}
		w, err := c.Tensor.Float32s()
		if err != nil {
			return err
		}
		n := inner(c, axis)
		for i, x := range d {
			if u := unit[i/n%len(unit)]; u >= 0 {
				out[u] += float64(x) * float64(w[i])
			}
		}
		return nil
	})
	return out, err
}
