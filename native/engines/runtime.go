package engines

import (
	"context"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// ORT names ONNX Runtime; the other names are those of xla.Backends.
const ORT = "ort"

// Names lists what Open knows, best first.
func Names() []string { return append([]string{ORT}, xla.Backends...) }

// Engine runs models for calibration, repair and verification.
type Engine interface {
	engine.Compiler
	// Batches says how many samples a model has to be run on at a time: 0 for any number.
	Batches(ctx context.Context, m *onnxio.Model, samples map[string]engine.Array) int
}

// Runtime is what runs models: ONNX Runtime or a backend of GoMLX. Close frees it.
type Runtime struct {
	Kind    string       // one of Names
	library *ort.Library // nil on GoMLX
	backend *xla.Backend // nil until gradients are needed, on ONNX Runtime
}

// Open opens the named runtime; "" is the best one that works here.
func Open(kind string) (*Runtime, error) {
	switch kind {
	case "", ORT:
		l, err := ort.Find()
		if err == nil {
			return &Runtime{Kind: ORT, library: l}, nil
		}
		if kind == ORT {
			return nil, err
		}
	case xla.CUDA, xla.CPU, xla.Go:
	default:
		return nil, planner.OneOf("backend", kind, Names()...)
	}
	b, err := xla.Open(kind)
	if err != nil {
		return nil, err
	}
	return &Runtime{Kind: b.Kind, backend: b}, nil
}

// Name is the runtime's name for people.
func (r *Runtime) Name() string {
	if r.library != nil {
		return "ONNX Runtime " + r.library.Version
	}
	return "GoMLX, backend " + r.Kind
}

// Close frees the runtime.
func (r *Runtime) Close() {
	if r.backend != nil {
		r.backend.Finalize()
	}
}

// Gradients is the backend of GoMLX for what needs gradients: the runtime's own, else the best one that
// works here.
func (r *Runtime) Gradients() (*xla.Backend, error) {
	var err error
	if r.backend == nil {
		r.backend, err = xla.Open("")
	}
	return r.backend, err
}

// Engine returns the engine for a model, which may declare a fixed batch, and its pieces.
func (r *Runtime) Engine(m *onnxio.Model) (Engine, error) {
	if r.library != nil {
		return ort.NewEngine(r.library, ort.Options{}), nil
	}
	p, err := xla.Load(m)
	if err != nil {
		return nil, err
	}
	return xla.NewEngine(r.backend, p), nil
}
