package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/xla"
)

// Epoch is one line of metrics.jsonl.
type Epoch struct {
	Epoch      int     `json:"epoch"`
	Rate       float64 `json:"learning_rate"`
	Loss       float64 `json:"loss"`
	Accuracy   float64 `json:"accuracy"`
	Validation *Score  `json:"validation,omitempty"`
	Seconds    float64 `json:"seconds"`
	Speed      float64 `json:"images_per_second"`
}

// Result is what a run ends with.
type Result struct {
	Epochs  int     `json:"epochs"`
	Last    *Score  `json:"validation,omitempty"`
	Best    *Score  `json:"best_validation,omitempty"`
	BestAt  int     `json:"best_epoch,omitempty"`
	Test    *Score  `json:"test,omitempty"`
	TestTop *Score  `json:"test_of_best,omitempty"`
	Seconds float64 `json:"seconds"`
	Speed   float64 `json:"images_per_second"`
	Folder  string  `json:"folder,omitempty"`
}

// Progress is told where a run stands.
type Progress struct {
	Epoch, Epochs, Step, Steps int
	Loss, Accuracy, Speed      float64
	Left                       time.Duration
	Done                       *Epoch // set when an epoch has ended
}

// Run trains one model.
type Run struct {
	Config  Config
	Model   *onnxio.Model
	Data    *data.Splits
	Backend *xla.Backend
	Teacher *xla.Runner // of Config.Teacher
	Folder  string      // "" keeps nothing
	Every   time.Duration
	Report  func(Progress)

	program *xla.Program
	trainer *xla.Trainer
	runner  *xla.Runner // of scorer
	scorer  *Evaluator
	train   *data.Set
	valid   *data.Set
	at      position
	history []Epoch
}

// position is where a run stands; it is part of the checkpoint.
type position struct {
	Epoch   int     `json:"epoch"`
	Batch   int     `json:"batch"` // done in this epoch
	Loss    float64 `json:"loss"`  // sums over this epoch so far
	Right   float64 `json:"right"`
	Seen    int     `json:"seen"`
	Seconds float64 `json:"seconds"` // of this epoch so far
	Total   float64 `json:"total_seconds"`
	Best    *Score  `json:"best,omitempty"`
	BestAt  int     `json:"best_epoch"`
	History []Epoch `json:"history"`
}

// Train runs to the end, or until ctx is done, which saves a checkpoint. It returns the model with its last weights.
func (r *Run) Train(ctx context.Context) (*onnxio.Model, *Result, error) {
	if err := r.prepare(); err != nil {
		return nil, nil, err
	}
	defer r.trainer.Close()
	defer r.runner.Close()
	for r.at.Epoch < r.Config.Epochs {
		if err := r.epoch(ctx); err != nil {
			if ctx.Err() != nil && r.Folder != "" {
				return nil, nil, errors.Join(fmt.Errorf("interrupted in epoch %d; run the same command again to continue (%w)", r.at.Epoch+1, ctx.Err()), r.save(ctx))
			}
			return nil, nil, err
		}
	}
	return r.finish(ctx)
}

func (r *Run) prepare() error {
	if err := r.Config.Check(); err != nil {
		return err
	}
	if r.Data.Train == nil || r.Data.Train.Labels == nil {
		return fmt.Errorf("the data set has no labelled training images")
	}
	r.train = r.Data.Train
	if r.Config.Limit > 0 {
		r.train = r.train.Shuffled(r.Config.Limit, r.Config.Seed)
	}
	if r.Config.Validation > 0 {
		r.train, r.valid = r.train.Split(r.Config.Validation, r.Config.Seed)
	}
	if r.train.N < r.Config.Batch {
		return fmt.Errorf("%d training images do not fill a batch of %d", r.train.N, r.Config.Batch)
	}
	var err error
	if r.program, err = xla.Load(r.Model); err != nil {
		return err
	}
	if err := Fits(r.program.Inputs, r.train); err != nil {
		return err
	}
	if r.trainer, err = xla.NewTrainer(r.Backend, r.program, r.Config.Options); err != nil {
		return err
	}
	if r.runner, err = xla.NewRunner(r.Backend, r.program); err != nil {
		return err
	}
	r.scorer = &Evaluator{r.runner, r.Config.Batch}
	if r.Folder == "" {
		return nil
	}
	return r.resume()
}

// stride is the number of batches between looks at the sums on the device. A run is interrupted and saved only there, so that sums are rounded alike however often it
// was.
const stride = 16

// epoch trains from where the run stands to the end of the epoch.
func (r *Run) epoch(ctx context.Context) error {
	c := &r.Config
	order := data.Order{Batch: c.Batch, Shuffle: true, Seed: c.Seed, Epoch: r.at.Epoch, From: r.at.Batch, DropLast: true, Augment: c.Augment}
	per := order.Batches(r.train.N)
	start, before := time.Now(), r.at.Seconds
	saved := start
	err := r.train.Each(context.WithoutCancel(ctx), order, func(k int, b *data.Batch) error {
		if err := r.batch(b, k, per); err != nil {
			return err
		}
		r.at.Seconds = before + time.Since(start).Seconds()
		if (k+1)%stride != 0 && k+1 < per {
			return nil
		}
		if err := r.collect(); err != nil {
			return err
		}
		r.show(per, nil)
		if r.Folder != "" && r.Every > 0 && time.Since(saved) > r.Every {
			saved = time.Now()
			return errors.Join(r.save(ctx), ctx.Err())
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return r.ended(ctx, per)
}

// batch trains on batch k of the epoch.
func (r *Run) batch(b *data.Batch, k, per int) error {
	c := &r.Config
	x := xla.Array{Dims: b.Dims, Floats: b.X, Type: onnxio.Float}
	var teacher *xla.Array
	if r.Teacher != nil {
		out, err := r.Teacher.Run(x)
		if err != nil {
			return fmt.Errorf("teacher: %w", err)
		}
		teacher = &out[0]
	}
	if err := r.trainer.Step(x, b.Labels, c.rate(r.at.Epoch*per+k, c.Epochs*per, per), teacher); err != nil {
		return err
	}
	r.at.Batch = k + 1
	r.at.Seen += c.Batch
	return nil
}

// collect adds what the trainer summed up on the device.
func (r *Run) collect() error {
	n := float64(r.trainer.Seen())
	loss, accuracy, err := r.trainer.Metrics()
	if err != nil {
		return err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return fmt.Errorf("the loss is not a number in epoch %d, batch %d; give a lower learning rate or a warm-up", r.at.Epoch+1, r.at.Batch)
	}
	r.at.Loss += loss * n
	r.at.Right += accuracy * n
	return nil
}

func (r *Run) show(per int, done *Epoch) {
	if r.Report == nil {
		return
	}
	n := float64(max(r.at.Seen, 1))
	p := Progress{Epoch: r.at.Epoch + 1, Epochs: r.Config.Epochs, Step: r.at.Batch, Steps: per, Loss: r.at.Loss / n, Accuracy: r.at.Right / n, Done: done}
	if r.at.Seconds > 0 {
		p.Speed = n / r.at.Seconds
		left := (r.Config.Epochs-r.at.Epoch)*per - r.at.Batch
		p.Left = time.Duration(float64(left*r.Config.Batch) / p.Speed * float64(time.Second))
	}
	r.Report(p)
}

// ended measures the epoch, writes its line and the checkpoint.
func (r *Run) ended(ctx context.Context, per int) error {
	n := float64(r.at.Seen)
	e := Epoch{Epoch: r.at.Epoch + 1, Rate: r.Config.rate((r.at.Epoch+1)*per-1, r.Config.Epochs*per, per), Loss: r.at.Loss / n, Accuracy: r.at.Right / n, Seconds: r.at.Seconds, Speed: n / r.at.Seconds}
	if r.valid != nil {
		values, err := r.trainer.Values()
		if err != nil {
			return err
		}
		r.runner.SetValues(values)
		s, err := r.scorer.Measure(ctx, r.valid)
		if err != nil {
			return err
		}
		e.Validation = &s
		if r.at.Best == nil || s.Accuracy > r.at.Best.Accuracy {
			r.at.Best, r.at.BestAt = &s, e.Epoch
			if err := r.keep("best.onnx"); err != nil {
				return err
			}
		}
	}
	r.history = append(r.history, e)
	r.show(per, &e)
	r.at = position{Epoch: r.at.Epoch + 1, Best: r.at.Best, BestAt: r.at.BestAt, Total: r.at.Total + e.Seconds, History: r.history}
	if r.Folder == "" {
		return nil
	}
	if err := r.writeMetrics(); err != nil {
		return err
	}
	return r.save(ctx)
}

// model is the model with the weights as they are now.
func (r *Run) model() (*onnxio.Model, error) {
	values, err := r.trainer.Values()
	if err != nil {
		return nil, err
	}
	return r.program.WithValues(values)
}

func (r *Run) keep(name string) error {
	if r.Folder == "" {
		return nil
	}
	m, err := r.model()
	if err != nil {
		return err
	}
	return saveWhole(filepath.Join(r.Folder, name), m)
}

// saveWhole writes a model with its weights inside: external data would lie beside the original and not here.
func saveWhole(path string, m *onnxio.Model) error {
	whole, err := m.Inline()
	if err != nil {
		return err
	}
	return whole.Save(path)
}

func (r *Run) finish(ctx context.Context) (*onnxio.Model, *Result, error) {
	out := &Result{Epochs: r.at.Epoch, Best: r.at.Best, BestAt: r.at.BestAt, Seconds: r.at.Total, Folder: r.Folder}
	if n := len(r.history); n > 0 {
		out.Last = r.history[n-1].Validation
		if r.at.Total > 0 {
			out.Speed = float64(r.train.N/r.Config.Batch*r.Config.Batch*r.at.Epoch) / r.at.Total
		}
	}
	m, err := r.model()
	if err != nil {
		return nil, nil, err
	}
	if t := r.Data.Test; t != nil && t.Labels != nil {
		if out.Test, err = r.test(ctx, m, t); err != nil {
			return nil, nil, err
		}
		if best := filepath.Join(r.Folder, "best.onnx"); r.Folder != "" && r.at.Best != nil {
			if out.TestTop, err = r.testFile(ctx, best, t); err != nil {
				return nil, nil, err
			}
		}
	}
	if r.Folder != "" {
		if err := saveWhole(filepath.Join(r.Folder, "model.onnx"), m); err != nil {
			return nil, nil, err
		}
		if err := r.report(out); err != nil {
			return nil, nil, err
		}
	}
	return m, out, nil
}

func (r *Run) test(ctx context.Context, m *onnxio.Model, t *data.Set) (*Score, error) {
	p, err := xla.Load(m)
	if err != nil {
		return nil, err
	}
	values, err := p.Values()
	if err != nil {
		return nil, err
	}
	flat := make([][]float32, len(values))
	for i, v := range values {
		if p.Params[i].Trained() || p.Params[i].Kind == xla.Statistic {
			flat[i] = v.Floats
		}
	}
	r.runner.SetValues(flat)
	s, err := r.scorer.Measure(ctx, t)
	return &s, err
}

func (r *Run) testFile(ctx context.Context, path string, t *data.Set) (*Score, error) {
	f, err := onnxio.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return r.test(ctx, f.Model, t)
}

// writeMetrics writes metrics.jsonl whole, so that a resumed run leaves no line twice.
func (r *Run) writeMetrics() error {
	var b []byte
	for _, e := range r.history {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		b = append(append(b, line...), '\n')
	}
	return outfile.WriteBytes(filepath.Join(r.Folder, "metrics.jsonl"), b)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
