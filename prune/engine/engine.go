package engine

import (
	"context"

	"github.com/metaprune/metaprune/onnxio"
)

// Engine runs models. The model's inputs that feeds does not name are initializers. Feeds are not
// changed, and what is returned is the caller's. Feeds that are stacks run one sample after the
// other, as [OneByOne] does.
type Engine interface {
	Run(ctx context.Context, m *onnxio.Model, feeds map[string]Array) ([]Array, error)
}

// Compiler is an engine that prepares a model once and runs it many times.
type Compiler interface {
	Engine
	Compile(ctx context.Context, m *onnxio.Model) (Session, error)
}

// Session is a model that is ready to run. Run takes feeds of any length along free axes and gives
// the model's outputs in their order. Close frees it.
type Session interface {
	Run(ctx context.Context, feeds map[string]Array) ([]Array, error)
	Close()
}

// Compile prepares a model. An engine that cannot prepare one gets the model with every run.
func Compile(ctx context.Context, e Engine, m *onnxio.Model) (Session, error) {
	if c, ok := e.(Compiler); ok {
		return c.Compile(ctx, m)
	}
	return &plain{e, m}, nil
}

// plain is a session of an engine that does not compile.
type plain struct {
	engine Engine
	model  *onnxio.Model
}

func (p *plain) Run(ctx context.Context, feeds map[string]Array) ([]Array, error) {
	return p.engine.Run(ctx, p.model, feeds)
}

func (*plain) Close() {}
