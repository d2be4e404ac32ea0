package analyse

import (
	"context"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// Taylor returns, by unit, the root mean square over batches of the derivative of a classifier's cross-entropy by the unit's gate: what the loss changes, to first order, when the unit is switched off. Units of frozen groups
// have NaN; a unit that nothing reads through a weight has 0.
func Taylor(ctx context.Context, b *xla.Backend, m *onnxio.Model, a *coupling.Analysis, images *data.Set, batch int) (planner.Scores, error) {
	p, err := xla.Load(m)
	if err != nil {
		return nil, err
	}
	d, err := xla.NewDifferentiator(b, p, false, 1)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	byName := map[string]*op.Constant{}
	for i := range a.Groups {
		for _, member := range a.Groups[i].Members {
			byName[member.Const.Name] = member.Const
		}
	}
	gates := planner.NewGates(a)
	sum, batches := make([]float64, a.NumUnits()), 0
	err = images.Each(ctx, data.Order{Batch: min(batch, images.N), DropLast: true}, func(_ int, x *data.Batch) error {
		d.Reset()
		if err := d.Add(xla.Array{Dims: x.Dims, Floats: x.X, Type: onnxio.Float}, x.Labels); err != nil {
			return err
		}
		_, gradient, _, err := d.Means()
		if err != nil {
			return err
		}
		by := map[*op.Constant][]float32{}
		for i, param := range p.Params {
			if c := byName[param.Name]; c != nil && gradient[i] != nil {
				by[c] = gradient[i]
			}
		}
		each, err := gates.Gradient(by)
		if err != nil {
			return err
		}
		for u, v := range each {
			sum[u] += v * v
		}
		batches++
		return nil
	})
	if err != nil {
		return nil, err
	}
	if batches == 0 {
		return nil, fmt.Errorf("%s: no batch of images", images.Name)
	}
	out := make(planner.Scores, len(sum))
	for u := range out {
		out[u] = math.Sqrt(sum[u] / float64(batches))
		if a.Groups[a.GroupOf(coupling.UnitID(u))].Frozen != "" {
			out[u] = math.NaN()
		}
	}
	return out, nil
}

// Add puts Taylor's scores beside the groups that Weights has described.
func Add(a *coupling.Analysis, groups []Group, taylor planner.Scores) error {
	l2, err := planner.Score(a, nil, planner.Criterion{})
	if err != nil {
		return err
	}
	at := map[string]*Group{}
	for i := range groups {
		at[groups[i].Name] = &groups[i]
	}
	for i := range a.Groups {
		g := at[a.Groups[i].Name]
		if g == nil || a.Groups[i].Frozen != "" {
			continue
		}
		var x, y []float64
		mean := 0.0
		for _, u := range a.Groups[i].Units {
			x, y = append(x, l2[u]), append(y, taylor[u])
			mean += taylor[u] / float64(len(a.Groups[i].Units))
		}
		agrees := spearman(x, y)
		g.Taylor, g.Agrees = &mean, &agrees
	}
	return nil
}
