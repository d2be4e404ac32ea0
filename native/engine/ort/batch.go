package ort

import (
	"context"
	"math"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// batchTolerance is how far results of one batch may be from those of its parts, relative to the largest
// element: sums in another order, not other samples.
const batchTolerance = 1e-3

// Batches says how many samples a model has to be run on at a time: 0 for any number, else the batch that
// it declares, where two batches at once do not give what each of them gives.
func (e *Engine) Batches(ctx context.Context, m *onnxio.Model, samples map[string]engine.Array) int {
	n := declaredBatch(m)
	if n == 0 {
		return 0
	}
	for _, a := range samples {
		if len(a.Dims) == 0 || a.Dims[0] < 2*n {
			return 0
		}
	}
	c, err := e.Compile(ctx, m)
	if err != nil {
		return n
	}
	defer c.Close()
	if together, apart := twice(ctx, c, samples, n); !alike(together, apart, n) {
		return n
	}
	return 0
}

// declaredBatch is the first length of the first input that is not a constant, 0 where it is free.
func declaredBatch(m *onnxio.Model) int {
	for _, v := range m.Graph.Inputs {
		if slices.ContainsFunc(m.Graph.Initializers, func(t *onnxio.Tensor) bool { return t.Name == v.Name }) {
			continue
		}
		if v.Type == nil || v.Type.Tensor == nil || v.Type.Tensor.Shape == nil || len(v.Type.Tensor.Shape.Dims) == 0 {
			return 0
		}
		return int(max(v.Type.Tensor.Shape.Dims[0].Value, 0))
	}
	return 0
}

// twice runs the first two batches of n samples, together and each alone; nil where that fails.
func twice(ctx context.Context, c engine.Session, samples map[string]engine.Array, n int) (together, apart []engine.Array) {
	both, stack := map[string]engine.Array{}, map[string]engine.Array{}
	for name, a := range samples {
		a, _ = a.Split(2 * n)
		both[name] = a
		a.Stack = 2
		stack[name] = a
	}
	apart, err := c.Run(ctx, stack)
	if err != nil {
		return nil, nil
	}
	together, err = c.Run(ctx, both)
	if err != nil {
		return nil, nil
	}
	return together, apart
}

// alike reports whether a run on two batches gave what runs on each gave.
func alike(together, apart []engine.Array, n int) bool {
	if len(together) == 0 || len(together) != len(apart) {
		return false
	}
	for k, a := range together {
		b := apart[k]
		if len(a.Dims) == 0 || a.Dims[0] != 2*n || !slices.Equal(a.Dims, b.Dims) || !slices.Equal(a.Ints, b.Ints) || !near(a.Floats, b.Floats) {
			return false
		}
	}
	return true
}

func near(a, b []float32) bool {
	top, worst := 0.0, 0.0
	for i := range a {
		top = max(top, math.Abs(float64(a[i])))
		if d := math.Abs(float64(a[i]) - float64(b[i])); !math.IsNaN(d) {
			worst = max(worst, d)
		}
	}
	return len(a) == len(b) && worst <= batchTolerance*top
}
