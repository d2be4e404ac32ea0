package repair

import (
	"context"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// stepper runs a model piece by piece, so that constants may change between what has run and what has not.
type stepper struct {
	engine Engine
	model  *onnxio.Model
	nodes  []*onnxio.Node
	at     int    // nodes before this have run
	store  *store // values that have been computed
	consts map[string]*onnxio.Tensor
	maker  map[string]*onnxio.Node // of Constant nodes
	last   map[string]int          // the last node that reads a value; len(nodes) for outputs
	where  map[string]int          // the node that produces a value
	pinned map[string]bool         // values that are kept
	whole  bool                    // what is kept is never dropped
}

func newStepper(e Engine, m *onnxio.Model, inputs []map[string]Array, memory engine.Memory) *stepper {
	s := &stepper{engine: e, model: m, nodes: sorted(unfused(m, unshared(m.Graph))), store: newStore(inputs, memory), consts: map[string]*onnxio.Tensor{}, maker: map[string]*onnxio.Node{}, last: map[string]int{}, where: map[string]int{}, pinned: map[string]bool{}}
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

// keep makes a value outlive its readers, until release.
func (s *stepper) keep(name string) { s.pinned[name] = true }

// release forgets what was kept and no later node reads.
func (s *stepper) release() {
	if s.whole {
		return
	}
	for name := range s.pinned {
		if s.last[name] < s.at {
			s.store.drop(name)
		}
	}
	clear(s.pinned)
}

// needed reports whether a value is read from node to on, or kept.
func (s *stepper) needed(name string, to int) bool { return s.last[name] >= to || s.pinned[name] }

// piece are nodes that run one chunk after the other.
type piece struct {
	nodes    []*onnxio.Node
	reads    []string // from outside
	produces []string // what later nodes read
	dies     []string // what no later node reads
}

// piece is what runs up to node to.
func (s *stepper) piece(to int) *piece {
	p := &piece{nodes: s.nodes[s.at:to]}
	inside, seen := map[string]bool{}, map[string]bool{}
	for _, n := range p.nodes {
		for _, o := range n.Outputs {
			inside[o] = true
			if o != "" && s.needed(o, to) && s.maker[o] == nil {
				p.produces = append(p.produces, o)
			}
		}
	}
	for _, n := range p.nodes {
		for _, in := range reads(n) {
			if in != "" && !seen[in] && !inside[in] {
				seen[in] = true
				p.reads = append(p.reads, in)
			}
		}
	}
	for name := range s.store.values {
		if !s.needed(name, to) {
			p.dies = append(p.dies, name)
		}
	}
	return p
}

// advance runs the nodes before index to.
func (s *stepper) advance(ctx context.Context, to int) error {
	if to <= s.at {
		return nil
	}
	p := s.piece(to)
	s.at = to
	if len(p.produces) == 0 {
		for _, name := range p.dies {
			s.store.drop(name)
		}
		return nil
	}
	sessions := map[int]engine.Session{} // by length of the chunk
	defer func() {
		for _, e := range sessions {
			e.Close()
		}
	}()
	for i := range s.store.sizes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.chunk(ctx, p, i, sessions); err != nil {
			return err
		}
	}
	for _, name := range p.dies {
		s.store.drop(name)
	}
	return nil
}

// chunk runs a piece on one chunk.
func (s *stepper) chunk(ctx context.Context, p *piece, i int, sessions map[int]engine.Session) error {
	size := s.store.sizes[i]
	feeds := map[string]Array{}
	for _, name := range p.reads {
		if s.fed(name, size) {
			v, err := s.store.part(name, i)
			if err != nil {
				return err
			}
			feeds[name] = v
		}
	}
	run := sessions[size]
	if run == nil {
		var err error
		if run, err = engine.Compile(ctx, s.engine, s.build(p, i)); err != nil {
			return err
		}
		sessions[size] = run
	}
	out, err := run.Run(ctx, feeds)
	if err != nil {
		return err
	}
	for k, name := range p.produces {
		if err := s.store.put(name, i, out[k]); err != nil {
			return err
		}
	}
	for _, name := range p.dies {
		s.store.dropPart(name, i)
	}
	return nil
}

// fed reports whether a value is an input of pieces for chunks of a length. Integers that are the
// same in all of them are constants instead, since shapes may depend on them.
func (s *stepper) fed(name string, size int) bool {
	return s.constant(name) == nil && s.store.values[name] != nil && !s.store.fixed(name, size)
}

// build makes a piece a model for chunks like the i-th.
func (s *stepper) build(p *piece, i int) *onnxio.Model {
	g := &onnxio.Graph{Name: "piece"}
	for _, name := range p.reads {
		s.provide(g, name, i)
	}
	g.Nodes = append(g.Nodes, p.nodes...)
	for _, name := range p.produces {
		g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float}}})
	}
	return &onnxio.Model{IRVersion: max(s.model.IRVersion, 8), OpsetImport: s.model.OpsetImport, Functions: s.model.Functions, Graph: g}
}

// provide gives a piece a value from outside: a constant as it is, or an input.
func (s *stepper) provide(g *onnxio.Graph, name string, i int) {
	if t := s.consts[name]; t != nil {
		g.Initializers = append(g.Initializers, t)
		return
	}
	if n := s.maker[name]; n != nil {
		g.Nodes = append([]*onnxio.Node{n}, g.Nodes...)
		return
	}
	if s.store.values[name] == nil {
		return // a subgraph's own name
	}
	v := s.store.like(name, i)
	if !s.fed(name, s.store.sizes[i]) {
		g.Initializers = append(g.Initializers, tensorOf(name, v))
		return
	}
	shape := &onnxio.Shape{}
	for _, d := range v.SampleDims() {
		shape.Dims = append(shape.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	g.Inputs = append(g.Inputs, &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: kindOf(v), Shape: shape}}})
}

// kindOf is the element type of a value in the model; its reals are float32 here, whatever they are there.
func kindOf(v Array) onnxio.DataType {
	if v.Ints != nil || v.Type == onnxio.Double || v.Type == onnxio.Float16 || v.Type == onnxio.BFloat16 {
		return v.Type
	}
	return onnxio.Float
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
		t.DataType = kindOf(v)
		_ = t.SetFloat32s(v.Floats) // knows all that kindOf returns
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
