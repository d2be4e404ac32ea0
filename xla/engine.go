package xla

import (
	"context"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// Engine runs models on a backend for everything that looks at their values.
type Engine struct {
	backend *Backend
	batch   int // that the whole model declares, 0 for a free one
}

// NewEngine makes an engine for a model and its pieces.
func NewEngine(b *Backend, p *Program) *Engine {
	e := &Engine{backend: b}
	if len(p.Inputs) > 0 && len(p.Inputs[0].Dims) > 0 {
		e.batch = max(p.Inputs[0].Dims[0], 0)
	}
	return e
}

// Run implements engine.Engine.
func (e *Engine) Run(ctx context.Context, m *onnxio.Model, feeds map[string]engine.Array) ([]engine.Array, error) {
	s, err := e.Compile(ctx, m)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(ctx, feeds)
}

// Compile implements engine.Compiler. A graph is built for each shape of the feeds.
func (e *Engine) Compile(ctx context.Context, m *onnxio.Model) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := Load(m)
	if err != nil {
		return nil, err
	}
	if e.batch > 0 {
		for i := range p.Inputs {
			if d := p.Inputs[i].Dims; len(d) > 0 {
				d[0] = e.batch
			}
		}
	}
	r, err := NewRunner(e.backend, p)
	if err != nil {
		return nil, err
	}
	return &session{r}, nil
}

// session is a model on a backend.
type session struct{ runner *Runner }

// Run implements engine.Session.
func (s *session) Run(ctx context.Context, feeds map[string]engine.Array) ([]engine.Array, error) {
	return engine.OneByOne(feeds, func(feeds map[string]engine.Array) ([]engine.Array, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var in []Array
		for _, i := range s.runner.Program.Inputs {
			a := feeds[i.Name]
			t := onnxio.Float
			if a.Ints != nil || a.Type == onnxio.Double {
				t = a.Type
			}
			in = append(in, Array{Dims: a.Dims, Floats: a.Floats, Ints: a.Ints, Type: t})
		}
		out, err := s.runner.Run(in...)
		if err != nil {
			return nil, err
		}
		result := make([]engine.Array, len(out))
		for i, a := range out {
			result[i] = engine.Array{Dims: a.Dims, Floats: a.Floats, Ints: a.Ints, Type: a.Type}
		}
		return result, nil
	})
}

// Close implements engine.Session.
func (s *session) Close() { s.runner.Close() }

// Batches says how many samples a model has to be run on at a time: 0 for any number, else the batch that it declares, where it does not give for more samples what it gives for each batch.
func (e *Engine) Batches(ctx context.Context, m *onnxio.Model, samples map[string]engine.Array) int {
	if e.batch == 0 {
		return 0
	}
	few := map[string]engine.Array{}
	for name, a := range samples {
		if len(a.Dims) == 0 || a.Dims[0] < 2*e.batch {
			return 0
		}
		few[name], _ = a.Split(2 * e.batch)
	}
	out, err := e.Run(ctx, m, few)
	if err != nil {
		return e.batch
	}
	for _, a := range out {
		if len(a.Dims) == 0 || a.Dims[0] != 2*e.batch {
			return e.batch
		}
	}
	return 0
}

// OpenEngine opens a backend, one of Backends ("" is the best one that works here), as the engine for a model, which may declare a fixed batch. Close frees it.
func OpenEngine(kind string, m *onnxio.Model) (*Engine, error) {
	p, err := Load(m)
	if err != nil {
		return nil, err
	}
	b, err := Open(kind)
	if err != nil {
		return nil, err
	}
	return NewEngine(b, p), nil
}

// Close frees the engine's backend.
func (e *Engine) Close() { e.backend.Finalize() }
