package xla

import (
	"context"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/repair"
)

// Engine runs models for prune/repair.
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

// Run implements repair.Engine.
func (e *Engine) Run(ctx context.Context, m *onnxio.Model, feeds map[string]repair.Array) ([]repair.Array, error) {
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
	defer r.Close()
	var in []Array
	for _, i := range p.Inputs {
		a := feeds[i.Name]
		in = append(in, Array{Dims: a.Dims, Floats: a.Floats, Ints: a.Ints, Type: onnxio.Float})
	}
	out, err := r.Run(in...)
	if err != nil {
		return nil, err
	}
	result := make([]repair.Array, len(out))
	for i, a := range out {
		result[i] = repair.Array{Dims: a.Dims, Floats: a.Floats, Ints: a.Ints, Type: a.Type}
	}
	return result, nil
}
