package metatrain

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// cut is a data model pruned by the scores that the metanetwork gives its units.
type cut struct {
	scores  planner.Scores
	state   *coupling.State
	edge    float64   // score of the best unit that left
	saves   []float64 // by unit: share of the model's multiply-accumulates that hangs on it
	speedUp float64
}

// scoring ranks units by the weights theta in the place of the model's own.
func scoring(theta map[*op.Constant]*onnxio.Tensor) planner.Criterion {
	return planner.Criterion{Kind: "metanet", Normalizer: "original", Weights: func(c *op.Constant) (*onnxio.Tensor, error) { return theta[c], nil }}
}

// masks is the step's gradient by theta where the metanetwork is trained for what its scores leave of a network: the cross-entropy of the network with the units that rank lowest switched off, its other weights as they were and its
// normalisations by the statistics of the batch. A unit's gate is a sigmoid of its score's distance to the edge, as far as the gradient goes; the edge moves so that the cost stays (straight-through estimator).
func (t *Trainer) masks(ctx context.Context, d *DataModel, theta map[*op.Constant]*onnxio.Tensor, images *data.Set, r *Report) (map[*op.Constant][]float32, error) {
	k, err := t.cut(ctx, d, theta)
	if err != nil {
		return nil, err
	}
	r.SpeedUp = k.speedUp
	gates := planner.NewGates(d.analysis)
	closed, err := gates.Closed(k.state.Removed)
	if err != nil {
		return nil, err
	}
	values := make([][]float32, len(d.loss.Program.Params))
	for i, p := range d.loss.Program.Params {
		if c := d.constant[p.Name]; c != nil {
			values[i] = closed[c]
		}
	}
	gradient, err := t.crossEntropy(ctx, d, values, images, r)
	if err != nil {
		return nil, err
	}
	byGate, err := gates.Gradient(gradient)
	if err != nil {
		return nil, err
	}
	by := k.straightThrough(d.analysis, byGate, t.Config.Temperature)
	return planner.ScoreGradient(d.analysis, scoring(theta), by)
}

// cut draws a speed-up by seed and step and prunes the data model to it.
func (t *Trainer) cut(ctx context.Context, d *DataModel, theta map[*op.Constant]*onnxio.Tensor) (*cut, error) {
	r := rand.New(rand.NewPCG(t.Config.Seed^0x5eed, uint64(t.Net.Steps)))
	low, high := t.Config.SpeedUps[0], t.Config.SpeedUps[1]
	speedUp := low * math.Pow(high/low, r.Float64())
	c := scoring(theta)
	a := d.analysis
	var plan *planner.Plan
	for {
		var err error
		plan, err = planner.MakePlan(ctx, a, planner.Options{Target: planner.Target{SpeedUp: speedUp}, Criterion: c})
		var far *planner.TargetError
		if errors.As(err, &far) && speedUp > 1.05 {
			speedUp = 1 + (speedUp-1)*.8 // as far as this network goes
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	removed, err := a.UnitsOf(plan.Removed)
	if err != nil {
		return nil, err
	}
	k := &cut{state: a.NewState(), saves: make([]float64, a.NumUnits()), edge: math.Inf(-1), speedUp: speedUp}
	if k.scores, err = planner.Score(a, k.state, c); err != nil {
		return nil, err
	}
	whole := float64(k.state.MACs())
	for _, u := range removed {
		k.state.Remove(u)
		k.edge = max(k.edge, k.scores[u])
	}
	for i := range a.Groups {
		k.cost(&a.Groups[i], whole)
	}
	return k, nil
}

// cost notes what each unit of a group costs: what is removed with the next one.
func (k *cut) cost(g *coupling.Group, whole float64) {
	if g.Frozen != "" {
		return
	}
	sum, n := 0.0, 0
	for _, u := range g.Units {
		if !k.state.Removed(u) {
			sum, n = sum+float64(k.state.Saves(u)), n+1
		}
	}
	for _, u := range g.Units {
		k.saves[u] = sum / float64(max(n, 1)) / whole
	}
}

// straightThrough turns the derivative by the gates into that by the logarithms of the scores, at a cost that stays.
func (k *cut) straightThrough(a *coupling.Analysis, byGate []float64, temperature float64) []float64 {
	slope, out := make([]float64, len(byGate)), make([]float64, len(byGate))
	gain, cost := 0.0, 0.0
	for u := range byGate {
		if a.Groups[a.GroupOf(coupling.UnitID(u))].Frozen != "" || !(k.scores[u] > 0) || !(k.edge > 0) {
			continue
		}
		m := 1 / (1 + math.Exp((math.Log(k.edge)-math.Log(k.scores[u]))/temperature))
		slope[u] = m * (1 - m) / temperature
		gain += slope[u] * byGate[u]
		cost += slope[u] * k.saves[u]
	}
	price := 0.0
	if cost > 0 {
		price = gain / cost
	}
	for u := range out {
		out[u] = slope[u] * (byGate[u] - price*k.saves[u])
	}
	return out
}
