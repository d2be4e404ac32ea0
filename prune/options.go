package prune

import (
	"context"
	"fmt"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
)

// Types of the packages below, by the names that a caller needs.
type (
	Plan     = planner.Plan    // which channels are removed; JSON, and complete: applied to the same model it gives the same bytes
	Scores   = planner.Scores  // importance of every unit
	Warning  = planner.Warning // what to expect of a pruned model, and what to do about it
	Array    = engine.Array    // values of an input or output: dims, and floats or integers
	Engine   = engine.Engine   // runs models; package xla has one
	Fidelity = repair.Fidelity // how much a model's outputs are like the original's
	Kind     = coupling.Kind   // of a group within an attention: heads, or channels of a head
)

// Options say what to remove. Exactly one of SpeedUp, Params, Bytes, Ratio and Pattern is set.
type Options struct {
	SpeedUp float64 // multiply-accumulates (MACs) before / after, above 1
	Params  float64 // share of the parameters that is kept, 0 to 1
	Bytes   int64   // size in bytes of the files that are written
	Ratio   float64 // share of the prunable channels that is removed, 0 to 1

	Pattern  string  // "N:M" or "unstructured": zeros instead of a smaller model
	Sparsity float64 // share of zeros, for pattern unstructured

	Criterion string   // "l2" (also ""), "l1", "bn", "fpgm", "random"; with a Calibration also "obs", "wanda" and "hessian"; with a Metanet "metanet"
	Metanet   *Metanet // for criterion metanet, from LoadMetanet
	Scores    Scores   // importance of your own instead of a criterion's, in the order of the analysis' units
	Ranking   string   // which channels compete: "global" (also ""), "group" or "isomorphic"
	RoundTo   int      // groups keep a multiple of so many channels; 0 is 1
	MaxRatio  float64  // at most this share of a group is removed; 0 is 1
	Ignore    []string // names or globs of tensors, nodes or groups that are kept whole
	Seed      int64    // of criterion random and of noise

	Inputs      map[string][]int64 // sizes of the inputs that MACs are counted at, by name; "" for the only input. Free sizes are assumed where it is nil
	Calibration *Calibration       // repairs the pruned model; nil removes channels and repairs nothing
	Progress    func(stage string, done, total float64)
}

// Calibration holds the samples of a repair and of the criteria obs, wanda and hessian: unlabelled samples, or noise. The last fifth of the samples only judges the repair.
type Calibration struct {
	Engine  Engine           // runs the models
	Samples map[string]Array // by the names of the model's inputs, samples along the first axis; at least 5, about 100 are enough
	Memory  engine.Memory    // bounds the values that are in memory between two layers; the zero value has no bound
	Noise   map[string][]int // instead of samples: dims of each real input without the axis of samples; 100 inputs of noise are made. Figures from noise say little of real inputs
}

// noiseSamples are made where no samples are given.
const noiseSamples = 100

// request are the options as the planner takes them.
func (o *Options) request() Request {
	r := Request{Pattern: o.Pattern, Sparsity: o.Sparsity}
	r.Target = planner.Target{SpeedUp: o.SpeedUp, Params: o.Params, Bytes: o.Bytes, Ratio: o.Ratio}
	r.Criterion = planner.Criterion{Kind: o.Criterion, Seed: o.Seed}
	r.Ranking, r.RoundTo, r.MaxRatio, r.Ignore, r.Scores = o.Ranking, o.RoundTo, o.MaxRatio, o.Ignore, o.Scores
	r.Progress = o.stage("planning")
	return r
}

func (o *Options) stage(name string) func(done, total float64) {
	if o.Progress == nil {
		return nil
	}
	return func(done, total float64) { o.Progress(name, done, total) }
}

// LooksAtSamples reports whether a criterion needs a Calibration.
func LooksAtSamples(criterion string) bool {
	return calib.LooksAtSamples(criterion)
}

// check refuses options that exclude one another.
func (o *Options) check() error {
	c := o.Calibration
	switch {
	case c == nil && LooksAtSamples(o.Criterion) && o.Scores == nil:
		return &planner.OptionError{Where: "criterion " + o.Criterion, Want: "a calibration, because it needs samples"}
	case o.Criterion == "metanet" && o.Metanet == nil:
		return &planner.OptionError{Where: "criterion metanet", Want: "a metanetwork"}
	case c == nil:
		return nil
	case c.Engine == nil:
		return &planner.OptionError{Where: "calibration", Want: "an engine, such as xla.OpenEngine gives"}
	case o.Pattern != "" && o.Pattern != "channels":
		return &planner.OptionError{Where: "calibration", Want: "no pattern: a repair would fill the zeros of " + o.Pattern + " again"}
	case (len(c.Samples) == 0) == (len(c.Noise) == 0):
		return &planner.OptionError{Where: "calibration", Want: "either samples or the sizes of noise"}
	}
	return nil
}

// samples are a Calibration that is ready for use.
type samples struct {
	engine    Engine
	fit, held map[string]Array // to fit on, and to judge by
	mode      string           // "data" or "noise"
	memory    engine.Memory
}

// samples makes the noise and divides the samples; nil where there is no calibration.
func (c *Calibration) samples(ctx context.Context, s *Model, seed int64) (*samples, error) {
	if c == nil {
		return nil, nil
	}
	all, out := c.Samples, &samples{engine: c.Engine, mode: "data", memory: c.Memory}
	if len(c.Samples) == 0 {
		out.mode, all = "noise", map[string]Array{}
		for name, dims := range c.Noise {
			all[name] = repair.Noise(noiseSamples, dims, uint64(seed))
		}
	}
	n, err := calib.Check(calib.InputsOf(s.Analysis), all)
	if err != nil {
		return nil, fmt.Errorf("calibration: %w", err)
	}
	out.fit, out.held = calib.Divide(ctx, c.Engine, s.ONNX, all, n)
	return out, nil
}
