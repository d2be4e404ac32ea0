package metatrain

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// Job makes one data model: a new network is trained, pruned a little by group L2, and finetuned. Jobs are independent of each other; each has a folder of its own, does nothing where it is done, and goes
// on from its checkpoints where it was interrupted.
type Job struct {
	Network  string       `json:"network"`
	Width    float64      `json:"width"`
	Seed     uint64       `json:"seed"`
	Input    []int        `json:"input"`
	Classes  int          `json:"classes"`
	SpeedUp  float64      `json:"speed_up"` // 1 prunes nothing
	Train    train.Config `json:"train"`
	Finetune train.Config `json:"finetune"`
}

// Name is the job's folder.
func (j *Job) Name() string { return fmt.Sprintf("%s-w%g-s%d", j.Network, j.Width, j.Seed) }

// JobResult is the result of a job; it is stored in its folder as job.json.
type JobResult struct {
	Job
	Trained *train.Score `json:"trained,omitempty"` // validation after training
	Tuned   *train.Score `json:"tuned,omitempty"`   // validation after pruning and finetuning
	Test    *train.Score `json:"test,omitempty"`
	MACs    [2]int64     `json:"macs"` // before and after
	Seconds float64      `json:"seconds"`
	Done    bool         `json:"-"` // it was done already
}

// Run makes the data model below folder.
func (j *Job) Run(ctx context.Context, b *xla.Backend, splits *data.Splits, folder string, every time.Duration, report func(stage string, p train.Progress)) (*JobResult, error) {
	r, err := j.run(ctx, b, splits, filepath.Join(folder, j.Name()), every, report)
	if err != nil {
		return nil, fmt.Errorf("data model %s: %w", j.Name(), err)
	}
	return r, nil
}

func (j *Job) run(ctx context.Context, b *xla.Backend, splits *data.Splits, folder string, every time.Duration, report func(stage string, p train.Progress)) (*JobResult, error) {
	if r, err := j.finished(folder); r != nil || err != nil {
		return r, err
	}
	m, err := models.New(j.Network, models.Options{Input: j.Input, Classes: j.Classes, Width: j.Width, Seed: j.Seed})
	if err != nil {
		return nil, err
	}
	phase := func(stage string, c train.Config, m *onnxio.Model) (*onnxio.Model, *train.Result, error) {
		t := &train.Run{Config: c, Model: m, Data: splits, Backend: b, Folder: filepath.Join(folder, stage), Every: every}
		if report != nil {
			t.Report = func(p train.Progress) { report(stage, p) }
		}
		return t.Train(ctx)
	}
	m, first, err := phase("train", j.Train, m)
	if err != nil {
		return nil, err
	}
	out := &JobResult{Job: *j, Trained: first.Last}
	if m, out.MACs, err = j.prune(ctx, m); err != nil {
		return nil, err
	}
	m, second, err := phase("finetune", j.Finetune, m)
	if err != nil {
		return nil, err
	}
	out.Tuned, out.Test, out.Seconds = second.Last, second.Test, first.Seconds+second.Seconds
	if err := m.Save(filepath.Join(folder, "model.onnx")); err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, err
	}
	return out, outfile.WriteBytes(filepath.Join(folder, "job.json"), append(raw, '\n')) // last: it says that the rest is there
}

// finished returns the result of a job that is done, nil for one that is not, and an error where the folder holds another job's.
func (j *Job) finished(folder string) (*JobResult, error) {
	path := filepath.Join(folder, "job.json")
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &JobResult{Done: true}
	if err := train.ReadRecord(raw, path, r); err != nil {
		return nil, err
	}
	if d := train.Differences(&r.Job, j); d != "" {
		return nil, fmt.Errorf("%s is of another job: %s; choose another folder or remove this one", path, d)
	}
	return r, nil
}

func (j *Job) prune(ctx context.Context, m *onnxio.Model) (*onnxio.Model, [2]int64, error) {
	if j.SpeedUp == 1 {
		return m, [2]int64{}, nil
	}
	s, err := prune.FromModel(m, nil)
	if err != nil {
		return nil, [2]int64{}, err
	}
	p, err := s.MakePlan(ctx, prune.Request{Options: planner.Options{Target: planner.Target{SpeedUp: j.SpeedUp}}})
	if err != nil {
		return nil, [2]int64{}, err
	}
	small, err := s.Apply(p)
	return small, p.Achieved.MACs, err
}
