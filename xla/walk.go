package xla

import (
	"errors"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// rule builds what a node computes; one value per output.
type rule func(o *nodeOp) []*value

// rules of the operators that are built here, by domain and name.
var rules = map[string]rule{}

func register(names []string, r rule) {
	for _, n := range names {
		rules[n] = r
	}
}

// one makes a rule of a function with one result.
func one(f func(o *nodeOp) *value) rule {
	return func(o *nodeOp) []*value { return []*value{f(o)} }
}

// maxFold bounds the elements of values that are evaluated while a graph is built.
const maxFold = 1 << 22

// run builds the graph's outputs from its inputs.
func (e *env) run(inputs map[string]*Node) []*Node {
	s := e.scope(inputs)
	e.nodes(s, e.p.Model.Graph.Nodes, "graph")
	out := make([]*Node, len(e.p.Outputs))
	for i, name := range e.p.Outputs {
		v := e.lookup(s, name)
		if v == nil {
			fail(fmt.Sprintf("output %q", name), "a value that nothing produces")
		}
		out[i] = e.node(v)
	}
	return out
}

// scope is the names that are there before the first node.
func (e *env) scope(inputs map[string]*Node) *scope {
	s := &scope{values: map[string]*value{}, consts: e.p.consts}
	for name, n := range inputs {
		s.values[name] = plain(n)
	}
	for name, n := range e.params {
		s.values[name] = plain(n)
	}
	return s
}

// lookup finds a name; constants are read when they are first asked for.
func (e *env) lookup(s *scope, name string) *value {
	if v := s.find(name); v != nil {
		return v
	}
	for c := s; c != nil; c = c.outer {
		if t := c.consts[name]; t != nil {
			a, err := readArray(t)
			if err != nil {
				panic(&failure{fmt.Errorf("%q: %w", name, err)})
			}
			v := known(a.tensor())
			c.values[name] = v
			return v
		}
	}
	return nil
}

func (e *env) nodes(s *scope, nodes []*onnxio.Node, path string) {
	for i, n := range sorted(nodes) {
		e.build(s, n, fmt.Sprintf("%s.node[%d] %q (%s)", path, i, n.Name, n.OpType))
	}
}

func (e *env) build(s *scope, n *onnxio.Node, at string) {
	defer located(at)
	done := true
	for _, name := range n.Outputs {
		done = done && (name == "" || s.values[name] != nil)
	}
	if done {
		return // a parameter: an unshared copy or a Constant
	}
	o := &nodeOp{Node: n, e: e, s: s, at: at, since: 1}
	if e.p != nil {
		o.since = e.p.opset[domain(n.Domain)]
	}
	fold := true
	for i, name := range n.Inputs {
		var v *value
		if name != "" {
			if v = e.lookup(s, name); v == nil {
				fail(at, "input %d %q is a value that no node produces", i, name)
			}
			fold = fold && v.known != nil
		}
		o.in = append(o.in, v)
	}
	for i, v := range e.evaluate(o, fold && len(o.in) > 0) {
		if i < len(n.Outputs) && n.Outputs[i] != "" {
			s.values[n.Outputs[i]] = v
			if e.want[n.Outputs[i]] {
				e.taps[n.Outputs[i]] = e.node(v)
			}
		}
	}
}

// evaluate applies the node's rule, at once where all it reads is known.
func (e *env) evaluate(o *nodeOp, fold bool) []*value {
	if fold && foldable(o) {
		return e.fold(o)
	}
	if f := e.function(o.Node); f != nil {
		return e.inline(o, f)
	}
	if r := rules[key(o.Node)]; r != nil {
		return r(o)
	}
	return delegate(o)
}

func key(n *onnxio.Node) string {
	if d := domain(n.Domain); d != "" {
		return d + "." + n.OpType
	}
	return n.OpType
}

func foldable(o *nodeOp) bool {
	size := 0
	for _, v := range o.in {
		if v != nil {
			size += v.known.Shape().Size()
		}
	}
	for _, a := range o.Attributes {
		if len(a.Subgraphs()) > 0 {
			return false // a branch may capture what is not known
		}
	}
	return size <= maxFold && o.OpType != "Constant"
}

// fold runs a node on the pure-Go backend; its outputs are known.
func (e *env) fold(o *nodeOp) []*value {
	b, err := folder()
	if err != nil {
		panic(&failure{err})
	}
	result := make([]*value, max(len(o.Outputs), 1))
	var at []int
	outs, err := CallOnceN(b.Backend, func(g *Graph) []*Node {
		inner := &env{p: e.p, g: g, backend: b}
		twin := *o
		twin.e, twin.in = inner, make([]*value, len(o.in))
		for i, v := range o.in {
			if v != nil {
				twin.in[i] = known(v.known)
			}
		}
		var nodes []*Node
		for i, v := range inner.evaluate(&twin, false) {
			if i >= len(result) {
				continue
			}
			if v.known != nil {
				result[i] = v
				continue
			}
			at, nodes = append(at, i), append(nodes, inner.node(v))
		}
		if len(nodes) == 0 {
			nodes = append(nodes, Const(g, float32(0)))
		}
		return nodes
	})
	if err != nil {
		var f *failure
		if errors.As(err, &f) {
			panic(f)
		}
		panic(&failure{fmt.Errorf("%s: %w", o.at, Wrap(err))})
	}
	for i, k := range at {
		result[k] = known(outs[i])
	}
	return result
}

// folder is the backend on which constants are evaluated.
func folder() (*Backend, error) { return Open(Go) }

// function returns the model-local function that a node calls, or nil.
func (e *env) function(n *onnxio.Node) *onnxio.Function {
	if e.p == nil {
		return nil
	}
	for _, f := range e.p.Model.Functions {
		if f.Name == n.OpType && domain(f.Domain) == domain(n.Domain) && f.Overload == n.Overload {
			return f
		}
	}
	return nil
}

// inline builds a function's body in a scope of its own.
func (e *env) inline(o *nodeOp, f *onnxio.Function) []*value {
	s := &scope{values: map[string]*value{}, bind: map[string]*onnxio.Attribute{}}
	for i, name := range f.Inputs {
		if o.has(i) {
			s.values[name] = o.in[i]
		}
	}
	for _, d := range f.Defaults {
		s.bind[d.Name] = d
	}
	for _, a := range o.Attributes {
		s.bind[a.Name] = o.attr(a.Name)
	}
	e.nodes(s, f.Nodes, o.at)
	return e.collect(s, f.Outputs, o.at)
}

func (e *env) collect(s *scope, names []string, at string) []*value {
	var out []*value
	for _, name := range names {
		v := e.lookup(s, name)
		if v == nil {
			fail(at, "output %q is a value that no node produces", name)
		}
		out = append(out, v)
	}
	return out
}

// sorted returns nodes in an order in which everything is produced before it is read; most files are sorted already.
func sorted(nodes []*onnxio.Node) []*onnxio.Node {
	maker := map[string]int{}
	for i, n := range nodes {
		for _, o := range n.Outputs {
			maker[o] = i
		}
	}
	state := make([]int8, len(nodes))
	out := make([]*onnxio.Node, 0, len(nodes))
	var visit func(i int)
	visit = func(i int) {
		if state[i] != 0 {
			return
		}
		state[i] = 1
		for _, in := range nodes[i].Inputs {
			if k, ok := maker[in]; ok && in != "" {
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

func init() {
	register([]string{"Constant"}, one(func(o *nodeOp) *value {
		for _, a := range o.Attributes {
			a = o.attr(a.Name)
			switch {
			case a == nil:
			case a.T != nil:
				arr, err := readArray(a.T)
				if err != nil {
					panic(&failure{fmt.Errorf("%s: %w", o.at, err)})
				}
				return known(arr.tensor())
			case a.Type == onnxio.AttrInt:
				return known(tensors.FromScalar(a.I))
			case a.Type == onnxio.AttrFloat:
				return known(tensors.FromScalar(a.F))
			case a.Type == onnxio.AttrInts:
				return known(tensors.FromFlatDataAndDimensions(a.Ints, len(a.Ints)))
			case a.Type == onnxio.AttrFloats:
				return known(tensors.FromFlatDataAndDimensions(a.Floats, len(a.Floats)))
			}
		}
		o.fail("a constant of this kind")
		return nil
	}))
	register([]string{"If"}, func(o *nodeOp) []*value {
		if !o.has(0) || o.in[0].known == nil {
			o.fail("a condition that depends on the data")
		}
		name := "else_branch"
		if c, _ := ints(o.in[0].known); c[0] != 0 {
			name = "then_branch"
		}
		a := o.attr(name)
		if a == nil || a.G == nil {
			o.fail("no %s", name)
		}
		s := &scope{values: map[string]*value{}, outer: o.s, consts: map[string]*onnxio.Tensor{}, bind: o.s.bind}
		for _, t := range a.G.Initializers {
			s.consts[t.Name] = t
		}
		o.e.nodes(s, a.G.Nodes, o.at+"."+name)
		var names []string
		for _, out := range a.G.Outputs {
			names = append(names, out.Name)
		}
		return o.e.collect(s, names, o.at)
	})
}
