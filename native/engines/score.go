package engines

import (
	"context"
	"errors"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/xla"
)

// Score measures a classifier of images once, in batches of a size, or in those that the model declares
// where it takes no others.
func (r *Runtime) Score(ctx context.Context, m *onnxio.Model, set *data.Set, batch int) (train.Score, error) {
	inputs, err := xla.InputsOf(m)
	if err != nil {
		return train.Score{}, err
	}
	if err := train.Fits(inputs, set); err != nil {
		return train.Score{}, err
	}
	if r.library != nil {
		return r.scoreORT(ctx, m, inputs[0], set, batch)
	}
	var out train.Score
	err = InBatches(m, batch, func(batch int) error {
		p, err := xla.Load(m)
		if err != nil {
			return err
		}
		runner, err := xla.NewRunner(r.backend, p)
		if err != nil {
			return err
		}
		defer runner.Close()
		out, err = (&train.Evaluator{Runner: runner, Batch: batch}).Measure(ctx, set)
		return err
	})
	return out, err
}

func (r *Runtime) scoreORT(ctx context.Context, m *onnxio.Model, in xla.Input, set *data.Set, batch int) (train.Score, error) {
	e := ort.NewEngine(r.library, ort.Options{})
	batch, err := fixed(ctx, e, m, in, set, batch)
	if err != nil {
		return train.Score{}, err
	}
	c, err := e.Compile(ctx, m)
	if err != nil {
		return train.Score{}, err
	}
	defer c.Close()
	forward := train.ForwardFunc(func(x ...xla.Array) ([]xla.Array, error) {
		out, err := c.Run(ctx, map[string]engine.Array{in.Name: {Dims: x[0].Dims, Floats: x[0].Floats, Type: x[0].Type}})
		if err != nil {
			return nil, err
		}
		return []xla.Array{{Dims: out[0].Dims, Floats: out[0].Floats, Ints: out[0].Ints, Type: out[0].Type}}, nil
	})
	return (&train.Evaluator{Runner: forward, Batch: batch}).Measure(ctx, set)
}

// fixed is the batch that a model has to be run in: the wanted one, or the one that it declares.
func fixed(ctx context.Context, e *ort.Engine, m *onnxio.Model, in xla.Input, set *data.Set, batch int) (int, error) {
	if len(in.Dims) == 0 || in.Dims[0] < 1 || 2*in.Dims[0] > set.N {
		return batch, nil
	}
	first := make([]int, 2*in.Dims[0])
	for i := range first {
		first[i] = i
	}
	b, err := set.Take(first)
	if err != nil {
		return 0, err
	}
	if n := e.Batches(ctx, m, map[string]engine.Array{in.Name: {Dims: b.Dims, Floats: b.X, Type: onnxio.Float}}); n > 0 {
		return n, nil
	}
	return batch, nil
}

// InBatches runs a model in batches of a size, and in those that it declares where GoMLX cannot run it in
// others: its shapes may have the number of samples written into them.
func InBatches(m *onnxio.Model, batch int, run func(batch int) error) error {
	err := run(batch)
	if u := (*onnxio.UnsupportedError)(nil); !errors.As(err, &u) {
		return err
	}
	inputs, bad := xla.InputsOf(m)
	if bad != nil || len(inputs) == 0 || len(inputs[0].Dims) == 0 || inputs[0].Dims[0] < 1 || inputs[0].Dims[0] == batch {
		return err
	}
	if again := run(inputs[0].Dims[0]); again == nil {
		return nil
	}
	return err
}
