package xla

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// Runner runs a program forward on one backend. Graphs are compiled once per shape of the inputs.
type Runner struct {
	Program *Program
	backend *Backend
	exec    *Exec
	values  []Array
	params  []*tensors.Tensor // of values, made when GoMLX is first asked for them
	taps    []string

	graphs bool             // GoMLX alone runs the program
	plans  map[string]*plan // by the inputs' shapes; nil for inputs that GoMLX alone runs
}

// NewRunner prepares a program with the model's own values. Taps are values of the model that Run returns after the outputs.
func NewRunner(b *Backend, p *Program, taps ...string) (*Runner, error) {
	values, err := p.Values()
	if err != nil {
		return nil, err
	}
	r := &Runner{Program: p, backend: b, values: values, taps: taps, graphs: b.Kind != Go, plans: map[string]*plan{}}
	r.exec, err = NewExec(b.Backend, func(in []*Node) []*Node {
		k := len(p.Params)
		e := p.env(in[0].Graph(), b, in[:k], in[k:])
		e.want, e.taps = map[string]bool{}, map[string]*Node{}
		for _, t := range taps {
			e.want[t] = true
		}
		out := e.run(p.feeds(in[k:]))
		for _, t := range taps {
			n := e.taps[t]
			if n == nil {
				fail(fmt.Sprintf("value %q", t), "watching a value that the graph does not compute")
			}
			out = append(out, n)
		}
		return out
	})
	if err != nil {
		return nil, Wrap(err)
	}
	r.exec.SetMaxCache(64)
	return r, nil
}

// env is the start of a graph: parameters by name, the batch and what the model declares for it.
func (p *Program) env(g *Graph, b *Backend, params, inputs []*Node) *env {
	e := &env{p: p, g: g, backend: b, params: map[string]*Node{}}
	for i, c := range p.Params {
		e.params[c.Name] = params[i]
	}
	if len(inputs) > 0 && inputs[0].Rank() > 0 {
		e.batch = inputs[0].Shape().Dimensions[0]
		if d := p.Inputs[0].Dims; len(d) > 0 && d[0] > 0 {
			e.fixed = d[0]
		}
	}
	return e
}

func (p *Program) feeds(nodes []*Node) map[string]*Node {
	out := map[string]*Node{}
	for i, in := range p.Inputs {
		out[in.Name] = nodes[i]
	}
	return out
}

// SetValues replaces parameters; nil entries keep theirs.
func (r *Runner) SetValues(values [][]float32) {
	for i, v := range values {
		if v != nil {
			r.values[i] = Array{Dims: r.Program.Params[i].Dims, Floats: slices.Clone(v), Type: onnxio.Float}
		}
	}
	r.forget()
}

// forget drops what was made of the values.
func (r *Runner) forget() {
	for _, p := range r.params {
		p.MustFinalizeAll()
	}
	r.params = nil
	clear(r.plans)
}

// tensors are the values as GoMLX holds them.
func (r *Runner) tensors() []*tensors.Tensor {
	if r.params == nil {
		for _, a := range r.values {
			r.params = append(r.params, a.tensor())
		}
	}
	return r.params
}

// planned returns the plan for inputs like these, nil where GoMLX alone runs them.
func (r *Runner) planned(inputs []Array) *plan {
	if r.graphs {
		return nil
	}
	var k strings.Builder
	for _, a := range inputs {
		fmt.Fprint(&k, a.Dims, a.dtype())
	}
	p, ok := r.plans[k.String()]
	if !ok {
		if len(r.plans) >= 16 {
			clear(r.plans)
		}
		p = newPlan(r, inputs)
		r.plans[k.String()] = p
	}
	return p
}

// Run returns the outputs, then the taps, for inputs in the order of Program.Inputs.
func (r *Runner) Run(inputs ...Array) (out []Array, err error) {
	defer Caught(&err)
	if len(inputs) != len(r.Program.Inputs) {
		return nil, fmt.Errorf("the model has %d inputs, got %d", len(r.Program.Inputs), len(inputs))
	}
	if p := r.planned(inputs); p != nil {
		return p.run(inputs)
	}
	var args []any
	for _, p := range r.tensors() {
		args = append(args, p)
	}
	for _, a := range inputs {
		args = append(args, a.tensor())
	}
	outs, err := r.exec.Call(args...)
	if err != nil {
		return nil, Wrap(err)
	}
	for _, t := range outs {
		a, err := arrayOf(t)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
		t.MustFinalizeAll()
	}
	return out, nil
}

// Close frees what was compiled.
func (r *Runner) Close() {
	r.exec.Finalize()
	r.forget()
}

func arrayOf(t *tensors.Tensor) (Array, error) {
	a := Array{Dims: t.Shape().Dimensions}
	var err error
	t.MustConstFlatData(func(flat any) {
		switch v := flat.(type) {
		case []float32:
			a.Floats, a.Type = append(make([]float32, 0, len(v)), v...), onnxio.Float
		case []float64:
			a.Type = onnxio.Float
			for _, x := range v {
				a.Floats = append(a.Floats, float32(x))
			}
		case []int64:
			a.Ints, a.Type = append([]int64(nil), v...), onnxio.Int64
		case []int32:
			a.Ints, a.Type = widened(v), onnxio.Int32
		case []int16:
			a.Ints, a.Type = widened(v), onnxio.Int16
		case []int8:
			a.Ints, a.Type = widened(v), onnxio.Int8
		case []uint8:
			a.Ints, a.Type = widened(v), onnxio.Uint8
		case []uint16:
			a.Ints, a.Type = widened(v), onnxio.Uint16
		case []uint32:
			a.Ints, a.Type = widened(v), onnxio.Uint32
		case []uint64:
			a.Ints, a.Type = widened(v), onnxio.Uint64
		case []bool:
			a.Type = onnxio.Bool
			for _, x := range v {
				n := int64(0)
				if x {
					n = 1
				}
				a.Ints = append(a.Ints, n)
			}
		default:
			err = &onnxio.UnsupportedError{What: fmt.Sprintf("an output of %T", flat)}
		}
	})
	return a, err
}

func widened[T int32 | int16 | int8 | uint8 | uint16 | uint32 | uint64](v []T) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}
