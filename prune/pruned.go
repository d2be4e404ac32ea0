package prune

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/prune/verify"
)

// Pruned is a smaller model.
type Pruned struct {
	Plan   *Plan         // what was removed
	ONNX   *onnxio.Model // it refers to the weights of the original, which has to stay open until it is saved
	Repair *RepairReport // nil where nothing was repaired

	original *Model
	tensors  []byte // file of the tensors that the repair changed
}

// RepairReport says what a repair made of a pruned model, on samples that were held back.
type RepairReport struct {
	Method        string   // "solve" (least squares), "match" (moments) or "none" where neither came closer to the original
	Before, After Fidelity // to the original's outputs
	Noise         bool     // the samples were noise
	Skipped       []string // pruned layers that the repair does not know, by node and operator
}

// Plan chooses which channels are removed, and changes nothing. The plan is not signed: Sign notes which model it is for.
// Errors: [planner.OptionError] for options without meaning, [planner.TargetError] where the target cannot be reached, with the nearest that can, and the engine's.
func (s *Model) Plan(ctx context.Context, o Options) (*Plan, error) {
	p, _, err := s.plan(ctx, &o)
	return p, err
}

// Prune plans, applies the plan and, with a Calibration, repairs the result. The original is unchanged. Errors are those of Plan.
func (s *Model) Prune(ctx context.Context, o Options) (*Pruned, error) {
	p, in, err := s.plan(ctx, &o)
	if err != nil {
		return nil, err
	}
	m, err := s.Apply(p)
	if err != nil {
		return nil, err
	}
	out := &Pruned{Plan: p, ONNX: m, original: s}
	if o.Calibration != nil {
		if err := out.repair(ctx, in, o.stage("repair")); err != nil {
			return nil, err
		}
	}
	p.Warnings = p.NewWarnings()
	return out, nil
}

func (s *Model) plan(ctx context.Context, o *Options) (*Plan, *samples, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if o.Inputs != nil {
		if err := s.CountAt(o.Inputs); err != nil {
			return nil, nil, err
		}
	}
	r := o.request()
	in, err := o.Calibration.samples(ctx, s, o.Seed)
	if err != nil {
		return nil, nil, err
	}
	if LooksAtSamples(o.Criterion) && r.Scores == nil {
		if r.Scores, err = calib.Scores(ctx, in.engine, s.ONNX, s.Analysis, o.Criterion, in.fit); err != nil {
			return nil, nil, err
		}
	}
	prepared, err := s.Prepare(ctx, o.Criterion, "original", o.Metanet, metanet.Options{})
	if err != nil {
		return nil, nil, err
	}
	p, err := prepared.MakePlan(ctx, r)
	return p, in, err
}

// repair fits the pruned model to its original and notes in the plan what changed.
func (p *Pruned) repair(ctx context.Context, in *samples, progress func(done, total float64)) error {
	o := repair.Options{Memory: in.memory}
	if progress != nil {
		o.Progress = func(done, total int) { progress(float64(done), float64(total)) }
	}
	r, err := repair.Repair(ctx, in.engine, p.original.ONNX, p.ONNX, p.Plan.Removed, in.fit, in.held, o)
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	p.Repair = &RepairReport{Method: r.Method, Before: r.Before, After: r.After, Noise: in.mode == "noise", Skipped: r.Skipped}
	if r.Method == repair.None {
		return nil
	}
	if p.tensors, err = Repaired(p.Plan, in.mode, "", r.Tensors); err != nil {
		return err
	}
	p.ONNX, err = p.original.Apply(p.Plan)
	return err
}

// Warnings say what to expect of the model.
func (p *Pruned) Warnings() []Warning { return p.Plan.NewWarnings() }

// Save writes the model to path: whole or not at all. Weights that the original keeps in external data go to path+".data".
// An output that is one of the original's own files is refused with [outfile.ClashError], the data file of another model with [outfile.TakenError].
func (p *Pruned) Save(path string) error {
	external := p.original.ONNX.HasExternal()
	c := &outfile.Claims{}
	if own := p.original.path; own != "" {
		c.Read(own, "the original")
		for _, name := range p.original.ONNX.DataFiles() {
			c.Read(filepath.Join(filepath.Dir(own), filepath.FromSlash(name)), "the original's data")
		}
	}
	if err := c.Write(path, "the pruned model"); err != nil {
		return err
	}
	if external {
		if err := c.Write(outfile.DataName(path), "the pruned model's data"); err != nil {
			return err
		}
	}
	if err := c.Check(); err != nil {
		return err
	}
	if external {
		return p.ONNX.SaveExternal(path, false)
	}
	return p.ONNX.Save(path)
}

// SavePlan writes the plan as JSON to path, signed for the original, and the tensors that a repair changed beside it, as [RepairedName] of path.
func (p *Pruned) SavePlan(path string) error {
	p.original.Sign(p.Plan)
	b := &outfile.Batch{}
	defer b.Discard()
	if p.tensors != nil {
		p.Plan.Repaired.File = filepath.Base(RepairedName(path))
		if err := b.AddBytes(RepairedName(path), p.tensors); err != nil {
			return err
		}
	}
	data, err := planner.MarshalPlan(p.Plan)
	if err != nil {
		return err
	}
	if err := b.AddBytes(path, data); err != nil {
		return err
	}
	return b.Commit()
}

// RepairedName is the file of the repaired tensors of the plan at path.
func RepairedName(path string) string {
	return path[:len(path)-len(filepath.Ext(path))] + ".repaired.safetensors"
}

// Verdict says whether a pruned model computes what its plan makes of the original.
type Verdict = verify.Verdict

// Verify compares the pruned model with its original on random inputs: what the plan removes is set to zero in the original, which is the same function. An engine that does not run the models makes the verdict "not compared".
func (p *Pruned) Verify(ctx context.Context, e Engine) (*Verdict, error) {
	a, err := coupling.Analyze(p.ONNX)
	if err != nil {
		return nil, err
	}
	before, after := verify.Side{Model: p.original.ONNX, Analysis: p.original.Analysis}, verify.Side{Model: p.ONNX, Analysis: a}
	return verify.Check(ctx, before, after, p.Plan, verify.Options{Engines: []verify.Engine{comparing{e}}, Bound: -1, Seed: 1})
}

// comparing is an engine that compares models.
type comparing struct{ engine Engine }

func (comparing) Name() string { return "the given engine" }

func (c comparing) Compare(ctx context.Context, want, got *onnxio.Model, seed int64) (float64, error) {
	return verify.Outputs(ctx, c.engine, want, got, seed)
}
