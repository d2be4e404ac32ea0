package verify

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// atSizes is the model with these sizes written into the declarations of its inputs. The model itself stays
// as it is.
func atSizes(m *onnxio.Model, sizes map[string][]int64) *onnxio.Model {
	if len(sizes) == 0 {
		return m
	}
	out, g := *m, *m.Graph
	out.Graph, g.Inputs = &g, slices.Clone(g.Inputs)
	for i, in := range g.Inputs {
		if sizes[in.Name] == nil || in.Type == nil || in.Type.Tensor == nil {
			continue
		}
		shape := &onnxio.Shape{}
		for _, n := range sizes[in.Name] {
			shape.Dims = append(shape.Dims, &onnxio.Dim{Value: n, HasValue: true})
		}
		g.Inputs[i] = &onnxio.ValueInfo{Name: in.Name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: in.Type.Tensor.ElemType, Shape: shape}}}
	}
	return &out
}
