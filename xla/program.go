package xla

import (
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Kind says what training does with a constant of the model.
type Kind int

// Kinds of parameters.
const (
	Fixed     Kind = iota // stays as it is
	Weight                // trained, and decays
	Vector                // trained, does not decay: biases and normalisations
	Statistic             // running mean or variance of a BatchNormalization
)

// Param is a constant of the model that the program takes as an argument.
type Param struct {
	Name   string // the value's name in the model
	Dims   []int
	Kind   Kind
	Norm   bool           // scale or bias of a normalisation
	tensor *onnxio.Tensor // where it stands
	node   int            // index of the Constant or Identity node, -1 for an initializer
	copyOf string         // initializer that an Identity copies
}

// Size is the number of elements.
func (p *Param) Size() int { return product(p.Dims) }

// Trained reports whether training changes the parameter.
func (p *Param) Trained() bool { return p.Kind == Weight || p.Kind == Vector }

// Input is an input of the model that is no constant; unknown and named dims are -1.
type Input struct {
	Name string
	Dims []int
	Type onnxio.DataType
}

// Program is an ONNX model as a builder of GoMLX graphs.
type Program struct {
	Model   *onnxio.Model
	Inputs  []Input
	Outputs []string
	Params  []*Param // in the order of the first use

	index  map[string]*Param
	consts map[string]*onnxio.Tensor // what is known while a graph is built
	opset  map[string]int64
}

// maxInline is the number of elements up to which a constant that is not trained is written into the graph.
const maxInline = 4096

// Load prepares a model. It fails on models whose constants cannot be read; operators are looked at when a graph is built.
func Load(m *onnxio.Model) (*Program, error) {
	p := &Program{Model: m, index: map[string]*Param{}, consts: map[string]*onnxio.Tensor{}, opset: map[string]int64{}}
	for _, o := range m.OpsetImport {
		p.opset[domain(o.Domain)] = o.Version
	}
	if len(m.Graph.SparseInitializers) > 0 {
		return nil, &onnxio.UnsupportedError{Path: "graph.sparse_initializer", What: "running sparse initializers"}
	}
	found := p.constants()
	var err error
	if p.Inputs, err = InputsOf(m); err != nil {
		return nil, err
	}
	for _, o := range m.Graph.Outputs {
		p.Outputs = append(p.Outputs, o.Name)
	}
	if err := p.assign(found); err != nil {
		return nil, err
	}
	return p, nil
}

// Fix makes an input a constant, so that shapes may depend on it.
func (p *Program) Fix(name string, t *onnxio.Tensor) {
	for i, in := range p.Inputs {
		if in.Name == name {
			p.Inputs = slices.Delete(p.Inputs, i, i+1)
			p.consts[name] = t
			return
		}
	}
}

func domain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// InputsOf lists the inputs of a model that are not initializers, as a Program has them. It looks at nothing else of the model.
func InputsOf(m *onnxio.Model) ([]Input, error) {
	constant := map[string]bool{}
	for _, t := range m.Graph.Initializers {
		constant[t.Name] = true
	}
	var out []Input
	for _, v := range m.Graph.Inputs {
		if constant[v.Name] {
			continue
		}
		in, err := input(v)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

func input(v *onnxio.ValueInfo) (Input, error) {
	in := Input{Name: v.Name}
	if v.Type == nil || v.Type.Tensor == nil || v.Type.Tensor.Shape == nil {
		return in, &onnxio.UnsupportedError{Path: fmt.Sprintf("input %q", v.Name), What: "anything but a tensor of known rank"}
	}
	in.Type = v.Type.Tensor.ElemType
	for _, d := range v.Type.Tensor.Shape.Dims {
		n := -1
		if d.HasValue && d.Value >= 0 {
			n = int(d.Value)
		}
		in.Dims = append(in.Dims, n)
	}
	return in, nil
}

// constants collects initializers, Constant nodes and Identity copies of vectors (which exporters leave where two tensors happened to be equal).
func (p *Program) constants() map[string]*Param {
	found := map[string]*Param{}
	g := p.Model.Graph
	for _, t := range g.Initializers {
		found[t.Name] = &Param{Name: t.Name, Dims: dimsOf(t), tensor: t, node: -1}
	}
	for i, n := range g.Nodes {
		switch {
		case n.OpType == "Constant" && domain(n.Domain) == "" && len(n.Outputs) == 1:
			if a := attrNamed(n, "value"); a != nil && a.T != nil {
				found[n.Outputs[0]] = &Param{Name: n.Outputs[0], Dims: dimsOf(a.T), tensor: a.T, node: i}
			}
		case n.OpType == "Identity" && len(n.Inputs) == 1 && len(n.Outputs) == 1:
			if c := found[n.Inputs[0]]; c != nil && len(c.Dims) <= 1 {
				twin := *c
				twin.Name, twin.node, twin.copyOf = n.Outputs[0], i, n.Inputs[0]
				found[n.Outputs[0]] = &twin
			}
		}
	}
	return found
}

func dimsOf(t *onnxio.Tensor) []int {
	d := make([]int, len(t.Dims))
	for i, n := range t.Dims {
		d[i] = int(n)
	}
	return d
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// assign decides what becomes an argument: what is trained, running statistics and what is large; the rest is known while a graph is built.
func (p *Program) assign(found map[string]*Param) error {
	roles := p.roles(found)
	captured := map[string]bool{}
	used := func(name string) error {
		c := found[name]
		if c == nil || p.index[name] != nil || p.consts[name] != nil {
			return nil
		}
		c.Kind = roles[name].kind
		c.Norm = roles[name].norm
		if !c.tensor.DataType.IsFloat() {
			c.Kind = Fixed
		}
		large := product(c.Dims) > maxInline && c.tensor.DataType != onnxio.Int64
		if c.Kind == Fixed && !large || captured[name] {
			c.Kind = Fixed
			p.consts[name] = c.tensor
			return nil
		}
		if _, err := c.tensor.Bytes(); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		p.index[name] = c
		p.Params = append(p.Params, c)
		return nil
	}
	for _, n := range p.Model.Graph.Nodes {
		for _, in := range n.Inputs {
			if err := used(in); err != nil {
				return err
			}
		}
		for _, a := range n.Attributes {
			for _, g := range a.Subgraphs() {
				for _, name := range captures(g) {
					if err := used(name); err != nil {
						return err
					}
				}
			}
		}
	}
	for _, o := range p.Outputs {
		if err := used(o); err != nil {
			return err
		}
	}
	return nil
}

// captures lists the names that a subgraph reads.
func captures(g *onnxio.Graph) []string {
	var out []string
	for _, n := range g.Nodes {
		out = append(out, n.Inputs...)
		for _, a := range n.Attributes {
			for _, s := range a.Subgraphs() {
				out = append(out, captures(s)...)
			}
		}
	}
	for _, o := range g.Outputs {
		out = append(out, o.Name)
	}
	return out
}

// Values returns the parameters' elements as float32, in the order of Params; other element types keep their bits behind Raw.
func (p *Program) Values() ([]Array, error) {
	out := make([]Array, len(p.Params))
	for i, c := range p.Params {
		a, err := readArray(c.tensor)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", c.Name, err)
		}
		out[i] = a
	}
	return out, nil
}

// WithValues returns the model with new values of parameters; nil entries and values that are the same in the tensor's own type leave their tensors alone. A copy that
// an Identity made gets a tensor of its own where it differs from its origin.
func (p *Program) WithValues(values [][]float32) (*onnxio.Model, error) {
	m, g := *p.Model, *p.Model.Graph
	g.Nodes, g.Initializers = slices.Clone(g.Nodes), slices.Clone(g.Initializers)
	m.Graph = &g
	at := map[string]int{}
	for i, t := range g.Initializers {
		at[t.Name] = i
	}
	fresh := map[string]*onnxio.Tensor{}
	for i, c := range p.Params {
		if values[i] == nil {
			continue
		}
		t, err := withFloats(c.tensor, c.Name, values[i])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", c.Name, err)
		}
		fresh[c.Name] = t
	}
	for _, c := range p.Params {
		t := fresh[c.Name]
		switch {
		case t == nil:
		case c.copyOf != "":
			origin := fresh[c.copyOf]
			if origin == nil {
				origin = c.tensor
			}
			if !sameBytes(origin, t) {
				g.Nodes[c.node] = onnxio.ConstantNode(c.Name, t)
			}
		case sameBytes(c.tensor, t):
		case c.node >= 0:
			g.Nodes[c.node] = onnxio.ConstantNode(c.Name, t)
		default:
			g.Initializers[at[c.Name]] = t
		}
	}
	keepCopies(&g, p, fresh)
	return &m, nil
}

// keepCopies gives Identity copies that are no parameters of their own the old tensor where their origin changed.
func keepCopies(g *onnxio.Graph, p *Program, fresh map[string]*onnxio.Tensor) {
	for i, n := range g.Nodes {
		if n.OpType != "Identity" || len(n.Inputs) != 1 || p.index[n.Outputs[0]] != nil {
			continue
		}
		origin := p.index[n.Inputs[0]]
		if origin == nil || len(origin.Dims) > 1 || p.consts[n.Outputs[0]] == nil {
			continue
		}
		if t := fresh[origin.Name]; t != nil && !sameBytes(origin.tensor, t) {
			g.Nodes[i] = onnxio.ConstantNode(n.Outputs[0], origin.tensor)
		}
	}
}

func sameBytes(x, y *onnxio.Tensor) bool {
	a, errA := x.Bytes()
	b, errB := y.Bytes()
	return errA == nil && errB == nil && string(a) == string(b)
}

// finite reports whether all values are numbers.
func finite(v []float32) bool {
	for _, x := range v {
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}
