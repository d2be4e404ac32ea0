package server

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/native/samples"
	"github.com/metaprune/metaprune/native/spill"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/calib"
	values "github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/wasm/api"
	"github.com/metaprune/metaprune/xla"
	"golang.org/x/sync/semaphore"
)

// mostSamples is how many samples of a request are used.
const mostSamples = 100

// engine runs models for repairs, one at a time: each takes all processors.
type engine struct {
	runtime func() (*engines.Runtime, error)
	turn    *semaphore.Weighted
	memory  int64  // for values between runs; more goes to files
	spool   string // folder for these, empty for the system's
}

func newEngine(c *Config) *engine {
	open := sync.OnceValues(func() (*engines.Runtime, error) { return engines.Open(c.Backend) })
	return &engine{open, semaphore.NewWeighted(1), c.Memory / bodyShare, c.Spool}
}

// Calibrate waits for its turn, which ends with Close of what it returns.
func (e *engine) Calibrate(ctx context.Context, s *prune.Model, c api.Calibration) (api.Calibrated, error) {
	if err := e.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	out, err := e.calibrate(ctx, s, c)
	if err != nil {
		e.turn.Release(1)
		return nil, err
	}
	return out, nil
}

func (e *engine) calibrate(ctx context.Context, s *prune.Model, c api.Calibration) (*calibrated, error) {
	r, err := e.runtime()
	if err != nil {
		return nil, err
	}
	run, err := r.Engine(s.ONNX)
	if err != nil {
		return nil, err
	}
	declared, err := xla.InputsOf(s.ONNX)
	if err != nil {
		return nil, err
	}
	inputs := make([]calib.Input, len(declared))
	for i, in := range declared {
		inputs[i] = calib.Input{Name: in.Name, Type: in.Type, Dims: in.Dims}
	}
	sizes, err := coupling.ParseSizes(c.Inputs)
	if err != nil {
		return nil, err
	}
	var all map[string]repair.Array
	n := mostSamples
	if c.Samples == nil {
		all, err = calib.Noise(inputs, n, picture(sizes), uint64(c.Seed))
	} else {
		all, n, err = uploaded(c.Samples, samples.Options{Inputs: inputs, Model: s.ONNX, Sizes: sizes, Limit: mostSamples, Seed: uint64(c.Seed)})
	}
	if err != nil {
		return nil, err
	}
	out := &calibrated{model: s, engine: run, service: e}
	out.fit, out.held = calib.Divide(ctx, out.engine, s.ONNX, all, n)
	return out, nil
}

// picture is the channels, height and width of the sizes that a request gives; nil where it gives none.
func picture(sizes map[string][]int64) []int {
	for _, v := range sizes {
		if len(v) == 3 || len(v) == 4 {
			v = v[len(v)-3:]
			return []int{int(v[0]), int(v[1]), int(v[2])}
		}
	}
	return nil
}

// uploaded reads the samples of a request: an NPZ file, whose parts are arrays, or a zip file of pictures or sound.
func uploaded(data []byte, o samples.Options) (map[string]repair.Array, int, error) {
	s, err := samples.Upload("samples", bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		return nil, 0, err
	}
	defer s.Close()
	if s.Len() < repair.Least {
		return nil, 0, &calib.SampleError{File: "samples", Want: fmt.Sprintf("at least %d samples", repair.Least), Got: fmt.Sprint(s.Len()), Do: "send more of them"}
	}
	all, err := calib.ReadAll(s)
	return all, s.Len(), err
}

// calibrated are the samples of one model.
type calibrated struct {
	model     *prune.Model
	engine    engines.Engine
	fit, held map[string]repair.Array
	service   *engine
	closing   sync.Once
	spilled   string // folder with values of a repair; empty where there is none
}

// memory bounds the values of a repair.
func (c *calibrated) memory() values.Memory {
	return values.Memory{Bytes: c.service.memory, Spill: spill.New(func() (string, func(), error) {
		dir, err := os.MkdirTemp(c.service.spool, "metaprune-values-*")
		c.spilled = dir
		return dir, func() { _ = os.RemoveAll(dir) }, err
	})}
}

// Scores are those of a criterion that looks at samples.
func (c *calibrated) Scores(ctx context.Context, criterion string) (planner.Scores, error) {
	return calib.Scores(ctx, c.engine, c.model.ONNX, c.model.Analysis, criterion, c.fit)
}

// Repair fits the weights of a pruned model.
func (c *calibrated) Repair(ctx context.Context, p *planner.Plan, m *onnxio.Model, progress func(done, total int)) (*api.Repaired, error) {
	r, err := repair.Repair(ctx, c.engine, c.model.ONNX, m, p.Removed, c.fit, c.held, repair.Options{Memory: c.memory(), Progress: progress})
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	before, after := r.Before.Figures(false), r.After.Figures(false)
	return &api.Repaired{Method: r.Method, Tensors: r.Tensors, Before: before.Cosine, After: after.Cosine, Held: after.N, Skipped: len(r.Skipped)}, nil
}

// Close removes the files of a repair, and lets the next request run.
func (c *calibrated) Close() {
	c.closing.Do(func() {
		if c.spilled != "" {
			_ = os.RemoveAll(c.spilled)
		}
		c.service.turn.Release(1)
	})
}
