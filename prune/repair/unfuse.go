package repair

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// unfused takes nodes that add to a layer's output and activate it apart, so that the layer's own
// output can be fitted. Constants keep their names. A node with an activation of another name stays.
func unfused(m *onnxio.Model, nodes []*onnxio.Node) []*onnxio.Node {
	out := make([]*onnxio.Node, 0, len(nodes))
	for _, n := range nodes {
		d := coupling.LayerOf(n)
		if d == nil || d.Plain == "" {
			out = append(out, n)
			continue
		}
		out = append(out, apart(m, d)...)
	}
	return out
}

// apart is a fused node as nodes of its layer, its sum and its activation; the last one has its output.
func apart(m *onnxio.Model, d *coupling.NodeLayer) []*onnxio.Node {
	n := d.Node
	layer := &onnxio.Node{OpType: d.Plain, Name: n.Name, Inputs: []string{d.Input, d.Weight}}
	if d.Bias != "" {
		layer.Inputs = append(layer.Inputs, d.Bias)
	}
	var params []float32
	activation := ""
	for _, a := range n.Attributes {
		switch a.Name {
		case "activation":
			activation = string(a.S)
		case "activation_params":
			params = a.Floats
		case "activation_alpha", "activation_beta", "activation_gamma":
			params = append(params, a.F)
		default:
			layer.Attributes = append(layer.Attributes, a)
		}
	}
	names := op.Describe("", activation).Activates
	if activation != "" && (names == nil || len(params) < len(names)) {
		return []*onnxio.Node{n}
	}
	out := []*onnxio.Node{layer}
	if d.Added != "" {
		out = append(out, &onnxio.Node{OpType: "Add", Name: n.Name + "/sum", Inputs: []string{"", d.Added}})
	}
	if activation != "" {
		out = append(out, activate(m, n, activation, names, params)...)
	}
	join(out, n)
	return out
}

// activate is a node that applies an activation, with the constants that it reads in front.
func activate(m *onnxio.Model, n *onnxio.Node, activation string, names []string, params []float32) []*onnxio.Node {
	a := &onnxio.Node{OpType: activation, Name: n.Name + "/activation", Inputs: []string{""}}
	bounds := slices.Contains(names, "min") && slices.ContainsFunc(m.OpsetImport, func(o *onnxio.OpsetID) bool {
		return (o.Domain == "" || o.Domain == "ai.onnx") && o.Version >= 11
	})
	var out []*onnxio.Node
	for i, name := range names {
		if !bounds {
			a.Attributes = append(a.Attributes, &onnxio.Attribute{Name: name, Type: onnxio.AttrFloat, F: params[i]})
			continue
		}
		t := &onnxio.Tensor{Name: n.Outputs[0] + " " + name, DataType: onnxio.Float, Dims: []int64{}}
		_ = t.SetFloat32s(params[i : i+1]) // of a type that takes every number
		out = append(out, onnxio.ConstantNode(t.Name, t))
		a.Inputs = append(a.Inputs, t.Name)
	}
	return append(out, a)
}

// join lets each node read what the one before gives, and the last one give the fused node's output.
func join(nodes []*onnxio.Node, fused *onnxio.Node) {
	before := ""
	for i, n := range nodes {
		if len(n.Outputs) > 0 {
			continue // a constant
		}
		if before != "" {
			n.Inputs[0] = before
		}
		before = fused.Outputs[0] + " of " + n.OpType
		if i == len(nodes)-1 {
			before = fused.Outputs[0]
		}
		n.Outputs = []string{before}
	}
}
