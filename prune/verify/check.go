package verify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// Side is a model with its analysis.
type Side struct {
	Model    *onnxio.Model
	Analysis *coupling.Analysis
}

// Engine compares what two models compute.
type Engine interface {
	// Name is what the engine is called in a verdict.
	Name() string
	// Compare runs both models on the same random inputs, drawn by seed, and returns the largest difference of their
	// outputs, relative to the largest output; infinity where the shapes differ. An error says why it runs one of them not.
	Compare(ctx context.Context, want, got *onnxio.Model, seed int64) (float64, error)
}

// Options of [Check].
type Options struct {
	Engines         []Engine           // tried in turn until one runs the models
	Seed            int64              // of the random inputs
	Inputs          map[string][]int64 // sizes of the random inputs, by name; those that are not named have their declared sizes, and 2 for free dims
	Bound           float64            // largest relative difference that counts as equal; below 0 [BoundOf] the original
	AllowUncompared bool               // a verdict "not compared" is OK
}

// Check compares the pruned model, after, with the original, before. Without a plan (nil) only inputs and outputs are compared.
func Check(ctx context.Context, before, after Side, p *planner.Plan, o Options) (*Verdict, error) {
	v := &Verdict{Readable: true, Faces: sameFaces(before.Model, after.Model), Slices: NotChecked, Engine: NoPlan, Bound: o.Bound}
	if o.Bound < 0 {
		v.Bound = BoundOf(before.Model)
	}
	if p != nil {
		if err := v.plan(ctx, before, after, p, o); err != nil {
			return nil, err
		}
	}
	v.decide()
	v.OK = v.Verdict == Equal || v.Verdict == NotCompared && o.AllowUncompared
	return v, nil
}

// plan checks what the plan says of the pruned model.
func (v *Verdict) plan(ctx context.Context, before, after Side, p *planner.Plan, o Options) (err error) {
	if v.Slices, err = checkSlices(before.Analysis, after.Analysis, p); err != nil {
		return err
	}
	if !v.Faces || v.Slices != Exact {
		v.Engine = "what differs already is not run"
		return nil
	}
	models, note, why, err := pairs(before, after, p)
	if err != nil || why != "" {
		v.Engine = why
		return err
	}
	for _, e := range o.Engines {
		worst, err := compareAll(ctx, e, models, o)
		if err == nil {
			v.measured(e.Name()+note, worst)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		v.Failed = append(v.Failed, err)
	}
	v.Engine = "there is no engine to compare outputs in"
	if len(v.Failed) > 0 {
		v.Engine = joined(v.Failed)
	}
	return nil
}

func joined(all []error) string {
	var texts []string
	for _, err := range all {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// compareAll returns the largest difference of all pairs in one engine.
func compareAll(ctx context.Context, e Engine, models []pair, o Options) (worst float64, err error) {
	for _, m := range models {
		d, err := e.Compare(ctx, atSizes(m.want, o.Inputs), atSizes(m.got, o.Inputs), o.Seed)
		if err != nil {
			return 0, err
		}
		if !(d <= worst) { // true for NaN too
			worst = d
		}
	}
	return worst, nil
}

// Err is nil where the verdict is OK, and else says what does not hold.
func (v *Verdict) Err() error {
	switch {
	case v.OK:
		return nil
	case v.Verdict == NotCompared:
		return errors.New("the outputs were not compared: " + v.Reason)
	}
	return errors.New("the pruned model does not pass: " + v.Reason)
}

// BoundOf is the largest relative difference that counts as equal for a model where none is given: 0.05 where it rounds to
// 8 bits on the way, since sums in another order then end some steps apart, else 0.001.
func BoundOf(m *onnxio.Model) float64 {
	if rounds(m) {
		return .05
	}
	return 1e-3
}

// rounds reports whether real numbers are rounded to few bits on the way.
func rounds(m *onnxio.Model) bool {
	return slices.ContainsFunc(m.Graph.Nodes, func(n *onnxio.Node) bool {
		return op.Describe(n.Domain, n.OpType).Rounds
	})
}

// sameFaces reports whether two models have the same inputs and outputs: names, element types and declared dims, in their order.
func sameFaces(x, y *onnxio.Model) bool {
	faces := func(m *onnxio.Model) [2][][2]string {
		weights, out := map[string]bool{}, [2][][2]string{}
		for _, t := range m.Graph.Initializers {
			weights[t.Name] = true
		}
		for i, list := range [][]*onnxio.ValueInfo{m.Graph.Inputs, m.Graph.Outputs} {
			for _, v := range list {
				if i == 1 || !weights[v.Name] {
					out[i] = append(out[i], [2]string{v.Name, dim.Face(v)})
				}
			}
		}
		return out
	}
	a, b := faces(x), faces(y)
	return slices.Equal(a[0], b[0]) && slices.Equal(a[1], b[1])
}
