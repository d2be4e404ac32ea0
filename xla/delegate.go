package xla

import (
	"fmt"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/onnx-gomlx/onnx/parser"
	"github.com/metaprune/metaprune/onnxio"
)

// delegate builds a node without a rule here through onnx-gomlx, as a model of one node. Inputs that are known become Constant nodes there, so that it may read them
// while it builds.
func delegate(o *nodeOp) []*value {
	if d := domain(o.Domain); d != "" { // onnx-gomlx goes by the names of operators, and some mean something else elsewhere
		fail(o.at, "operator %s of domain %s has no rule", o.OpType, d)
	}
	m := &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Domain: o.Domain, Version: o.since}}, Graph: &onnxio.Graph{Name: "node"}}
	if o.Domain != "" {
		m.OpsetImport = append(m.OpsetImport, &onnxio.OpsetID{Version: o.e.p.opset[""]})
	}
	n := onnxio.Node{OpType: o.OpType, Domain: o.Domain, Name: o.Name, Outputs: o.Outputs}
	for _, a := range o.Attributes {
		if v := o.attr(a.Name); v != nil {
			own := *v
			own.Name, own.RefName = a.Name, ""
			n.Attributes = append(n.Attributes, &own)
		}
	}
	n.Inputs = make([]string, len(o.in))
	feeds := map[string]*Node{}
	for i, v := range o.in {
		if v == nil {
			continue
		}
		name := fmt.Sprintf("in%d", i)
		n.Inputs[i] = name
		if v.known != nil && v.known.Shape().Size() > 0 {
			if t := asConstant(name, v.known); t != nil {
				m.Graph.Nodes = append(m.Graph.Nodes, onnxio.ConstantNode(name, t))
				continue
			}
		}
		x := o.e.node(v)
		if x.Shape().Size() == 0 {
			n.Inputs[i] = ""
			continue
		}
		feeds[name] = x
		m.Graph.Inputs = append(m.Graph.Inputs, &onnxio.ValueInfo{Name: name, Type: declared(x)})
	}
	m.Graph.Nodes = append(m.Graph.Nodes, &n)
	var names []string
	for _, name := range n.Outputs {
		if name != "" {
			names = append(names, name)
			m.Graph.Outputs = append(m.Graph.Outputs, &onnxio.ValueInfo{Name: name, Type: undeclared()})
		}
	}
	data, err := m.Marshal()
	if err != nil {
		panic(&failure{fmt.Errorf("%s: %w", o.at, err)})
	}
	outs := o.call(data, feeds, names)
	result, k := make([]*value, len(n.Outputs)), 0
	for i, name := range n.Outputs {
		if name != "" {
			result[i] = plain(outs[k])
			k++
		}
	}
	return result
}

// call runs onnx-gomlx; what it refuses is an operator that is not run.
func (o *nodeOp) call(data []byte, feeds map[string]*Node, names []string) (outs []*Node) {
	defer func() {
		if p := recover(); p != nil {
			if f, ok := p.(*failure); ok {
				panic(f)
			}
			o.refused(fmt.Errorf("%v", p))
		}
	}()
	model, err := parser.Parse(data)
	if err != nil {
		o.refused(err)
	}
	return model.CallGraph(nil, o.e.g, feeds, names...)
}

// refused fails with what onnx-gomlx said of the operator, in a sentence.
func (o *nodeOp) refused(err error) {
	if line := firstLine(err); strings.HasPrefix(line, "unimplemented ONNX op") {
		o.fail("this operator, which the engine has no implementation of")
	} else {
		o.fail("running this operator with these inputs (GoMLX: %s)", line)
	}
}

// undeclared is a type that nothing checks: the shape comes from the graph.
func undeclared() *onnxio.Type {
	return &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: &onnxio.Shape{}}}
}

func declared(x *Node) *onnxio.Type {
	shape := &onnxio.Shape{}
	for _, d := range x.Shape().Dimensions {
		shape.Dims = append(shape.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	t := onnxio.Float
	for _, c := range []onnxio.DataType{onnxio.Float, onnxio.Double, onnxio.Int64, onnxio.Int32, onnxio.Int16, onnxio.Int8, onnxio.Uint8, onnxio.Uint16, onnxio.Uint32, onnxio.Uint64, onnxio.Bool} {
		if d, _ := dtype(c); d == x.DType() {
			t = c
			break
		}
	}
	return &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: t, Shape: shape}}
}

// asConstant writes a known value as an ONNX tensor, nil for types that have no use here.
func asConstant(name string, t *tensors.Tensor) *onnxio.Tensor {
	out := &onnxio.Tensor{Name: name}
	for _, d := range t.Shape().Dimensions {
		out.Dims = append(out.Dims, int64(d))
	}
	ok := false
	for _, c := range []onnxio.DataType{onnxio.Float, onnxio.Double, onnxio.Int64, onnxio.Int32, onnxio.Int8, onnxio.Uint8, onnxio.Bool} {
		if d, _ := dtype(c); d == t.DType() {
			out.DataType, ok = c, true
		}
	}
	if !ok {
		return nil
	}
	_ = t.ConstBytes(func(b []byte) { out.SetRaw(append([]byte(nil), b...)) })
	return out
}
