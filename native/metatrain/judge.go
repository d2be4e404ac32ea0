package metatrain

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/xla"
)

// Judge compares metanetworks by networks that they are not trained on: pruned, repaired by least squares on unlabelled inputs, and held against the original on other inputs. No labels, and no test images, are looked at.
type Judge struct {
	SpeedUps  []float64
	Objective string // what the metanetworks are trained for: their scores, or their weights too

	subjects []*subject
}

type subject struct {
	name      string
	model     *onnxio.Model
	reference *repair.Reference
}

// Inputs for repairing and for judging, of each network.
const (
	judgeFit  = 100
	judgeHeld = 300
)

// Add takes a network into the judgement, on images that are drawn by seed.
func (j *Judge) Add(ctx context.Context, b *xla.Backend, name string, m *onnxio.Model, images *data.Set, seed uint64) error {
	p, err := xla.Load(m)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if images.N < 2*judgeFit {
		return fmt.Errorf("%s: %d images; validation needs at least %d", name, images.N, 2*judgeFit)
	}
	some := images.Shuffled(min(judgeFit+judgeHeld, images.N), seed)
	inputs := func(from, to int) (map[string]repair.Array, error) {
		var which []int
		for i := from; i < to; i++ {
			which = append(which, i)
		}
		x, err := some.Take(which)
		if err != nil {
			return nil, err
		}
		return map[string]repair.Array{p.Inputs[0].Name: {Dims: x.Dims, Floats: x.X, Type: onnxio.Float}}, nil
	}
	fit, err := inputs(0, judgeFit)
	if err != nil {
		return err
	}
	held, err := inputs(judgeFit, some.N)
	if err != nil {
		return err
	}
	r, err := repair.NewReference(ctx, xla.NewEngine(b, p), m, fit, held, engine.Memory{})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	j.subjects = append(j.subjects, &subject{name, m, r})
	return nil
}

// Goal is the mean over networks and speed-ups of the logarithm of the outputs' distance (one minus their cosine); less is better. A nil metanetwork stands for the networks' own weights.
func (j *Judge) Goal(ctx context.Context, f *safetensors.File) (float64, error) {
	var m *prune.Metanet
	if f != nil {
		var err error
		if m, err = prune.LoadMetanet(f.Bytes()); err != nil {
			return 0, err
		}
	}
	sum, n := 0.0, 0
	for _, s := range j.subjects {
		each, err := j.distances(ctx, s, m)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, e := range each {
			sum, n = sum+math.Log(math.Max(e, 1e-9)), n+1
		}
	}
	if n == 0 {
		return 0, errors.New("none of the networks can be pruned to any of the speed-ups")
	}
	return sum / float64(n), nil
}

// distances are those of one network at the speed-ups that it reaches.
func (j *Judge) distances(ctx context.Context, s *subject, m *prune.Metanet) ([]float64, error) {
	open, err := prune.FromModel(s.model, nil)
	if err != nil {
		return nil, err
	}
	kind, weights := "l2", "original"
	if m != nil {
		kind = "metanet"
		if j.Objective == Weights || j.Objective == "" {
			weights = "metanet"
		}
	}
	p, err := open.Prepare(ctx, kind, weights, m, metanet.Options{})
	if err != nil {
		return nil, err
	}
	var out []float64
	for _, x := range j.SpeedUps {
		plan, err := p.MakePlan(ctx, prune.Request{Options: planner.Options{Target: planner.Target{SpeedUp: x}, Criterion: planner.Criterion{Kind: kind}}})
		var far *planner.TargetError
		if errors.As(err, &far) {
			continue
		}
		if err != nil {
			return nil, err
		}
		small, err := p.Apply(plan)
		if err != nil {
			return nil, err
		}
		fitted, _, err := s.reference.Fit(ctx, small, plan.Removed, repair.Solve, repair.Options{})
		if err != nil {
			return nil, err
		}
		f, err := s.reference.Fidelity(ctx, fitted)
		if err != nil {
			return nil, err
		}
		out = append(out, f.Distance())
	}
	return out, nil
}

// validation is what a run knows of its own quality.
type validation struct {
	step int
	goal float64
}

// best is the earliest of the steps with the lowest goal; nil before the first.
func best(history []*Report) *validation {
	var out *validation
	for i, r := range history {
		if r.Validation != nil && (out == nil || *r.Validation < out.goal) {
			out = &validation{i + 1, *r.Validation}
		}
	}
	return out
}

// validate judges the metanetwork as it is and keeps it where it is the best so far.
func (r *Run) validate(ctx context.Context) error {
	f, err := r.weights()
	if err != nil {
		return err
	}
	goal, err := r.Judge.Goal(ctx, f)
	if err != nil {
		return fmt.Errorf("validation: %w", err)
	}
	before := best(r.history)
	r.history[len(r.history)-1].Validation = &goal
	if before == nil || goal < before.goal {
		f.Metadata["validation"] = fmt.Sprint(goal)
		r.chosen = f
		if r.Folder != "" {
			return outfile.WriteBytes(r.path(bestName), f.Bytes())
		}
	}
	return nil
}

// Chosen says which step's metanetwork a run ends with, and the goals of validation by step.
func (r *Run) Chosen() (step int, goals map[int]float64) {
	goals = map[int]float64{}
	for i, h := range r.history {
		if h.Validation != nil {
			goals[i+1] = *h.Validation
		}
	}
	if b := best(r.history); b != nil {
		return b.step, goals
	}
	return len(r.history), goals
}

// restoreChosen reads the best metanetwork so far, where a run goes on.
func (r *Run) restoreChosen() error {
	if best(r.history) == nil {
		return nil
	}
	raw, err := os.ReadFile(r.path(bestName))
	if err != nil {
		return err
	}
	r.chosen, err = safetensors.Parse(raw)
	return err
}
