package gorgo

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"gorgonia.org/tensor"

	// Gorgonia's runtime refuses Go versions that it does not know without this newer list.
	_ "go4.org/unsafe/assume-no-moving-gc"
)

// Name of the engine in reports.
const Name = "onnx-go with Gorgonia"

// Engine runs one model on batches of one size.
type Engine struct {
	model *onnx.Model
	graph *gorgonnx.Graph
	shape []int
	names [2]string // of input and output
}

// New prepares a model for batches of the given size.
func New(m *onnxio.Model, batch int) (e *Engine, err error) {
	defer caught(&err)
	fixed, shape, err := fixBatch(m, batch)
	if err != nil {
		return nil, err
	}
	low, err := lower(fixed)
	if err != nil {
		return nil, err
	}
	data, err := low.Marshal()
	if err != nil {
		return nil, err
	}
	graph := gorgonnx.NewGraph()
	model := onnx.NewModel(graph)
	if err := model.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	return &Engine{model: model, graph: graph, shape: shape, names: names(fixed.Graph)}, nil
}

// names are those of a lowered model's only input and output.
func names(g *onnxio.Graph) [2]string {
	weights := map[string]bool{}
	for _, t := range g.Initializers {
		weights[t.Name] = true
	}
	i := slices.IndexFunc(g.Inputs, func(v *onnxio.ValueInfo) bool { return !weights[v.Name] })
	return [2]string{g.Inputs[i].Name, g.Outputs[0].Name}
}

// Names returns what the model calls its input and its output.
func (e *Engine) Names() (input, output string) { return e.names[0], e.names[1] }

// Shape returns the input's shape, batch first.
func (e *Engine) Shape() []int { return e.shape }

// Run returns the output for one input of Shape, row-major, and its shape.
func (e *Engine) Run(input []float32) (out []float32, shape []int, err error) {
	defer caught(&err)
	t := tensor.New(tensor.WithShape(e.shape...), tensor.WithBacking(input))
	if err := e.model.SetInput(0, t); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", Name, err)
	}
	if err := e.graph.Run(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", Name, err)
	}
	outs, err := e.model.GetOutputTensors()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", Name, err)
	}
	data, ok := outs[0].Data().([]float32)
	if !ok {
		return nil, nil, &onnxio.UnsupportedError{What: fmt.Sprintf("an output of %T", outs[0].Data())}
	}
	return slices.Clone(data), outs[0].Shape().Clone(), nil
}

// caught turns a panic of the engine into an error.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s failed: %v", Name, p)
	}
}

// fixBatch returns the model with a number for its input's batch dimension; every other dimension has to be one already.
func fixBatch(m *onnxio.Model, batch int) (*onnxio.Model, []int, error) {
	weights := map[string]bool{}
	for _, t := range m.Graph.Initializers {
		weights[t.Name] = true
	}
	changed, g := *m, *m.Graph
	changed.Graph = &g
	g.Inputs = slices.Clone(g.Inputs)
	g.ValueInfos = nil
	var shape []int
	for i, v := range g.Inputs {
		if weights[v.Name] {
			continue
		}
		if v.Type == nil || v.Type.Tensor == nil || v.Type.Tensor.Shape == nil || v.Type.Tensor.ElemType != onnxio.Float {
			return nil, nil, &onnxio.UnsupportedError{Path: fmt.Sprintf("input %q", v.Name), What: "anything but a float32 tensor of known rank"}
		}
		dims := &onnxio.Shape{}
		for k, d := range v.Type.Tensor.Shape.Dims {
			n := d.Value
			if k == 0 {
				n = int64(batch)
			}
			if n <= 0 {
				return nil, nil, &onnxio.UnsupportedError{Path: fmt.Sprintf("input %q", v.Name), What: "dimensions known only at run time"}
			}
			dims.Dims = append(dims.Dims, &onnxio.Dim{Value: n, HasValue: true})
			shape = append(shape, int(n))
		}
		g.Inputs[i] = &onnxio.ValueInfo{Name: v.Name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: dims}}}
	}
	return &changed, shape, nil
}
