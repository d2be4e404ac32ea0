package onnxio

// ConstantNode returns a node that produces a tensor under a name.
func ConstantNode(name string, t *Tensor) *Node {
	if t.Name != name {
		own := *t
		own.Name = name
		t = &own
	}
	return &Node{OpType: "Constant", Name: name, Outputs: []string{name}, Attributes: []*Attribute{{Name: "value", Type: AttrTensor, T: t}}}
}

// ConstantOf returns the tensor of a Constant node, nil for other nodes and for Constant nodes that hold their value in another form.
func ConstantOf(n *Node) *Tensor {
	if n.OpType != "Constant" || n.Domain != "" && n.Domain != "ai.onnx" || len(n.Outputs) != 1 {
		return nil
	}
	for _, a := range n.Attributes {
		if a.Name == "value" {
			return a.T
		}
	}
	return nil
}
