package repair

import (
	"slices"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// layer is a node that repair works on.
type layer struct {
	node    *onnxio.Node
	index   int    // in the pruned model's order
	norm    bool   // BatchNormalization
	weight  string // of the others
	bias    string
	out     int // the weight's axis of outputs
	channel int // the output's axis of channels, from the end where negative
	conv    *geometry
}

// geometry are a convolution's attributes.
type geometry struct {
	strides, pads, dilations []int // pads as ONNX has them: starts, then ends
	groups                   int
}

func attribute(n *onnxio.Node, name string) *onnxio.Attribute {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func intAttr(n *onnxio.Node, name string, d int) int {
	if a := attribute(n, name); a != nil {
		return int(a.I)
	}
	return d
}

func intsAttr(n *onnxio.Node, name string, d []int) []int {
	a := attribute(n, name)
	if a == nil {
		return d
	}
	out := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		out[i] = int(v)
	}
	return out
}

// normalises reports whether a node is a normalisation with running statistics.
func normalises(n *onnxio.Node) bool {
	return strings.Contains(op.Describe(n.Domain, n.OpType).Train, "s")
}

// layerOf recognises a layer; nil for every other node, and for layers that are not fitted.
func (s *stepper) layerOf(i int) *layer {
	n := s.nodes[i]
	if len(n.Inputs) < 2 || len(n.Outputs) == 0 {
		return nil
	}
	if normalises(n) {
		if !real(s.constant(n.Inputs[1])) || len(n.Inputs) < 5 || s.constant(n.Inputs[3]) == nil || s.constant(n.Inputs[4]) == nil {
			return nil
		}
		return &layer{node: n, index: i, weight: n.Inputs[1], bias: n.Inputs[2], channel: 1, norm: true}
	}
	d := coupling.LayerOf(n)
	if d == nil || s.unfit(d) != "" {
		return nil
	}
	l := &layer{node: n, index: i, weight: d.Weight, bias: d.Bias, channel: d.Channel, out: d.Out}
	if d.Convolves {
		l.conv = convGeometry(n, s.constant(d.Weight))
	}
	return l
}

// unfit says why least squares do not fit a layer; "" where they do.
func (s *stepper) unfit(d *coupling.NodeLayer) string {
	w := s.constant(d.Weight)
	switch {
	case d.Unfit != "":
		return d.Unfit
	case d.Plain != "":
		return "its activation is not known"
	case w == nil && s.stored(d.Weight) != nil && s.stored(d.Weight).DataType.IsInteger():
		return "its weight is dequantised from integers"
	case w == nil:
		return "its weight is computed"
	case !real(w):
		return "its weight is not floating-point numbers"
	case d.Convolves && convGeometry(d.Node, w) == nil:
		return "its kernel is not two-dimensional, or auto_pad pads it"
	case !d.Convolves && len(w.Dims) != 2:
		return "its weight is not one matrix"
	}
	return ""
}

// real reports whether a constant is of floating-point numbers.
func real(t *onnxio.Tensor) bool {
	return t != nil && (t.DataType == onnxio.Float || t.DataType == onnxio.Float16 || t.DataType == onnxio.BFloat16 || t.DataType == onnxio.Double)
}

// stored is the constant that a weight is, or is a view of or dequantised from; nil where there is none.
func (s *stepper) stored(name string) *onnxio.Tensor {
	for range len(s.nodes) {
		if t := s.constant(name); t != nil {
			return t
		}
		at, ok := s.where[name]
		if !ok {
			return nil
		}
		n := s.nodes[at]
		if o := op.Describe(n.Domain, n.OpType); !o.View && o.Operands == "" || len(n.Inputs) == 0 {
			return nil
		}
		name = n.Inputs[0]
	}
	return nil
}

// convGeometry reads a 2-d convolution, nil for others.
func convGeometry(n *onnxio.Node, w *onnxio.Tensor) *geometry {
	if len(w.Dims) != 4 {
		return nil
	}
	if a := attribute(n, "auto_pad"); a != nil && string(a.S) != "NOTSET" && string(a.S) != "VALID" {
		return nil
	}
	one := []int{1, 1}
	return &geometry{intsAttr(n, "strides", one), intsAttr(n, "pads", make([]int, 4)), intsAttr(n, "dilations", one), intAttr(n, "group", 1)}
}

// readers lists the nodes that read a value, those too whose bodies do.
func (s *stepper) readers(name string) []*onnxio.Node {
	var out []*onnxio.Node
	for _, n := range s.nodes {
		if slices.Contains(n.Inputs, name) || len(n.Attributes) > 0 && slices.Contains(reads(n), name) {
			out = append(out, n)
		}
	}
	return out
}

// normBehind is the BatchNormalization that alone reads a layer's output, or nil.
func (s *stepper) normBehind(l *layer) *onnxio.Node {
	r := s.readers(l.node.Outputs[0])
	if len(r) == 1 && normalises(r[0]) {
		return r[0]
	}
	return nil
}

// partner is the other operand of an Add that alone reads what comes out of the layer, directly or behind its BatchNormalization; "" where there is none.
func (s *stepper) partner(l *layer) (other string, norm *onnxio.Node) {
	out := l.node.Outputs[0]
	if norm = s.normBehind(l); norm != nil {
		out = norm.Outputs[0]
	}
	r := s.readers(out)
	if len(r) != 1 || r[0].OpType != "Add" || len(r[0].Inputs) != 2 {
		return "", nil
	}
	if r[0].Inputs[0] == out {
		return r[0].Inputs[1], norm
	}
	return r[0].Inputs[0], norm
}

// floats reads a constant of the model.
func (s *stepper) floats(name string) ([]float32, error) {
	t := s.constant(name)
	if t == nil {
		return nil, nil
	}
	return t.Float32s()
}

// write replaces a constant by new numbers in its own element type.
func (s *stepper) write(name string, v []float32) error {
	t := s.constant(name)
	own := &onnxio.Tensor{Name: t.Name, Dims: t.Dims, DataType: t.DataType, DocString: t.DocString}
	if err := own.SetFloat32s(v); err != nil {
		return err
	}
	s.set(name, own)
	return nil
}
