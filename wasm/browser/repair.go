package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/obs"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
)

// Bounds of the least squares in a page, where they run in one thread: seconds for a layer, not minutes.
const (
	pageInputs = 1200
	pageRows   = 6000
)

// runtime runs a model's file on stacks of samples, one sample after the other, and returns stacks.
type runtime func(ctx context.Context, file []byte, feeds map[string]repair.Array, samples int) ([]repair.Array, error)

// runner is a runtime for prune/repair.
type runner struct{ run runtime }

// Run implements repair.Engine.
func (e runner) Run(ctx context.Context, m *onnxio.Model, feeds map[string]repair.Array) ([]repair.Array, error) {
	samples := 1
	for _, a := range feeds {
		samples = max(samples, a.Stack)
	}
	open, g := *m, *m.Graph
	open.Graph, g.Inputs, g.Outputs = &g, nil, nil
	for _, in := range m.Graph.Inputs {
		own := *in
		if a, ok := feeds[in.Name]; ok {
			own.Type = &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: shapeOf(a)}}
		}
		g.Inputs = append(g.Inputs, &own)
	}
	for _, o := range m.Graph.Outputs { // the runtime knows their types
		g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: o.Name})
	}
	file, err := open.Marshal()
	if err != nil {
		return nil, err
	}
	return e.run(ctx, file, feeds, samples)
}

// shapeOf is the shape of one sample.
func shapeOf(a repair.Array) *onnxio.Shape {
	s := &onnxio.Shape{}
	for i, d := range a.Dims {
		if i == 0 && a.Stack > 0 {
			d /= a.Stack
		}
		s.Dims = append(s.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	return s
}

// repaired is a plan with the repair of what it leaves.
type repaired struct {
	Plan     string            `json:"plan"`
	Method   string            `json:"method"`
	Before   repair.Figures    `json:"before"`
	After    repair.Figures    `json:"after"`
	Samples  int               `json:"samples"`
	Noise    bool              `json:"noise"` // they are random numbers
	Warnings []planner.Warning `json:"warnings"`
	file     []byte            // of the tensors that the repair changed; nil where nothing came closer
}

var errNoSamples = errors.New("no samples were given")

// repair fits the model of a plan to the original on the samples that were given.
func (t *tool) repair(ctx context.Context, raw []byte, run runtime) (*repaired, error) {
	if t.session == nil {
		return nil, errNoModel
	}
	if t.given == nil {
		return nil, errNoSamples
	}
	p, err := t.parsePlan(raw)
	if err != nil {
		return nil, err
	}
	if len(p.Zeroed) > 0 {
		return nil, errors.New("a repair changes whole layers and would overwrite the zeros")
	}
	m, err := t.session.Apply(p)
	if err != nil {
		return nil, err
	}
	fit, held := engine.SplitLast(t.given.feeds, repair.Held(t.given.samples))
	o := repair.Options{MaxInputs: pageInputs, MaxRows: pageRows, Progress: func(done, total int) { t.report("repair", done, total) }}
	r, err := repair.Repair(ctx, runner{run}, t.session.ONNX, m, p.Removed, fit, held, o)
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	noise := t.given.mode == "noise"
	out := &repaired{Plan: string(raw), Method: r.Method, Before: r.Before.Figures(noise), After: r.After.Figures(noise), Samples: t.given.samples, Noise: noise, Warnings: p.NewWarnings()}
	if r.Method == repair.None {
		return out, nil
	}
	if out.file, err = prune.Repaired(p, t.given.mode, "plan.repaired.safetensors", r.Tensors); err != nil {
		return nil, err
	}
	out.Warnings = p.NewWarnings()
	text, err := planner.MarshalPlan(p)
	out.Plan = string(text)
	return out, err
}

// observed holds the scores that need samples.
const observed = obs.OBS

// observe scores all channels by what the samples that were given say, for plans by criterion obs.
func (t *tool) observe(ctx context.Context, run runtime) error {
	if t.session == nil {
		return errNoModel
	}
	if t.given == nil {
		return errNoSamples
	}
	n := int(min(int64(t.given.samples), roomBytes/(2*max(t.allValues(), 1))))
	if n < repair.Least {
		return fmt.Errorf("criterion obs needs every layer's values at once, and the page has memory for %d samples; give fewer samples, or use the command line", n)
	}
	some, _ := calib.AtMost(t.given.feeds, t.given.samples, n)
	s, err := calib.Scores(ctx, runner{run}, t.session.ONNX, t.session.Analysis, observed, some)
	if err != nil {
		return err
	}
	t.scores[scoring{criterion: observed}] = s
	return nil
}

// allValues are the bytes of all values of one sample's run.
func (t *tool) allValues() int64 {
	sum := int64(0)
	for _, n := range t.session.ONNX.Graph.Nodes {
		for _, o := range n.Outputs {
			if v := t.session.Analysis.Value(o); v != nil && v.Const == nil && v.Ranked {
				sum += bytesOfOne(v.Shape)
			}
		}
	}
	return sum
}

// bytesOfOne is the size of a value of one sample; what is free counts once.
func bytesOfOne(shape []dim.Dim) int64 {
	n := int64(4)
	for _, d := range shape {
		n *= max(int64(calib.Size(d)), 1)
	}
	return n
}
