package xla

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// value is a value of the model in a graph: a node in ONNX's layout, the same channels last, or a tensor that is known already.
type value struct {
	plain *Node
	last  *Node // [N, H, W, C] of a value [N, C, H, W]
	known *tensors.Tensor
}

// env is one graph being built.
type env struct {
	p       *Program
	g       *Graph
	backend *Backend
	train   bool             // BatchNormalization by the batch's statistics
	half    bool             // products in bfloat16
	params  map[string]*Node // by name
	stats   map[string]*Node // new running statistics by parameter name
	batch   int              // images in this graph, 0 where unknown
	fixed   int              // the batch that the model declares, 0 for a free one
	taps    map[string]*Node // named values that a caller wants to see
	want    map[string]bool
}

// scope is a (sub)graph's names.
type scope struct {
	values map[string]*value
	outer  *scope
	consts map[string]*onnxio.Tensor
	bind   map[string]*onnxio.Attribute // of the function being inlined
}

func (s *scope) find(name string) *value {
	for ; s != nil; s = s.outer {
		if v := s.values[name]; v != nil {
			return v
		}
	}
	return nil
}

func fail(path, format string, args ...any) {
	panic(&failure{&onnxio.UnsupportedError{Path: path, What: fmt.Sprintf(format, args...)}})
}

func plain(n *Node) *value           { return &value{plain: n} }
func channelsLast(n *Node) *value    { return &value{last: n} }
func known(t *tensors.Tensor) *value { return &value{known: t} }

func knownInts(v []int) *value {
	w := make([]int64, len(v))
	for i, x := range v {
		w[i] = int64(x)
	}
	return known(tensors.FromFlatDataAndDimensions(w, len(w)))
}

// node returns the value in ONNX's layout.
func (e *env) node(v *value) *Node {
	switch {
	case v == nil:
		return nil
	case v.plain != nil:
	case v.last != nil:
		v.plain = TransposeAllAxes(v.last, 0, 3, 1, 2)
	default:
		v.plain = ConstTensor(e.g, v.known)
	}
	return v.plain
}

// nhwc returns a value of rank 4 channels last.
func (e *env) nhwc(v *value) *Node {
	if v.last == nil {
		v.last = TransposeAllAxes(e.node(v), 0, 2, 3, 1)
	}
	return v.last
}

// only reports whether the value is held channels last and in no other way.
func (v *value) only() bool { return v != nil && v.last != nil && v.plain == nil && v.known == nil }

// dims are the value's dims in ONNX's layout.
func (v *value) dims() []int {
	switch {
	case v.plain != nil:
		return v.plain.Shape().Dimensions
	case v.known != nil:
		return v.known.Shape().Dimensions
	}
	d := v.last.Shape().Dimensions
	return []int{d[0], d[3], d[1], d[2]}
}

// each applies an element-wise function in the layout that the value has.
func (e *env) each(v *value, f func(*Node) *Node) *value {
	if v.only() {
		return channelsLast(f(v.last))
	}
	return plain(f(e.node(v)))
}

// lastOf returns an operand of a channels-last sum or product: rank 4 is transposed, less is aligned first.
func (e *env) lastOf(v *value) *Node {
	if v.last != nil {
		return v.last
	}
	n := e.node(v)
	if n.Rank() == 0 || n.Shape().Size() == 1 {
		return Reshape(n)
	}
	return TransposeAllAxes(ExpandLeftToRank(n, 4), 0, 2, 3, 1)
}

// both applies a broadcasting function of two operands.
func (e *env) both(a, b *value, f func(x, y *Node) *Node) *value {
	if (a.only() || b.only()) && len(a.dims()) <= 4 && len(b.dims()) <= 4 {
		return channelsLast(f(e.lastOf(a), e.lastOf(b)))
	}
	x, y := aligned(e.node(a), e.node(b))
	return plain(f(x, y))
}

// aligned brings two operands to one rank, as ONNX's broadcasting does.
func aligned(x, y *Node) (*Node, *Node) {
	r := max(x.Rank(), y.Rank())
	if x.Rank() > 0 && x.Rank() < r {
		x = ExpandLeftToRank(x, r)
	}
	if y.Rank() > 0 && y.Rank() < r {
		y = ExpandLeftToRank(y, r)
	}
	return x, y
}

// nodeOp is one node with what a rule needs to know about it.
type nodeOp struct {
	*onnxio.Node
	e     *env
	s     *scope
	at    string // for messages
	since int64  // opset of its domain
	in    []*value
}

func (o *nodeOp) fail(format string, args ...any) { fail(o.at, format, args...) }

// attr returns an attribute, looking through the function that is being inlined.
func (o *nodeOp) attr(name string) *onnxio.Attribute {
	a := attrNamed(o.Node, name)
	if a != nil && a.RefName != "" {
		return o.s.bind[a.RefName]
	}
	return a
}

func (o *nodeOp) intOr(name string, d int) int {
	if a := o.attr(name); a != nil {
		return int(a.I)
	}
	return d
}

func (o *nodeOp) floatOr(name string, d float64) float64 {
	if a := o.attr(name); a != nil {
		return float64(a.F)
	}
	return d
}

func (o *nodeOp) textOr(name, d string) string {
	if a := o.attr(name); a != nil {
		return string(a.S)
	}
	return d
}

func (o *nodeOp) intsOr(name string, d []int) []int {
	a := o.attr(name)
	if a == nil {
		return d
	}
	return toIntsOf(a.Ints)
}

func toIntsOf(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// has reports whether input i is there.
func (o *nodeOp) has(i int) bool { return i < len(o.in) && o.in[i] != nil }

// x returns input i in ONNX's layout.
func (o *nodeOp) x(i int) *Node {
	if !o.has(i) {
		o.fail("input %d is missing", i)
	}
	return o.e.node(o.in[i])
}

// ints returns input i, which has to be known while the graph is built.
func (o *nodeOp) ints(i int) []int {
	if !o.has(i) || o.in[i].known == nil {
		o.fail("input %d depends on the data; this backend needs a shape or a constant", i)
	}
	v, ok := ints(o.in[i].known)
	if !ok {
		o.fail("input %d is no integer tensor", i)
	}
	return v
}

// intsAt returns input i, or the attribute that older opsets have instead, or nil.
func (o *nodeOp) intsAt(i int, name string) []int {
	if o.has(i) {
		return o.ints(i)
	}
	return o.intsOr(name, nil)
}

// scalar returns a number from input i that has to be known.
func (o *nodeOp) scalar(i int) float64 {
	if !o.has(i) || o.in[i].known == nil {
		o.fail("input %d depends on the data; this backend needs a constant", i)
	}
	v := floats(o.in[i].known)
	if len(v) != 1 {
		o.fail("input %d: want one number, got %d", i, len(v))
	}
	return v[0]
}

// axis returns an axis attribute from 0 on.
func (o *nodeOp) axis(name string, d, rank int) int { return o.normal(o.intOr(name, d), rank) }

func (o *nodeOp) normal(a, rank int) int {
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= max(rank, 1) {
		o.fail("axis %d of a value with %d axes", a, rank)
	}
	return a
}

func (o *nodeOp) normals(axes []int, rank int) []int {
	out := slices.Clone(axes)
	for i := range out {
		out[i] = o.normal(out[i], rank)
	}
	return out
}

// parameter returns the name of the parameter that input i is, or "".
func (o *nodeOp) parameter(i int) string {
	if i < len(o.Inputs) && o.e.p != nil && o.e.p.index[o.Inputs[i]] != nil {
		return o.Inputs[i]
	}
	return ""
}
