package op

import (
	"math"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Activates: []string{}, Sign: neverBelow, Note: "element-wise, zero stays zero"}, "Relu")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Activates: []string{"alpha"}, Note: "element-wise, zero stays zero"}, "LeakyRelu")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Activates: []string{}, Note: "element-wise, zero stays zero"}, "Tanh")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Note: "element-wise, zero stays zero"}, "Elu", "Selu", "Celu", "Gelu", "Sin", "Tan", "Asin", "Atan", "Sinh", "Asinh", "Atanh", "Sign", "Erf", "HardSwish", "Mish", "Softsign", "Swish", "ThresholdedRelu")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Sign: neverBelow, Eval: &Eval{Unary: math.Abs, Symbolic: true}, Note: "element-wise, zero stays zero"}, "Abs")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Eval: &Eval{Unary: opposite, Negates: true}, Note: "element-wise, zero stays zero"}, "Neg")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Eval: &Eval{Unary: math.Floor, Symbolic: true}, Note: "element-wise, zero stays zero"}, "Floor")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Eval: &Eval{Unary: math.Ceil, Symbolic: true}, Note: "element-wise, zero stays zero"}, "Ceil")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Eval: &Eval{Unary: math.RoundToEven, Symbolic: true}, Note: "element-wise, zero stays zero"}, "Round")
	family(Op{Since: 1, Infer: unary(isZero), ElementWise: true, KeepsZero: true, Eval: &Eval{Unary: math.Sqrt, Symbolic: true}, Note: "element-wise, zero stays zero"}, "Sqrt")
	family(Op{Since: 1, Infer: unary(nonZero), ElementWise: true, Activates: []string{}, Sign: neverBelow, Note: "element-wise"}, "Sigmoid")
	family(Op{Since: 1, Infer: unary(nonZero), ElementWise: true, Activates: []string{"alpha", "beta"}, Sign: neverBelow, Note: "element-wise"}, "HardSigmoid")
	family(Op{Since: 1, Infer: unary(nonZero), ElementWise: true, Sign: neverBelow, Note: "element-wise"}, "Softplus")
	family(Op{Since: 1, Infer: unary(nonZero), ElementWise: true, Sign: neverBelow, Eval: &Eval{Unary: math.Exp}, Note: "element-wise"}, "Exp")
	family(Op{Since: 1, Infer: unary(nonZero), ElementWise: true, Note: "element-wise"}, "Cos", "Cosh", "Acos", "BitwiseNot", "Shrink", "IsNaN", "IsInf")
	family(Op{Since: 1, Infer: unary(nonZero), ElementWise: true, Eval: &Eval{Unary: complemented}, Note: "element-wise"}, "Not")
	family(Op{Since: 1, Infer: singular, ElementWise: true, Eval: &Eval{Unary: math.Log}, Note: "element-wise, not finite at zero"}, "Log")
	family(Op{Since: 1, Infer: singular, ElementWise: true, Eval: &Eval{Unary: inverted}, Note: "element-wise, not finite at zero"}, "Reciprocal")
	family(Op{Since: 1, Infer: singular, ElementWise: true, Note: "element-wise, not finite at zero"}, "Acosh")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Graph: GraphSum, Train: "*v", Sign: gathersSigns, Zero: zeroOfAll, Eval: sums, Static: Static{Contents: 14}, Note: "element-wise with broadcasting"}, "Add")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Graph: GraphSum, Zero: zeroOfAll, Eval: differences, Static: Static{Contents: 14}, Note: "element-wise with broadcasting"}, "Sub")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Graph: GraphProduct, Train: "*v", Sign: gathersSigns, Zero: zeroOfAny, Eval: multiples, Static: Static{Contents: 14}, Note: "element-wise with broadcasting"}, "Mul")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Graph: GraphProduct, Zero: zeroOfFirst, Eval: quotients, Note: "element-wise with broadcasting"}, "Div")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Zero: zeroOfBase, Eval: powers, Note: "element-wise with broadcasting"}, "Pow")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Zero: zeroOfFirst, Eval: remainders, Note: "element-wise with broadcasting"}, "Mod")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Zero: zeroOfAny, Eval: conjunctions, Note: "element-wise with broadcasting"}, "And")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Zero: zeroOfAll, Eval: disjunctions, Note: "element-wise with broadcasting"}, "Or")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Zero: zeroOfAll, Eval: exclusives, Note: "element-wise with broadcasting"}, "Xor")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Eval: equal, Note: "element-wise with broadcasting"}, "Equal")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Eval: less, Note: "element-wise with broadcasting"}, "Less")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Eval: greater, Note: "element-wise with broadcasting"}, "Greater")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Eval: lessOrEqual, Note: "element-wise with broadcasting"}, "LessOrEqual")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Truth: true, Eval: greaterOrEqual, Note: "element-wise with broadcasting"}, "GreaterOrEqual")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Variadic: true, Zero: zeroOfAll, Note: "element-wise with broadcasting"}, "Mean")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Zero: zeroOfAll, Note: "element-wise with broadcasting"}, "BitShift", "BitwiseOr", "BitwiseXor")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Zero: zeroOfAny, Note: "element-wise with broadcasting"}, "BitwiseAnd")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Variadic: true, Zero: zeroOfBounds, Eval: maxima, Note: "element-wise with broadcasting"}, "Max")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Variadic: true, Zero: zeroOfBounds, Eval: minima, Note: "element-wise with broadcasting"}, "Min")
	family(Op{Since: 1, Infer: broadcastOp, ElementWise: true, Variadic: true, Graph: GraphSum, Zero: zeroOfAll, Eval: sums, Note: "element-wise with broadcasting"}, "Sum")
	family(Op{Since: 1, Infer: where, ElementWise: true, Note: "element-wise with broadcasting"}, "Where")
	family(Op{Since: 1, Infer: prelu, ElementWise: true, Train: ".v", Note: "element-wise with broadcasting; slope is per channel"}, "PRelu")
	family(Op{Since: 1, Infer: clip, ElementWise: true, Activates: []string{"min", "max"}, Eval: symbolic, Note: "element-wise; bounds are scalars"}, "Clip")
	family(Op{Since: 1, Infer: dropout, AnyShape: true, MovesElements: true, Sign: keepsSign, Note: "passes its input on"}, "Dropout")
	family(Op{Since: 1, Infer: cast, AnyShape: true, View: true, Sign: keepsSign, Static: Static{Contents: 13, Typed: true}, Note: "passes its input on"}, "Cast")
	family(Op{Since: 1, Infer: cast, Note: "passes its input on"}, "CastLike", "BitCast")
	family(Op{Since: 1, Infer: identity, AnyShape: true, MovesElements: true, View: true, Sign: keepsSign, Note: "passes its input on; a copied vector gets labels of its own, a copied matrix remains tied"}, "Identity")
}

// same gives output i the shape and labels of v.
func (c *Call) same(i int, t onnxio.DataType, v *Value) *Value {
	if !v.Ranked {
		if i < len(c.Out) && c.Out[i] != nil {
			c.Out[i].Type, c.Out[i].zero = t, v.zero
			return c.Out[i]
		}
		return &Value{}
	}
	axes := make([][]label.Label, len(v.Shape))
	perm := make([]int, len(v.Shape))
	for k := range axes {
		axes[k], perm[k] = c.axis(v, k), k
	}
	out := c.set(i, t, v.Shape, axes...)
	out.zero = v.zero
	c.view(out, v, perm)
	return out
}

//go:noinline
func unary(state zeroState) func(c *Call) {
	return func(c *Call) {
		v, out := c.activation()
		if v == nil {
			return
		}
		if v.zero == isZero && state == nonZero && c.tracked(out) {
			out.zero = nonZero
		}
	}
}

// activation computes the first output from the first input, nil where the node has none.
func (c *Call) activation() (v, out *Value) {
	if v = c.Input(0); v == nil {
		c.unknown("has no input")
		return nil, nil
	}
	c.shapeIn.set(0, c.evalUnary(v))
	return v, c.pass(0, v)
}

// pass is same for activations; a constant's contents are not followed as a weight's.
func (c *Call) pass(i int, v *Value) *Value {
	var elems []Elem
	if i < len(c.Out) && c.Out[i] != nil {
		elems = c.Out[i].Elements
	}
	out := c.same(i, v.Type, v)
	out.Elements = elems
	return out
}

// tracked reports whether anything in v can be cut.
func (c *Call) tracked(v *Value) bool {
	for _, a := range v.Axes {
		if c.alive(a) {
			return true
		}
	}
	return false
}

func singular(c *Call) {
	v, out := c.activation()
	if v == nil {
		return
	}
	if v.zero != nonZero {
		for k := range v.Shape {
			c.freeze(v, k, "is not finite where a removed channel would be zero")
		}
	}
	out.zero = nonZero
}

func cast(c *Call) {
	v := c.Input(0)
	to := onnxio.DataType(c.Int("to", 0))
	if c.Node.OpType == "CastLike" {
		to = onnxio.Undefined
		if like := c.Input(1); like != nil {
			to = like.Type
			c.shapeIn.set(1, true)
		}
	}
	if v == nil {
		c.unknown("has no input")
		return
	}
	elems := castElems(v.Elements, to)
	c.shapeIn.set(0, elems != nil)
	out := c.same(0, to, v)
	out.Elements = elems
	out.mean = v.mean
}

func castElems(in []Elem, to onnxio.DataType) []Elem {
	if in == nil || !(to.IsFloat() || to.IsInteger()) {
		return nil
	}
	out := make([]Elem, len(in))
	for i, e := range in {
		switch {
		case to.IsFloat() && !e.IsFloat && e.open():
			if len(e.taint) > 0 {
				return nil
			}
			e.Float, e.IsFloat, e.length = math.NaN(), true, nil
		case to.IsInteger() && e.IsFloat && e.open() && !e.Int.IsNum():
			if strings.HasPrefix(e.Int.Sym, realPrefix) {
				e.Int = dim.Expression("int(" + e.Int.Sym + ")")
			}
			e.Float, e.IsFloat = 0, false
		case to.IsFloat() && !e.IsFloat:
			e.Float, e.IsFloat, e.length = float64(e.Int.N), true, nil
		case to.IsInteger() && e.IsFloat:
			if math.IsNaN(e.Float) || math.Abs(e.Float) > 1<<52 {
				return nil
			}
			e.Int, e.IsFloat = dim.Num(int64(e.Float)), false
		}
		out[i] = e
	}
	return out
}

func identity(c *Call) {
	v := c.Input(0)
	if v == nil {
		c.unknown("has no input")
		return
	}
	c.shapeIn.set(0, true)
	if v.Const != nil && !c.Concealed[c.Node] && len(c.Out) > 0 && c.Out[0] != nil {
		copied := constValue(c.Out[0].Name, v.Const.Tensor, c.Index)
		copied.Const.Copy = true
		if len(v.Shape) > 1 && v.Type.IsFloat() {
			for k := range v.Shape {
				copied.Const.Axes[k] = c.axis(v, k)
			}
			copied.Const.Tied = v.Const
		}
		*c.Out[0] = *copied
		return
	}
	out := c.same(0, v.Type, v)
	out.Elements, out.mean, out.seq = v.Elements, v.mean, v.seq
}

func dropout(c *Call) {
	v := c.Input(0)
	if v == nil {
		c.unknown("has no input")
		return
	}
	c.shapeIn.set(0, true)
	out := c.same(0, v.Type, v)
	out.Elements = v.Elements
	if len(c.Out) > 1 {
		c.same(1, onnxio.Bool, v).zero = nonZero
	}
}

func clip(c *Call) {
	v := c.Input(0)
	if v == nil {
		c.unknown("has no input")
		return
	}
	low, high := c.float("min", math.Inf(-1)), c.float("max", math.Inf(1))
	known := true
	for i, at := range []*float64{&low, &high} {
		if b := c.Input(i + 1); b != nil {
			c.freezeValue(b, "is a bound")
			f, ok := b.floats()
			if ok && len(f) == 1 {
				*at = f[0]
			} else {
				known = false
			}
		}
	}
	elems := clipped(v.Elements, low, high)
	if !known {
		elems = nil
	}
	out := c.pass(0, v)
	c.contents(out, elems)
	if c.tracked(out) && !(known && low <= 0 && high >= 0) {
		out.zero = nonZero
	}
}

func prelu(c *Call) {
	x := c.Input(0)
	if x == nil || c.Input(1) == nil {
		c.unknown("needs two inputs")
		return
	}
	out := c.broadcast([]*Value{x, c.Input(1)}, x.Type)
	if out != nil {
		out.zero = c.zeroed(x)
	}
}

func where(c *Call) {
	if len(c.In) < 3 || c.In[0] == nil || c.In[1] == nil || c.In[2] == nil {
		c.unknown("needs three inputs")
		return
	}
	elems := c.evalWhere()
	out := c.broadcast(c.In[:3], c.In[1].Type)
	if out == nil {
		return
	}
	c.contents(out, elems)
	out.zero = isZero
	for _, v := range c.In[1:3] {
		if c.zeroed(v) != isZero || !c.covers(v, out) {
			out.zero = nonZero
		}
	}
	if !c.tracked(out) {
		out.zero = isZero
	}
}

// contents gives an output its evaluated elements; then its inputs' contents are accounted for.
func (c *Call) contents(out *Value, elems []Elem) {
	out.Elements = elems
	if elems != nil {
		for i := range c.In {
			c.shapeIn.set(i, true)
		}
	}
}

// covers reports whether v is tracked on each axis on which out is, so that v has its own value at
// each removed position.
func (c *Call) covers(v, out *Value) bool {
	off := len(out.Shape) - len(v.Shape)
	for k, a := range out.Axes {
		if c.alive(a) && (k < off || (v.Shape[k-off] == dim.Num(1) && out.Shape[k] != dim.Num(1))) {
			return false
		}
	}
	return true
}

func broadcastOp(c *Call) {
	for _, v := range c.In {
		if v == nil {
			c.unknown("an input is missing")
			return
		}
	}
	if len(c.In) == 0 {
		c.unknown("has no input")
		return
	}
	if len(c.In) < 2 && !c.Op().Variadic {
		c.unknown("needs two inputs")
		return
	}
	t := c.In[0].Type
	if c.Op().Truth {
		t = onnxio.Bool
	}
	elems := c.evalBinary()
	out := c.broadcast(c.In, t)
	if out == nil {
		return
	}
	c.contents(out, elems)
	if c.Node.OpType == "Mul" && len(c.In) == 2 {
		c.scalesNorm(c.In[0], c.In[1])
		c.scalesNorm(c.In[1], c.In[0])
	}
	out.zero = c.binaryZero(out)
}

// scalesNorm notes that a constant scales what a normalisation that is written out gives, as the
// operator's own weight does.
func (c *Call) scalesNorm(w, x *Value) {
	if w.Const == nil || x.Const != nil || x.zero != centered {
		return
	}
	for k := range w.Shape {
		if w.Shape[k] != dim.Num(1) && c.alive(c.axis(w, k)) {
			c.role(w, k, Norm)
		}
	}
}

// binaryZero says what the result is where its channels are removed; it freezes what would not be
// finite there.
func (c *Call) binaryZero(out *Value) zeroState {
	if !c.tracked(out) {
		return isZero
	}
	zero := make([]bool, len(c.In))
	all, any := true, false
	for i, v := range c.In {
		zero[i] = c.zeroed(v) == isZero && c.covers(v, out)
		all, any = all && zero[i], any || zero[i]
	}
	if c.Node.OpType == "Div" {
		c.freezeDivisor(out)
	}
	switch c.Op().Zero {
	case zeroOfAny:
		if any {
			return isZero
		}
	case zeroOfFirst:
		if zero[0] {
			return isZero
		}
	case zeroOfBase:
		if e, ok := c.In[1].floats(); ok && zero[0] && len(e) == 1 && e[0] > 0 {
			return isZero
		}
	case zeroOfBounds:
		if c.boundedByZero(zero) {
			return isZero
		}
	case zeroOfAll:
		if all {
			return isZero
		}
	}
	return c.centering(out)
}

// freezeDivisor keeps whole the axes on which the divisor would be zero in a removed channel.
func (c *Call) freezeDivisor(out *Value) {
	d := c.In[1]
	off := len(out.Shape) - len(d.Shape)
	for k, a := range out.Axes {
		if k >= off && d.Shape[k-off] != dim.Num(1) && c.zeroed(d) != nonZero && c.alive(a) {
			c.Labels.FreezeAll(a, c.because("divides by a value that would be zero in a removed channel"))
		}
	}
}

// boundedByZero reports whether Max or Min of zeros and constants is zero.
func (c *Call) boundedByZero(zero []bool) bool {
	for i, v := range c.In {
		if zero[i] {
			continue
		}
		f, ok := v.floats()
		if !ok {
			return false
		}
		for _, x := range f {
			if (c.Node.OpType == "Max") == (x > 0) && x != 0 {
				return false
			}
		}
	}
	return true
}

// centering recognises a value minus its own mean over the tracked axis, and functions of such a
// value.
func (c *Call) centering(out *Value) zeroState {
	if len(c.In) != 2 {
		return nonZero
	}
	a, b := c.In[0], c.In[1]
	switch c.Node.OpType {
	case "Sub":
		if b.mean != nil && b.mean == a && c.zeroed(a) == isZero {
			return centered
		}
	case "Mul", "Div", "Pow":
		if a.zero == centered && c.covers(a, out) && (b == a || c.zeroed(b) != nonZero || !c.tracked(b) && c.zeroed(b) == b.zero) {
			return centered
		}
	}
	return nonZero
}

// broadcast gives output 0 the broadcast shape of the values and joins their axes; nil where a rank
// is unknown.
func (c *Call) broadcast(vs []*Value, t onnxio.DataType) *Value {
	rank := 0
	for _, v := range vs {
		if !v.Ranked {
			c.unknown("the rank of %q is unknown", v.Name)
			return nil
		}
		rank = max(rank, len(v.Shape))
	}
	shape, axes := make([]dim.Dim, rank), make([][]label.Label, rank)
	for k := range rank {
		shape[k], axes[k] = c.broadcastAxis(vs, k-rank)
	}
	return c.set(0, t, shape, axes...)
}

// broadcastAxis joins the values' axes at k (negative: from the right) and returns the result's dim
// and labels.
func (c *Call) broadcastAxis(vs []*Value, k int) (dim.Dim, []label.Label) {
	size := dim.Num(1)
	for _, v := range vs {
		if j := len(v.Shape) + k; j >= 0 && v.Shape[j] != dim.Num(1) && (size == dim.Num(1) || v.Shape[j].IsNum()) {
			size = v.Shape[j]
		}
	}
	var first *Value
	at := func(v *Value) int { return len(v.Shape) + k }
	takesPart := func(v *Value) bool { return at(v) >= 0 && (v.Shape[at(v)] != dim.Num(1) || size == dim.Num(1)) }
	for _, v := range vs {
		if takesPart(v) && (first == nil || first.Static && !v.Static || (first.Const != nil && v.Const == nil)) {
			first = v
		}
	}
	if first == nil {
		return size, nil
	}
	labels := c.axis(first, at(first))
	for _, v := range vs {
		if v != first && takesPart(v) {
			c.meet(v, at(v), labels)
		}
	}
	if !size.IsNum() || labels == nil || int64(len(labels)) != size.N {
		return size, nil
	}
	return size, labels
}
