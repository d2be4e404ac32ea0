package op

import (
	"fmt"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Call is one node as its rule sees it.
type Call struct {
	*Analyzer
	Node       *onnxio.Node
	Index      int
	Version    int64    // of the operator set
	In         []*Value // nil where an optional input is left out
	Out        []*Value
	shapeIn    inputSet    // inputs that hold shapes, indices or bounds and are adapted when axes are cut
	Pins       inputSet    // inputs that keep their original contents when axes are cut
	selections []selection // axes of inputs that are picked from
	Derived    bool        // stands for a part of another call; its inputs are not the node's
	MACs       *MACs
	why        int32
	Blind      bool // the rule could not read the node: all its inputs are kept whole, so nothing of it is patched
}

// inputSet is a set of a node's inputs by their number.
type inputSet struct {
	low  uint64
	high map[int]bool // from 64 on
}

// Has reports whether input i is in the set.
func (s *inputSet) Has(i int) bool {
	if i < 64 {
		return s.low>>i&1 != 0
	}
	return s.high[i]
}

func (s *inputSet) set(i int, on bool) {
	switch {
	case i >= 64:
		if s.high == nil {
			s.high = map[int]bool{}
		}
		s.high[i] = on
	case on:
		s.low |= 1 << i
	default:
		s.low &^= 1 << i
	}
}

// MACs is the cost of a node: fixed times the number of surviving positions on each axis.
type MACs struct {
	Fixed int64
	Axes  []CostAxis
	Kind  workKind
}

// workKind tells the products of a node apart by who counts them.
type workKind int8

const (
	plainWork   workKind = iota // convolutions and matrices of floating-point numbers
	integerWork                 // products of quantised numbers
	FusedWork                   // attention, recurrent layers and whatever else multiplies
	HiddenWork                  // inside a function or a branch, which static shape inference does not look into
)

// work is the kind of the node's products.
func (c *Call) work() workKind {
	switch o := c.Like(); {
	case c.Bodies[c.Node]:
		return HiddenWork
	case o.Operands != "":
		return integerWork
	case o.Static.Counts != notCounted && c.Node.Domain != Microsoft:
		return plainWork
	}
	return FusedWork
}

// CostAxis is one axis that a node's cost is multiplied by: its labels, nil where it is not
// followed, and its length.
type CostAxis struct {
	Labels []label.Label
	Size   int64
}

// Name is what the node is called in reasons: its name, its first output, or its number.
func (c *Call) Name() string {
	if c.Node.Name != "" {
		return c.Node.Name
	}
	if len(c.Node.Outputs) > 0 {
		return c.Node.Outputs[0]
	}
	return fmt.Sprintf("#%d", c.Index)
}

// because registers a reason of this node.
func (c *Call) because(format string, args ...any) int32 {
	return c.Labels.Reason(label.Reason{Node: c.Name(), Op: c.Node.OpType, Text: fmt.Sprintf(format, args...)})
}

// met is the reason for what gets frozen because it is coupled with something that cannot be cut.
func (c *Call) met() int32 {
	if c.why == 0 {
		c.why = c.because("couples it with an axis that cannot be pruned")
	}
	return c.why
}

// Input returns input i, nil where the node leaves it out.
func (c *Call) Input(i int) *Value {
	if i >= len(c.In) {
		return nil
	}
	return c.In[i]
}

// Result is output i, a value that nothing reads where the model does not want it.
func (c *Call) Result(i int) *Value {
	if i >= len(c.Out) || c.Out[i] == nil {
		return &Value{}
	}
	return c.Out[i]
}

// axis returns the labels of an axis: nil where it is untracked or v does not have it, fresh ones
// where a constant's axis is used for the first time.
func (c *Call) axis(v *Value, k int) []label.Label {
	if !v.Has(k) {
		return nil
	}
	if v.Const == nil {
		if v.Axes == nil {
			return nil
		}
		return v.Axes[k]
	}
	if v.Const.Axes[k] == nil {
		if v.Type == onnxio.Int64 || v.Type == onnxio.Int32 || v.Type == onnxio.Bool {
			v.Const.Axes[k] = make([]label.Label, v.Shape[k].N) // shapes and indices: nothing that is pruned
		} else {
			v.Const.Axes[k] = c.Labels.Fresh(int(v.Shape[k].N))
		}
	}
	return v.Const.Axes[k]
}

// join makes axis k of v equal to labels (nil: not cut), which are frozen where v does not have
// that axis.
func (c *Call) join(v *Value, k int, to []label.Label) {
	if !v.Has(k) {
		c.Labels.FreezeAll(to, c.met())
		return
	}
	if v.Const != nil && v.Const.Axes[k] == nil {
		if to == nil || int64(len(to)) != v.Shape[k].N {
			c.Labels.FreezeAll(to, c.met())
			to = make([]label.Label, v.Shape[k].N)
		}
		v.Const.Axes[k] = to
		c.Labels.OneFactor(to)
		return
	}
	c.joinLabels(c.axis(v, k), to)
}

// along joins a vector that is added to or scales labelled positions, or is left out; one that is
// not known to be a vector keeps them whole.
func (c *Call) along(v *Value, to []label.Label) {
	switch {
	case v == nil:
	case len(v.Shape) == 1:
		c.join(v, 0, to)
	case c.alive(to):
		c.Labels.FreezeAll(to, c.because("%q is not known to be a vector along these channels", v.Name))
	}
}

func (c *Call) joinLabels(a, b []label.Label) {
	switch {
	case a == nil && b == nil:
	case a == nil || b == nil || len(a) != len(b):
		c.Labels.FreezeAll(a, c.met())
		c.Labels.FreezeAll(b, c.met())
	default:
		c.Labels.JoinAxes(a, b, c.met())
	}
}

// link makes two axes equal.
func (c *Call) link(v *Value, k int, w *Value, j int) {
	if !v.Has(k) || !w.Has(j) {
		c.joinLabels(c.axis(v, k), c.axis(w, j))
		return
	}
	if v.Const != nil && v.Const.Axes[k] == nil && w.Const == nil {
		c.join(v, k, c.axis(w, j))
		return
	}
	if w.Const != nil && w.Const.Axes[j] == nil {
		c.join(w, j, c.axis(v, k))
		return
	}
	c.joinLabels(c.axis(v, k), c.axis(w, j))
}

// freeze keeps one axis whole, if v has it.
func (c *Call) freeze(v *Value, k int, format string, args ...any) {
	if !v.Has(k) {
		return
	}
	if v.Const != nil && v.Const.Axes[k] == nil {
		v.Const.Axes[k] = make([]label.Label, v.Shape[k].N)
		return
	}
	if a := c.axis(v, k); c.alive(a) {
		c.Labels.FreezeAll(a, c.because(format, args...))
	}
}

// alive reports whether anything on the axis can still be cut.
func (c *Call) alive(a []label.Label) bool {
	for _, x := range a {
		if c.Labels.Norm(x) != 0 {
			return true
		}
	}
	return false
}

// freezeValue keeps all axes of a value whole.
func (c *Call) freezeValue(v *Value, format string, args ...any) {
	if v == nil {
		return
	}
	for k := range v.Shape {
		c.freeze(v, k, format, args...)
	}
	c.freezeTaint(v, format, args...)
	for _, item := range v.seq {
		c.freezeValue(item, format, args...)
	}
}

// freezeTaint keeps whole every axis from whose length the value was computed.
func (c *Call) freezeTaint(v *Value, format string, args ...any) {
	for _, e := range v.Elements {
		for _, a := range e.taint {
			if c.alive(a) {
				c.Labels.FreezeAll(a, c.because(format, args...))
			}
		}
	}
}

// role notes what an axis of a constant is to this node.
func (c *Call) role(v *Value, k int, r Role) {
	if v == nil {
		return
	}
	source, axis := c.Origin(v, k)
	if source == nil || source.Roles[axis] != Other {
		return
	}
	source.Roles[axis] = r
	if source.Order < 0 {
		source.Order = c.Index
	}
}

// Origin follows a value through Transpose, Cast, Identity and Unsqueeze or Squeeze to the constant
// it is computed from, and the axis to that constant's.
func (c *Call) Origin(v *Value, k int) (*Constant, int) {
	if v.Const != nil && v.Has(k) {
		return v.Const, k
	}
	t, ok := c.traces[v]
	if !ok || k < 0 || k >= len(t.perm) || t.perm[k] < 0 {
		return nil, 0
	}
	return t.source, t.perm[k]
}

// trace says which constant a computed weight is a view of, and which of its axes each axis is (-1:
// none).
type trace struct {
	source *Constant
	perm   []int
}

// view records that output is a view of input whose axis k is the input's axis perm[k].
func (c *Call) view(output, input *Value, perm []int) {
	out := make([]int, len(perm))
	var source *Constant
	for k, j := range perm {
		out[k] = -1
		if j < 0 {
			continue
		}
		if s, a := c.Origin(input, j); s != nil {
			source, out[k] = s, a
		}
	}
	if source != nil {
		c.traces[output] = &trace{source, out}
	}
}

// set gives output i its type, shape and labels; axes may be nil or shorter than shape. Fewer
// outputs may be wanted than the operator has.
func (c *Call) set(i int, t onnxio.DataType, shape []dim.Dim, axes ...[]label.Label) *Value {
	if i >= len(c.Out) || c.Out[i] == nil {
		return &Value{}
	}
	v := c.Out[i]
	for k, d := range shape {
		if d.IsNum() && d.N < 0 {
			c.fail(fmt.Errorf("output %q would have %d positions on axis %d", v.Name, d.N, k))
			shape[k] = dim.Num(0)
		}
	}
	v.Type, v.Ranked, v.Shape = t, true, shape
	v.Axes = make([][]label.Label, len(shape))
	for k, a := range axes {
		if k >= len(shape) {
			break
		}
		if a != nil && !(shape[k].IsNum() && int(shape[k].N) == len(a)) {
			c.Labels.FreezeAll(a, c.because("its output shape %v does not change with the removed channels", shape))
			a = nil
		}
		if len(a) > 0 && !c.affordable(a) {
			c.Labels.FreezeAll(a, c.because("the analysed axes have more than %d positions in total", maxLabels))
			a = nil
		}
		v.Axes[k] = a
	}
	return v
}

// unknown gives all outputs the shapes that the model declares and freezes the inputs.
func (c *Call) unknown(format string, args ...any) {
	c.Blind = true
	multiplies := c.Like().Multiply
	once := int64(0) // the least that it costs: once through the weights
	for _, v := range c.In {
		c.freezeValue(v, format, args...)
		if multiplies && v != nil && v.Const != nil && len(v.Shape) > 1 {
			once += c.Readings[v.Const.Tensor].Numbers(v.Const.Tensor, dim.Product(v.Shape).N)
		}
	}
	if once > 0 {
		c.cost(once)
	}
	for i, v := range c.Out {
		if v == nil {
			continue
		}
		if info := c.Infos[v.Name]; info != nil {
			if dims, ok := c.declared(info); ok {
				c.set(i, info.Type.Tensor.ElemType, dims)
			} else if info.Type != nil && info.Type.Tensor != nil {
				v.Type = info.Type.Tensor.ElemType
			}
		}
		v.zero = nonZero
	}
}

func (c *Call) attr(name string) *onnxio.Attribute {
	for _, a := range c.Node.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Int returns an integer attribute, def where the node does not give it.
func (c *Call) Int(name string, def int64) int64 {
	if a := c.attr(name); a != nil {
		return a.I
	}
	return def
}

func (c *Call) ints(name string) []int64 {
	if a := c.attr(name); a != nil {
		return a.Ints
	}
	return nil
}

func (c *Call) str(name, def string) string {
	if a := c.attr(name); a != nil {
		return string(a.S)
	}
	return def
}

func (c *Call) float(name string, def float64) float64 {
	if a := c.attr(name); a != nil {
		return float64(a.F)
	}
	return def
}

// ofRank gives an output whose shape is not known a rank.
func (c *Call) ofRank(i int, t onnxio.DataType, rank int) {
	if i >= len(c.Out) || c.Out[i] == nil || c.Out[i].Ranked || rank < 0 || rank > maxRank {
		return
	}
	shape := make([]dim.Dim, rank)
	for k := range shape {
		shape[k] = dim.Symbol("?" + c.outName(i) + "." + dim.Num(int64(k)).String())
	}
	c.set(i, t, shape).zero = nonZero
}

// maxRank bounds ranks that only a vector's length tells.
const maxRank = 64

// intsFrom reads integers from an attribute or, in newer operator sets, from an input that is known
// at analysis.
func (c *Call) intsFrom(name string, i int) (v []int64, given, known bool) {
	if a := c.attr(name); a != nil {
		return a.Ints, true, true
	}
	x := c.Input(i)
	if x == nil {
		return nil, false, true
	}
	c.shapeIn.set(i, true)
	v, known = x.ints()
	return v, true, known
}

// axisOfInput returns the first input and what the attribute axis, else def, means there; where
// that is not known the node is.
func (c *Call) axisOfInput(def int64) (x *Value, axis int, ok bool) {
	if x = c.Input(0); x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return x, 0, false
	}
	if axis, ok = NormAxis(c.Int("axis", def), len(x.Shape)); !ok {
		c.unknown("axis is out of range")
	}
	return x, axis, ok
}

// NormAxis turns a negative axis into its index; ok is false where it is out of range.
func NormAxis(axis int64, rank int) (int, bool) {
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), axis >= 0 && axis < int64(rank)
}

// fail stops the analysis: the model contradicts itself.
func (c *Call) fail(err error) {
	if c.Broken == nil {
		c.Broken = Malformed("graph.node[%d] %q (%s): %w", c.Index, c.Node.Name, c.Node.OpType, err)
	}
}
