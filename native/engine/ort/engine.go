package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// Engine runs models for calibration, repair and verification; it implements engine.Compiler.
type Engine struct {
	library *Library
	options Options
}

// NewEngine makes an engine.
func NewEngine(l *Library, o Options) *Engine { return &Engine{l, o} }

// Name is the engine's name for people.
func (e *Engine) Name() string { return "ONNX Runtime " + e.library.Version }

// Compile prepares a model. Its inputs' first axes take any length. An onnxio.UnsupportedError says why
// ONNX Runtime does not run the model.
func (e *Engine) Compile(ctx context.Context, m *onnxio.Model) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := e.open(freed(m))
	if err != nil {
		return nil, refused(err)
	}
	return &compiled{s}, nil
}

// compiled is a model that ONNX Runtime has prepared.
type compiled struct{ session *Session }

// Close implements engine.Session.
func (c *compiled) Close() { c.session.Close() }

// Run runs the model on feeds, by the names of its inputs, and returns all outputs. Stacks of samples are
// run sample by sample.
func (c *compiled) Run(ctx context.Context, feeds map[string]engine.Array) ([]engine.Array, error) {
	return engine.OneByOne(feeds, func(feeds map[string]engine.Array) ([]engine.Array, error) {
		in := map[string]Tensor{}
		for _, i := range c.session.Inputs {
			a, ok := feeds[i.Name]
			if !ok {
				return nil, fmt.Errorf("input %q has no value", i.Name)
			}
			t, err := tensorOf(i, a)
			if err != nil {
				return nil, err
			}
			in[i.Name] = t
		}
		out, err := c.session.Run(ctx, in)
		if err != nil {
			return nil, refused(err)
		}
		return arraysOf(out)
	})
}

// Run implements engine.Compiler.
func (e *Engine) Run(ctx context.Context, m *onnxio.Model, feeds map[string]engine.Array) ([]engine.Array, error) {
	c, err := e.Compile(ctx, m)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Run(ctx, feeds)
}

// refused turns what ONNX Runtime reports into the error of a model that an engine does not run.
func refused(err error) error {
	var failed *RunError
	if errors.As(err, &failed) {
		return &onnxio.UnsupportedError{What: "running this model in ONNX Runtime, which says: " + failed.Message}
	}
	return err
}

// freed is the model without what ties it to a batch: the first length of each input is free, and
// recorded shapes are left out. The types of outputs are left out too, since ONNX Runtime infers them,
// and pieces of a model do not know them.
func freed(m *onnxio.Model) *onnxio.Model {
	own, g := *m, *m.Graph
	own.Graph, g.ValueInfos = &g, nil
	constant := map[string]bool{}
	for _, t := range g.Initializers {
		constant[t.Name] = true
	}
	g.Inputs = nil
	for _, v := range m.Graph.Inputs {
		if !constant[v.Name] {
			v = withFreeBatch(v)
		}
		g.Inputs = append(g.Inputs, v)
	}
	g.Outputs = nil
	for _, v := range m.Graph.Outputs {
		g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: v.Name})
	}
	return &own
}

func withFreeBatch(v *onnxio.ValueInfo) *onnxio.ValueInfo {
	if v.Type == nil || v.Type.Tensor == nil || v.Type.Tensor.Shape == nil || len(v.Type.Tensor.Shape.Dims) == 0 {
		return v
	}
	own, typ, tensor := *v, *v.Type, *v.Type.Tensor
	own.Type, typ.Tensor = &typ, &tensor
	tensor.Shape = &onnxio.Shape{Dims: append([]*onnxio.Dim{{}}, tensor.Shape.Dims[1:]...)}
	return &own
}

// open hands a model to ONNX Runtime: in memory, or in files where it is larger than one message of
// protobuf may be.
func (e *Engine) open(m *onnxio.Model) (*Session, error) {
	if m.EncodedSize()+m.ExternalSize() >= onnxio.MaxProtoSize {
		return e.openLarge(m)
	}
	if m.HasExternal() {
		whole, err := m.Inline()
		if err != nil {
			return nil, err
		}
		m = whole
	}
	data, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	return e.library.NewSession(data, e.options)
}

func (e *Engine) openLarge(m *onnxio.Model) (*Session, error) {
	dir, err := os.MkdirTemp("", "metaprune-ort")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "model.onnx")
	if err := m.SaveExternal(path, false); err != nil {
		return nil, err
	}
	return e.library.OpenSession(path, e.options)
}
