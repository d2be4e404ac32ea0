package metatrain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// Pipeline prunes a network as the paper does (https://arxiv.org/abs/2506.12041, section 4): one pass of a metanetwork, finetuning, pruning in steps with finetuning between them, finetuning.
type Pipeline struct {
	ModelSHA256 string             `json:"model_sha256"`
	Metanet     string             `json:"metanet_sha256,omitempty"` // empty: the network's own weights
	Criterion   string             `json:"criterion"`
	SpeedUp     float64            `json:"speed_up,omitempty"`
	Pattern     string             `json:"pattern,omitempty"` // zeros instead, in one step
	Sparsity    float64            `json:"sparsity,omitempty"`
	Inputs      map[string][]int64 `json:"inputs,omitempty"` // sizes that work is counted at
	Steps       int                `json:"steps"`            // of pruning
	First       int                `json:"first"`            // epochs of finetuning after the metanetwork
	Between     int                `json:"between"`          // epochs of finetuning after each step of pruning except the last
	Last        int                `json:"last"`             // epochs at the end
	Train       train.Config       `json:"train"`            // of every finetuning; its epochs are those above
}

// Stage is the result of one stage; it is stored in its folder as stage.json.
type Stage struct {
	Name    string       `json:"name"`
	SpeedUp float64      `json:"speed_up"` // of what is left, against the network that came in
	Params  float64      `json:"params"`   // parameters before / after
	Valid   *train.Score `json:"validation,omitempty"`
	Test    *train.Score `json:"test,omitempty"`
	Seconds float64      `json:"seconds"`
	Done    bool         `json:"-"` // it was done already
}

// PipelineRun is a pipeline on one network, in a folder in which it goes on where it was.
type PipelineRun struct {
	Pipeline Pipeline
	Model    *onnxio.Model
	Metanet  *prune.Metanet
	Options  metanet.Options
	Data     *data.Splits
	Backend  *xla.Backend
	Folder   string
	Every    time.Duration
	Report   func(stage string, p train.Progress)
	Finished func(s *Stage)

	start *prunedCost
	model *onnxio.Model
	tests []*Stage
}

type prunedCost struct{ macs, params float64 }

// open is a model whose work is counted at the pipeline's sizes.
func (r *PipelineRun) open(m *onnxio.Model) (*prune.Model, error) {
	s, err := prune.FromModel(m, nil)
	if err != nil || len(r.Pipeline.Inputs) == 0 {
		return s, err
	}
	return s, s.CountAt(r.Pipeline.Inputs)
}

func (r *PipelineRun) costOf(m *onnxio.Model) (*prunedCost, error) {
	s, err := r.open(m)
	if err != nil {
		return nil, err
	}
	st := s.Analysis.NewState()
	return &prunedCost{float64(st.MACs()), float64(st.Params())}, nil
}

// Run goes through all stages and returns the model that the last one left. Interrupted, it goes on when it is run again.
func (r *PipelineRun) Run(ctx context.Context) (*onnxio.Model, []*Stage, error) {
	if err := r.prepare(); err != nil {
		return nil, nil, err
	}
	p := &r.Pipeline
	if p.Metanet != "" {
		if err := r.stage(ctx, "metanet", r.rewrite); err != nil {
			return nil, nil, err
		}
		if err := r.finetune(ctx, "finetune", p.First, false); err != nil {
			return nil, nil, err
		}
	}
	for k := 1; k <= p.Steps; k++ {
		share := float64(k) / float64(p.Steps)
		if err := r.stage(ctx, fmt.Sprintf("prune%d", k), func(ctx context.Context, _ string, _ *Stage) error { return r.prune(ctx, share) }); err != nil {
			return nil, nil, err
		}
		epochs := p.Between
		if k == p.Steps {
			epochs = p.Last
		}
		if err := r.finetune(ctx, fmt.Sprintf("finetune%d", k), epochs, p.Pattern != ""); err != nil {
			return nil, nil, err
		}
	}
	return r.model, r.tests, nil
}

// prepare starts the folder, or compares it with what is asked for.
func (r *PipelineRun) prepare() error {
	if err := os.MkdirAll(r.Folder, 0o755); err != nil {
		return err
	}
	path := filepath.Join(r.Folder, "pipeline.json")
	raw, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		if raw, err = json.MarshalIndent(r.Pipeline, "", "  "); err != nil {
			return err
		}
		if err := outfile.WriteBytes(path, append(raw, '\n')); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		var old Pipeline
		if err := train.ReadRecord(raw, path, &old); err != nil {
			return err
		}
		if d := train.Differences(&old, &r.Pipeline); d != "" {
			return fmt.Errorf("%s holds a pipeline with other options: %s; give another folder, or remove this one", r.Folder, d)
		}
	}
	r.model = r.Model
	r.start, err = r.costOf(r.Model)
	return err
}

// stage does what is to be done, or takes up what is in its folder already: model.onnx first, stage.json last.
func (r *PipelineRun) stage(ctx context.Context, name string, do func(ctx context.Context, folder string, s *Stage) error) error {
	folder := filepath.Join(r.Folder, fmt.Sprintf("%02d-%s", len(r.tests)+1, name))
	path, file := filepath.Join(folder, "stage.json"), filepath.Join(folder, "model.onnx")
	s := &Stage{Name: name}
	if raw, err := os.ReadFile(path); err == nil {
		if err := train.ReadRecord(raw, path, s); err != nil {
			return err
		}
		if r.model, err = load(file); err != nil {
			return err
		}
		s.Done = true
		return r.passed(s)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	start := time.Now()
	if err := do(ctx, folder, s); err != nil {
		return fmt.Errorf("stage %s: %w", name, err)
	}
	now, err := r.costOf(r.model)
	if err != nil {
		return err
	}
	s.SpeedUp, s.Params, s.Seconds = r.start.macs/math.Max(now.macs, 1), r.start.params/math.Max(now.params, 1), time.Since(start).Seconds()
	whole, err := r.model.Inline() // external data is in the folder of the original and not here
	if err != nil {
		return err
	}
	if err := whole.Save(file); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := outfile.WriteBytes(path, append(raw, '\n')); err != nil {
		return err
	}
	return r.passed(s)
}

func (r *PipelineRun) passed(s *Stage) error {
	r.tests = append(r.tests, s)
	if r.Finished != nil {
		r.Finished(s)
	}
	return nil
}

// load reads a model into memory.
func load(path string) (*onnxio.Model, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := onnxio.Decode(raw, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// rewrite gives the network the metanetwork's weights.
func (r *PipelineRun) rewrite(ctx context.Context, _ string, _ *Stage) error {
	s, err := r.open(r.model)
	if err != nil {
		return err
	}
	p, err := s.Prepare(ctx, "metanet", "metanet", r.Metanet, r.Options)
	if err != nil {
		return err
	}
	r.model, err = settled(p.ONNX)
	return err
}

// settled is a model whose weights do not depend on where they came from any more.
func settled(m *onnxio.Model) (*onnxio.Model, error) {
	var b bytes.Buffer
	if err := m.Encode(&b); err != nil {
		return nil, err
	}
	return onnxio.Decode(b.Bytes(), nil)
}

// prune brings the network to a share of the way, evenly in the logarithm of the speed-up.
func (r *PipelineRun) prune(ctx context.Context, share float64) error {
	s, err := r.open(r.model)
	if err != nil {
		return err
	}
	q := prune.Request{Pattern: r.Pipeline.Pattern, Sparsity: r.Pipeline.Sparsity}
	q.Criterion.Kind = r.Pipeline.Criterion
	if q.Pattern == "" {
		now, err := r.costOf(r.model)
		if err != nil {
			return err
		}
		q.Target = planner.Target{SpeedUp: math.Max(1, math.Pow(r.Pipeline.SpeedUp, share)*now.macs/r.start.macs)}
	}
	plan, err := s.MakePlan(ctx, q)
	if err != nil {
		return err
	}
	small, err := s.Apply(plan)
	if err != nil {
		return err
	}
	r.model, err = settled(small)
	return err
}

func (r *PipelineRun) finetune(ctx context.Context, name string, epochs int, zeros bool) error {
	if epochs == 0 {
		return nil
	}
	return r.stage(ctx, name, func(ctx context.Context, folder string, s *Stage) error {
		c := r.Pipeline.Train
		c.Epochs, c.Options.KeepZeros = epochs, zeros
		t := &train.Run{Config: c, Model: r.model, Data: r.Data, Backend: r.Backend, Folder: filepath.Join(folder, "run"), Every: r.Every}
		if r.Report != nil {
			t.Report = func(p train.Progress) { r.Report(name, p) }
		}
		m, result, err := t.Train(ctx)
		if err != nil {
			return err
		}
		s.Valid, s.Test = result.Last, result.Test
		r.model, err = settled(m)
		return err
	})
}
