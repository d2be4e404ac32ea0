package repair

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

// stepper runs a model piece by piece, so that constants may change between what has run and what has not.
type stepper struct {
	engine Engine
	model  *onnxio.Model
	nodes  []*onnxio.Node
	at     int // nodes before this have run
	values map[string]Array
	consts map[string]*onnxio.Tensor
	maker  map[string]*onnxio.Node // of Constant nodes
	last   map[string]int          // the last node that reads a value; len(nodes) for outputs
	where  map[string]int          // the node that produces a value
	whole  bool                    // what is kept is never dropped
}

func newStepper(e Engine, m *onnxio.Model, inputs map[string]Array) *stepper {
	s := &stepper{engine: e, model: m, nodes: sorted(unfused(m, unshared(m.Graph))), values: map[string]Array{}, consts: map[string]*onnxio.Tensor{}, maker: map[string]*onnxio.Node{}, last: map[string]int{}, where: map[string]int{}}
	for _, t := range m.Graph.Initializers {
		s.consts[t.Name] = t
	}
	for i, n := range s.nodes {
		if n.OpType == "Constant" && len(n.Outputs) == 1 {
			s.maker[n.Outputs[0]] = n
		}
		for _, in := range reads(n) {
			s.last[in] = i
		}
		for _, out := range n.Outputs {
			s.where[out] = i
		}
	}
	for _, o := range m.Graph.Outputs {
		s.last[o.Name] = len(s.nodes)
	}
	for k, v := range inputs {
		s.values[k] = v
	}
	return s
}

// unshared turns copies of vectors, which exporters leave as Identity nodes, into constants of their own.
func unshared(g *onnxio.Graph) []*onnxio.Node {
	have := map[string]*onnxio.Tensor{}
	for _, t := range g.Initializers {
		have[t.Name] = t
	}
	out := make([]*onnxio.Node, len(g.Nodes))
	for i, n := range g.Nodes {
		out[i] = n
		if n.OpType == "Identity" && len(n.Inputs) == 1 && len(n.Outputs) == 1 {
			if t := have[n.Inputs[0]]; t != nil && len(t.Dims) <= 1 {
				out[i] = onnxio.ConstantNode(n.Outputs[0], t)
			}
		}
	}
	return out
}

// reads lists a node's inputs and what its subgraphs capture.
func reads(n *onnxio.Node) []string {
	out := append([]string(nil), n.Inputs...)
	for _, a := range n.Attributes {
		for _, g := range a.Subgraphs() {
			for _, inner := range g.Nodes {
				out = append(out, reads(inner)...)
			}
			for _, o := range g.Outputs {
				out = append(out, o.Name)
			}
		}
	}
	return out
}

// sorted returns nodes in an order in which everything is produced before it is read.
func sorted(nodes []*onnxio.Node) []*onnxio.Node {
	maker := map[string]int{}
	for i, n := range nodes {
		for _, o := range n.Outputs {
			if o != "" {
				maker[o] = i
			}
		}
	}
	done := make([]bool, len(nodes))
	out := make([]*onnxio.Node, 0, len(nodes))
	var visit func(i int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, in := range reads(nodes[i]) {
			if k, ok := maker[in]; ok {
				visit(k)
			}
		}
		out = append(out, nodes[i])
	}
	for i := range nodes {
		visit(i)
	}
	return out
}

// keep makes a value outlive its readers.
func (s *stepper) keep(name string) { s.last[name] = len(s.nodes) }

// drop forgets a value that was kept, once nothing reads it.
func (s *stepper) drop(name string) {
	if s.whole {
		return
	}
	for _, n := range s.nodes[s.at:] {
		for _, in := range reads(n) {
			if in == name {
				return
			}
		}
	}
	delete(s.values, name)
}

// advance runs the nodes before index to.
func (s *stepper) advance(ctx context.Context, to int) error {
	if to <= s.at {
		return nil
	}
	piece := s.nodes[s.at:to]
	g := &onnxio.Graph{Name: "piece"}
	m := &onnxio.Model{IRVersion: max(s.model.IRVersion, 8), OpsetImport: s.model.OpsetImport, Functions: s.model.Functions, Graph: g}
	produced, seen := map[string]bool{}, map[string]bool{}
	feeds := map[string]Array{}
	for _, n := range piece {
		for _, o := range n.Outputs {
			produced[o] = true
		}
	}
	for _, n := range piece {
		for _, in := range reads(n) {
			if in == "" || seen[in] || produced[in] {
				continue
			}
			seen[in] = true
			s.provide(g, in, feeds)
		}
	}
	g.Nodes = append(g.Nodes, piece...)
	var names []string
	for _, n := range piece {
		for _, o := range n.Outputs {
			if o != "" && s.last[o] >= to && s.maker[o] == nil {
				names = append(names, o)
				g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: o, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float}}})
			}
		}
	}
	s.at = to
	if len(names) == 0 {
		return nil
	}
	out, err := s.engine.Run(ctx, m, feeds)
	if err != nil {
		return err
	}
	for i, name := range names {
		s.values[name] = out[i]
	}
	for name := range s.values {
		if s.last[name] < to {
			delete(s.values, name)
		}
	}
	return nil
}

// provide gives a piece a value from outside: a constant as it is, integers that are known by now as constants too, since shapes may depend on them.
func (s *stepper) provide(g *onnxio.Graph, name string, feeds map[string]Array) {
	if t := s.consts[name]; t != nil {
		g.Initializers = append(g.Initializers, t)
		return
	}
	if n := s.maker[name]; n != nil {
		g.Nodes = append([]*onnxio.Node{n}, g.Nodes...)
		return
	}
	v, ok := s.values[name]
	if !ok {
		return // a subgraph's own name
	}
	if v.Stack == 0 && (v.Ints != nil || len(v.Floats) == 0) {
		g.Initializers = append(g.Initializers, tensorOf(name, v))
		return
	}
	feeds[name] = v
	shape := &onnxio.Shape{}
	for _, d := range v.SampleDims() {
		shape.Dims = append(shape.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	kind := onnxio.Float
	if v.Ints != nil {
		kind = v.Type
	}
	g.Inputs = append(g.Inputs, &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: kind, Shape: shape}}})
}

// tensorOf writes a value as a tensor.
func tensorOf(name string, v Array) *onnxio.Tensor {
	t := &onnxio.Tensor{Name: name, DataType: v.Type}
	for _, d := range v.Dims {
		t.Dims = append(t.Dims, int64(d))
	}
	var raw []byte
	switch {
	case v.Ints == nil:
		t.DataType = onnxio.Float
		for _, x := range v.Floats {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		t.SetRaw(raw)
	case v.Type == onnxio.Bool:
		for _, x := range v.Ints {
			raw = append(raw, byte(x))
		}
		t.SetRaw(raw)
	default:
		t.SetRaw(make([]byte, len(v.Ints)*v.Type.Bits()/8))
		t.SetInt64s(v.Ints)
	}
	return t
}

// set replaces a constant of the model from here on.
func (s *stepper) set(name string, t *onnxio.Tensor) {
	if n := s.maker[name]; n != nil {
		s.maker[name] = onnxio.ConstantNode(name, t)
		for i := range s.nodes {
			if s.nodes[i] == n {
				s.nodes[i] = s.maker[name]
			}
		}
		return
	}
	s.consts[name] = t
}

// constant returns a constant's tensor, nil for what is none.
func (s *stepper) constant(name string) *onnxio.Tensor {
	if t := s.consts[name]; t != nil {
		return t
	}
	if n := s.maker[name]; n != nil {
		return onnxio.ConstantOf(n)
	}
	return nil
}

// value returns a value that has been computed.
func (s *stepper) value(name string) (Array, error) {
	v, ok := s.values[name]
	if !ok {
		return v, fmt.Errorf("value %q was not computed", name)
	}
	return v, nil
}
