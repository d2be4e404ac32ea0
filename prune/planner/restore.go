package planner

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// restore returns the model with other numbers in the named constants: initializers, and outputs of Constant nodes or of Identity nodes over an initializer, which
// become constants of their own.
func restore(m *onnxio.Model, tensors map[string]Numbers) (*onnxio.Model, error) {
	out, g := *m, *m.Graph
	out.Graph = &g
	g.Initializers, g.Nodes = slices.Clone(g.Initializers), slices.Clone(g.Nodes)
	have := map[string]*onnxio.Tensor{}
	found := 0
	for i, t := range g.Initializers {
		have[t.Name] = t
		if v, ok := tensors[t.Name]; ok {
			own, err := renumbered(t, t.Name, v)
			if err != nil {
				return nil, err
			}
			g.Initializers[i] = own
			found++
		}
	}
	for i, n := range g.Nodes {
		if len(n.Outputs) != 1 {
			continue
		}
		v, ok := tensors[n.Outputs[0]]
		if !ok {
			if kept := copied(n, have, tensors); kept != nil {
				g.Nodes[i] = kept
			}
			continue
		}
		t := onnxio.ConstantOf(n)
		if t == nil && n.OpType == "Identity" && len(n.Inputs) == 1 {
			t = have[n.Inputs[0]]
		}
		if t == nil {
			return nil, &PlanError{fmt.Sprintf("repaired tensor %q is not a constant of the model", n.Outputs[0])}
		}
		own, err := renumbered(t, n.Outputs[0], v)
		if err != nil {
			return nil, err
		}
		g.Nodes[i] = onnxio.ConstantNode(n.Outputs[0], own)
		found++
	}
	if found != len(tensors) {
		return nil, &PlanError{fmt.Sprintf("%d of the %d repaired tensors are not in the model", len(tensors)-found, len(tensors))}
	}
	return &out, nil
}

// copied is a constant with the old numbers in the place of an Identity over a vector that gets new ones; nil for other nodes. Exporters leave such copies of equal vectors, and only the original was repaired.
func copied(n *onnxio.Node, have map[string]*onnxio.Tensor, tensors map[string]Numbers) *onnxio.Node {
	if n.OpType != "Identity" || len(n.Inputs) != 1 {
		return nil
	}
	t := have[n.Inputs[0]]
	if _, changed := tensors[n.Inputs[0]]; !changed || t == nil || len(t.Dims) > 1 {
		return nil
	}
	own := *t
	own.Name = n.Outputs[0]
	return onnxio.ConstantNode(n.Outputs[0], &own)
}

// renumbered is a tensor with other numbers, whose count is compared before they are decoded.
func renumbered(t *onnxio.Tensor, name string, v Numbers) (*onnxio.Tensor, error) {
	n := int64(1)
	for _, d := range t.Dims {
		n *= d
	}
	if n != int64(v.Len()) {
		return nil, &PlanError{fmt.Sprintf("repaired tensor %q has %d elements, the model's has %d", name, v.Len(), n)}
	}
	numbers, err := v.Floats()
	if err != nil {
		return nil, &PlanError{fmt.Sprintf("repaired tensor %q: %v", name, err)}
	}
	own := &onnxio.Tensor{Name: name, Dims: t.Dims, DataType: t.DataType, DocString: t.DocString}
	return own, own.SetFloat32s(numbers)
}
