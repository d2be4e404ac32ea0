package coupling

import (
	"fmt"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// NodeLayer is a node with a weight, as its operator's Layer and its attributes say.
type NodeLayer struct {
	Node         *onnxio.Node
	Input        string       // the value that the weight is applied to
	Weight, Bias string       // values; Bias is "" where there is none
	Added        string       // the value that is added to the output in the node; "" where none is
	Constant     *op.Constant // the weight, or what it is dequantised from; nil where it is computed
	Shift        *op.Constant // the bias; nil where there is none or it is computed
	Out, In      int          // the weight's axes of output and input channels
	Channel      int          // the axis of channels of the layer's input and output, from the end where negative
	Convolves    bool         // the weight is a kernel: output or input channels first, positions last
	Groups       int          // of output and input channels, 1 where all outputs read all inputs
	Plain        string       // the operator that computes the layer alone, where the node adds and activates too
	Linear       bool         // each input channel adds its own share to the outputs
	Unfit        string       // why least squares cannot fit the weight; "" where they can
}

// LayerOf describes a node that has a weight, without its constants; nil for a node that has none.
func LayerOf(n *onnxio.Node) *NodeLayer {
	o := op.Describe(n.Domain, n.OpType).Layer
	if o == nil || len(n.Outputs) == 0 {
		return nil
	}
	in := func(i int) string {
		if i == 0 || i >= len(n.Inputs) {
			return ""
		}
		return n.Inputs[i]
	}
	l := &NodeLayer{Node: n, Weight: in(o.Weight), Bias: in(o.Bias), Added: in(o.Added), Out: o.Out, In: o.In,
		Convolves: o.Groups != "", Channel: o.Channel, Groups: 1, Plain: o.Plain, Unfit: o.Unfit}
	if l.Weight == "" {
		return nil
	}
	l.Input = n.Inputs[0]
	for _, a := range n.Attributes {
		switch {
		case a.Name == o.Groups:
			l.Groups = max(int(a.I), 1)
		case a.Name == o.Transposed && a.I != 0:
			l.Out, l.In = l.In, l.Out
		case a.Name == o.Flipped && a.I != 0:
			l.Unfit = fmt.Sprintf("its input is transposed (%s)", a.Name)
		case o.Scaled && a.Name == "alpha" && a.F != 1:
			l.Unfit = "its product is scaled (alpha)"
		}
	}
	l.Linear = o.Linear || l.Unfit == ""
	return l
}

// Layers lists the nodes with weights, in graph order.
func (a *Analysis) Layers() []NodeLayer {
	var out []NodeLayer
	for _, c := range a.Analyzer.Calls {
		l := LayerOf(c.Node)
		if l == nil || c.Derived {
			continue
		}
		o := op.Describe(c.Node.Domain, c.Node.OpType).Layer
		l.Constant = c.ConstantBehind(c.Input(o.Weight))
		if o.Bias > 0 {
			l.Shift = c.ConstantBehind(c.Input(o.Bias))
		}
		out = append(out, *l)
	}
	return out
}
