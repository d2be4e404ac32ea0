package metatrain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/onnxio/safetensors"
)

// Plan is everything that a run's numbers depend on.
type Plan struct {
	Config  Config            `json:"config"`
	Steps   int               `json:"steps"`
	Models  map[string]string `json:"models_sha256"` // of the data models by name
	Start   string            `json:"start_sha256"`  // of the metanetwork that it starts from
	Data    string            `json:"data"`
	Backend string            `json:"backend"`
	Version string            `json:"version"`

	Validation *Validation `json:"validation,omitempty"`
}

// Validation is how the best step of a run is found.
type Validation struct {
	Models   map[string]string `json:"models_sha256"`
	SpeedUps []float64         `json:"speed_ups"`
	Every    int               `json:"every"` // steps between judgements; the last one is judged too
}

// Run trains a metanetwork on data models in a folder: config.json, metrics.jsonl (a line a step), checkpoint.safetensors and, at the end and at each checkpoint, metanet.safetensors. Started again with the
// same plan it goes on from its checkpoint and ends with the same numbers as an undisturbed run. With a judge it ends with the metanetwork that was judged best, which is also written to best.safetensors.
type Run struct {
	Plan    Plan
	Trainer *Trainer
	Models  []*DataModel
	Images  *data.Set
	Judge   *Judge // nil to take the last step's metanetwork
	Folder  string
	Every   int // steps between checkpoints, 0 for 25
	Report  func(step int, r *Report, left time.Duration)

	history []*Report
	chosen  *safetensors.File
}

// often is how much work may be lost at most, beside the step that is under way.
const often = time.Minute

const (
	checkpointName = "checkpoint.safetensors"
	bestName       = "best.safetensors"
)

// Train runs to the end, or until ctx is done, which saves a checkpoint. It returns the metanetwork's file with its record in the metadata.
func (r *Run) Train(ctx context.Context) (*safetensors.File, error) {
	if len(r.Models) == 0 {
		return nil, errors.New("no data models")
	}
	if r.Every == 0 {
		r.Every = 25
	}
	if (r.Judge != nil) != (r.Plan.Validation != nil) || r.Judge != nil && r.Plan.Validation.Every < 1 {
		return nil, errors.New("a judge and a plan of validation go together")
	}
	if err := r.resume(); err != nil {
		return nil, err
	}
	start, first := time.Now(), r.Trainer.Net.Steps
	saved := start
	for r.Trainer.Net.Steps < r.Plan.Steps {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(fmt.Errorf("interrupted after step %d; run the same command again to continue (%w)", r.Trainer.Net.Steps, err), r.save(ctx))
		}
		report, err := r.Trainer.Step(context.WithoutCancel(ctx), r.next(), r.Images)
		if err != nil {
			return nil, err
		}
		r.history = append(r.history, report)
		done := r.Trainer.Net.Steps
		if r.Judge != nil && (done%r.Plan.Validation.Every == 0 || done == r.Plan.Steps) {
			if err := r.validate(context.WithoutCancel(ctx)); err != nil {
				return nil, err
			}
		}
		if r.Report != nil {
			each := time.Since(start) / time.Duration(done-first)
			r.Report(done, report, each*time.Duration(r.Plan.Steps-done))
		}
		if done%r.Every == 0 || done == r.Plan.Steps || time.Since(saved) > often {
			saved = time.Now()
			if err := r.save(ctx); err != nil {
				return nil, err
			}
		}
	}
	if r.chosen != nil {
		return r.chosen, nil
	}
	return r.weights()
}

// next is the data model of the step to come: rounds over all of them, each in an order of its own.
func (r *Run) next() *DataModel {
	step := r.Trainer.Net.Steps
	round := rand.New(rand.NewPCG(r.Plan.Config.Seed, uint64(step/len(r.Models))))
	return r.Models[round.Perm(len(r.Models))[step%len(r.Models)]]
}

// weights are the metanetwork as it is now, with its record.
func (r *Run) weights() (*safetensors.File, error) {
	f, err := r.Trainer.Net.Weights()
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(r.Plan)
	if err != nil {
		return nil, err
	}
	f.Metadata["training"] = string(record)
	if n := Normalizer(r.Plan.Config.Objective); n != "" {
		f.Metadata["normalizer"] = n
	}
	f.Metadata["steps"] = fmt.Sprint(r.Trainer.Net.Steps)
	if f.Metadata["name"] == "untrained" {
		f.Metadata["name"] = "trained"
	}
	return f, nil
}

func (r *Run) path(name string) string { return filepath.Join(r.Folder, name) }

// save writes metrics and the metanetwork, and the checkpoint last.
func (r *Run) save(ctx context.Context) error {
	defer train.Saving(ctx)()
	if r.Folder == "" {
		return nil
	}
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	for i, h := range r.history {
		if err := e.Encode(struct {
			Step int `json:"step"`
			*Report
		}{i + 1, h}); err != nil {
			return err
		}
	}
	f, err := r.weights()
	if err != nil {
		return err
	}
	c, err := r.Trainer.Net.Checkpoint()
	if err != nil {
		return err
	}
	history, err := json.Marshal(r.history)
	if err != nil {
		return err
	}
	c.Metadata["history"] = string(history)
	return errors.Join(outfile.WriteBytes(r.path("metrics.jsonl"), lines.Bytes()), outfile.WriteBytes(r.path("metanet.safetensors"), f.Bytes()), outfile.WriteBytes(r.path(checkpointName), c.Bytes()))
}

// resume takes up the folder's checkpoint, or starts the folder.
func (r *Run) resume() error {
	if r.Folder == "" {
		return nil
	}
	if err := os.MkdirAll(r.Folder, 0o755); err != nil {
		return err
	}
	raw, err := os.ReadFile(r.path("config.json"))
	if os.IsNotExist(err) {
		if raw, err = json.MarshalIndent(r.Plan, "", "  "); err != nil {
			return err
		}
		return outfile.WriteBytes(r.path("config.json"), append(raw, '\n'))
	}
	if err != nil {
		return err
	}
	var old Plan
	if err := train.ReadRecord(raw, r.path("config.json"), &old); err != nil {
		return err
	}
	if d := train.Differences(&old, &r.Plan); d != "" {
		return fmt.Errorf("%s holds a run with another configuration: %s; choose another folder or remove this one", r.Folder, d)
	}
	if raw, err = os.ReadFile(r.path(checkpointName)); os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := safetensors.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", r.path(checkpointName), err)
	}
	if err := json.Unmarshal([]byte(f.Metadata["history"]), &r.history); err != nil {
		return fmt.Errorf("%s: history: %w", r.path(checkpointName), err)
	}
	if err := r.Trainer.Net.Restore(f); err != nil {
		return fmt.Errorf("%s: %w", r.path(checkpointName), err)
	}
	return r.restoreChosen()
}
