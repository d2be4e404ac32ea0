package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Quantised operators. Integers represent real numbers, and the zero point represents zero: a
// removed channel that is zero holds the zero point. Constants hold the integer 0 where they are
// cut, so they stand for zero there only if
// their zero point is 0 or is removed with the channel; where neither factor of a product is zero,
// the channels that it sums over are kept.

func init() {
	for _, domain := range []string{"", Microsoft} {
		register(
			Op{Domain: domain, Name: "QuantizeLinear", Since: 1, Infer: quantize, Operands: "wss", Rounds: true, Note: "scale and zero point = the axis that they apply to"},
			Op{Domain: domain, Name: "DequantizeLinear", Since: 1, Infer: dequantize, Operands: "wss", Note: "scale and zero point = the axis that they apply to; weights keep their roles after it"},
		)
	}
	register(
		Op{Name: "DynamicQuantizeLinear", Since: 11, Infer: dynamicQuantize, Rounds: true, Sign: keepsSign, Note: "passes channels on that are zero when removed"},
		Op{Name: "QLinearConv", Since: 10, Infer: qlinearConv, Patch: patchGroup, Layer: &Layer{Weight: 3, Bias: 8, In: 1, Channel: 1, Groups: "group", XZero: 2, WeightZero: 5, OutZero: 7, Unfit: unfitIntegers}, Multiply: true, Operands: "wsswssssw", Sign: ofProduct, Static: Static{Counts: CountsOutput}, Note: "as Conv; scales and zero points of the weight = output channels"},
		Op{Name: "ConvInteger", Since: 10, Infer: convInteger, Patch: patchGroup, Layer: &Layer{Weight: 1, In: 1, Channel: 1, Groups: "group", XZero: 2, WeightZero: 3, Unfit: unfitIntegers}, Multiply: true, Operands: "wwss", Sign: ofProduct, Static: Static{Counts: CountsOutput}, Note: "as Conv; zero point of the weight = output channels"},
		Op{Name: "QLinearMatMul", Since: 10, Infer: qlinearMatMul, Layer: &Layer{Weight: 3, Out: 1, Channel: -1, XZero: 2, WeightZero: 5, OutZero: 7, Unfit: unfitIntegers}, Multiply: true, Operands: "wsswssss", Sign: ofProduct, Static: Static{Counts: CountsColumns}, Note: "as MatMul; scale and zero point of the second operand = its columns"},
		Op{Name: "MatMulInteger", Since: 10, Infer: matMulInteger, Layer: &Layer{Weight: 1, Out: 1, Channel: -1, XZero: 2, WeightZero: 3, Unfit: unfitIntegers}, Multiply: true, Operands: "wwss", Sign: ofProduct, Static: Static{Counts: CountsColumns}, Note: "as MatMul; zero point of the second operand = its columns"},
		Op{Domain: Microsoft, Name: "QGemm", Since: 1, Infer: qgemm, Layer: &Layer{Weight: 3, Bias: 6, Out: 1, Channel: -1, Transposed: "transB", Flipped: "transA", XZero: 2, WeightZero: 5, OutZero: 8, Unfit: unfitIntegers}, Multiply: true, Operands: "wsswsswss", Sign: ofProduct, Note: "as Gemm; scale and zero point of the second operand = its columns"},
		Op{Domain: Microsoft, Name: "MatMulIntegerToFloat", Since: 1, Infer: matMulIntegerToFloat, Layer: &Layer{Weight: 1, Bias: 6, Out: 1, Channel: -1, XZero: 4, WeightZero: 5, Unfit: unfitIntegers}, Multiply: true, Operands: "wwssssw", Sign: ofProduct, Note: "as MatMul; scale, zero point and bias = the columns"},
		Op{Domain: Microsoft, Name: "DynamicQuantizeMatMul", Since: 1, Infer: dynamicQuantizeMatMul, Layer: &Layer{Weight: 1, Bias: 4, Out: 1, Channel: -1, WeightZero: 3, Unfit: unfitIntegers}, Multiply: true, Operands: "wwssw", Rounds: true, Sign: ofProduct, Note: "as MatMul; scale, zero point and bias = the columns"},
		Op{Domain: Microsoft, Name: "QLinearAdd", Since: 1, Infer: qlinearBinary, Operands: "wsswssss", Note: "element-wise with broadcasting"},
		Op{Domain: Microsoft, Name: "QLinearMul", Since: 1, Infer: qlinearBinary, Operands: "wsswssss", Note: "element-wise with broadcasting"},
		Op{Domain: Microsoft, Name: "QLinearLeakyRelu", Since: 1, Infer: qlinearUnary, Operands: "wssss", Note: "element-wise, zero stays zero"},
		Op{Domain: Microsoft, Name: "QLinearSigmoid", Since: 1, Infer: qlinearUnary, Operands: "wssss", Note: "element-wise"},
		Op{Domain: Microsoft, Name: "QLinearAveragePool", Since: 1, Infer: qlinearPool(pool), Operands: "wssss", Note: "channels pass through"},
		Op{Domain: Microsoft, Name: "QLinearGlobalAveragePool", Since: 1, Infer: qlinearPool(globalPool), Operands: "wssss", Note: "channels pass through"},
		Op{Domain: Microsoft, Name: "QLinearConcat", Since: 1, Infer: qlinearConcat, Operands: "ss:wss", Note: "labels follow one another"},
		Op{Domain: Microsoft, Name: "QLinearSoftmax", Since: 1, Infer: qlinearSoftmax, Operands: "wssss", Note: "cannot be pruned on the normalised axis"},
	)
}

// with is the call with other inputs, for rules that share an operator's core.
func (c *Call) with(in ...*Value) *Call {
	d := *c
	d.In, d.Derived = in, true
	return &d
}

// finish takes over what a core has found out.
func (c *Call) finish(d *Call) {
	c.MACs, c.why, c.Blind = d.MACs, d.why, c.Blind || d.Blind
}

// point is the zero point that a value's integers are counted from; nil for 0.
func (c *Call) setPoint(v, zero *Value) {
	if v != nil && zero != nil {
		c.points[v] = zero
	}
}

// samePoint reports whether two zero points are equal; nil is 0.
func samePoint(a, b *Value) bool {
	if a == b {
		return true
	}
	return pointIs0(a) && pointIs0(b) || a != nil && b != nil && a.Type == b.Type && equalInts(a, b)
}

func equalInts(a, b *Value) bool {
	x, ok := a.ints()
	y, same := b.ints()
	return ok && same && slices.Equal(x, y)
}

// pointIs0 reports whether a zero point is left out or all zeros.
func pointIs0(v *Value) bool {
	if v == nil {
		return true
	}
	if v.Const == nil || !v.Type.IsInteger() {
		f, ok := v.floats()
		return ok && !slices.ContainsFunc(f, func(x float64) bool { return x != 0 })
	}
	ints, err := v.Const.Tensor.Int64s()
	return err == nil && !slices.ContainsFunc(ints, func(i int64) bool { return i != 0 })
}

// meansZero reports whether removed positions on the axes that can be cut represent zero, except on
// one axis that the zero point has too (-1: none).
func (c *Call) meansZero(v, zero *Value, own int) bool {
	if !c.stored(v) {
		return v.zero == isZero && samePoint(c.points[v], zero) || !c.aliveBut(v, own)
	}
	return pointIs0(zero) || !c.aliveBut(v, own)
}

// stored reports whether a value's integers are the file's, which a plan sets to the integer 0.
// Those that a QuantizeLinear makes of a constant are counted from its zero point.
func (c *Call) stored(v *Value) bool {
	return v.Const != nil || c.traces[v] != nil && c.points[v] == nil
}

// aliveBut reports whether anything can be cut on the axes of v other than own.
func (c *Call) aliveBut(v *Value, own int) bool {
	for k := range v.Shape {
		if k != own && c.alive(c.axis(v, k)) {
			return true
		}
	}
	return false
}

// track gives a constant of integers labels of its own, which those of 32 and 64 bits have nowhere
// else.
func (c *Call) track(v *Value) {
	if v == nil || v.Const == nil {
		return
	}
	for k, axis := range v.Const.Axes {
		if axis == nil {
			v.Const.Axes[k] = c.Labels.Fresh(int(v.Shape[k].N))
		}
	}
}

// vectorAlong joins a scale or zero point that is a vector with its axis; it reports whether it is
// one. One that is neither known to be a vector nor to be one number keeps the axis whole.
func (c *Call) vectorAlong(p, v *Value, k int) bool {
	if p == nil || k < 0 || p.single() {
		return false
	}
	if n, ok := p.dim(0); !ok || len(p.Shape) != 1 || n != v.Shape[k] {
		c.freeze(v, k, "its scale or zero point is not known to be a vector along this axis")
		return false
	}
	c.track(p)
	c.link(p, 0, v, k)
	return true
}

// scaled joins scale and zero point (inputs 1 and 2) with what they stand on and returns the axis
// of vectors, -1 for scalars; ok is false where they do not fit.
func (c *Call) scaled(x *Value) (own int, ok bool) {
	scale, zero := c.Input(1), c.Input(2)
	if x == nil || scale == nil || !x.Ranked || !scale.Ranked {
		c.unknown("the rank of an input is unknown")
		return 0, false
	}
	c.track(x)
	if len(scale.Shape) > 1 {
		return -1, c.blocks(x, scale, zero)
	}
	k, in := NormAxis(c.Int("axis", 1), len(x.Shape))
	if len(x.Shape) == 1 {
		k, in = 0, true
	}
	if !in || !c.vectorAlong(scale, x, k) {
		return -1, true
	}
	c.vectorAlong(zero, x, k)
	return k, true
}

// blocks joins scales that hold for blocks along one axis; whole blocks leave.
func (c *Call) blocks(x, scale, zero *Value) bool {
	k, in := NormAxis(c.Int("axis", 1), len(x.Shape))
	if !in || len(scale.Shape) != len(x.Shape) {
		c.unknown("scales of shape %v do not fit %v", scale.Shape, x.Shape)
		return false
	}
	for j := range x.Shape {
		axis := c.axis(x, j)
		if j == k {
			n, size := scale.Shape[j].N, c.Int("block_size", 0)
			if n == 1 { // one scale for all positions of a row
				axis = nil
			} else if axis = c.wholeBlocks(axis, int(n), int(size)); axis == nil {
				c.freeze(x, j, "its blocks of %d do not fit %d scales on this axis", size, n)
			}
		}
		for _, p := range []*Value{scale, zero} {
			if p != nil {
				c.join(p, j, axis)
			}
		}
	}
	return true
}

// wholeBlocks couples the positions of every block of an axis, of which the last may be shorter,
// and returns one label a block.
func (c *Call) wholeBlocks(axis []label.Label, n, size int) []label.Label {
	if axis == nil || n < 1 || size < 1 || len(axis) > n*size || len(axis) <= (n-1)*size {
		return nil
	}
	why := c.because("only whole blocks of %d can be removed", size)
	if n*size == len(axis) && n > 1 {
		outer, inner := c.Labels.Split(axis, n, size, why)
		c.Labels.FreezeAll(inner, why)
		return outer
	}
	full := (n - 1) * size
	var out []label.Label
	if full > 0 {
		out = labelsOr(c.wholeBlocks(axis[:full:full], n-1, size), n-1)
	}
	return append(out[:len(out):len(out)], c.oneUnit(axis[full:], why))
}

// oneUnit couples all positions of an axis.
func (c *Call) oneUnit(axis []label.Label, why int32) label.Label {
	first := c.Labels.Norm(axis[0])
	for _, x := range axis {
		if x = c.Labels.Norm(x); x <= 0 || first <= 0 {
			c.Labels.FreezeAll(axis, why)
			return 0
		}
		c.Labels.Unite(int32(first), int32(x))
		first = c.Labels.Norm(first)
	}
	return first
}

func quantize(c *Call) {
	x := c.Input(0)
	own, ok := c.scaled(x)
	if !ok {
		return
	}
	weight := x.Const != nil || c.traces[x] != nil
	if own >= 0 && !weight {
		c.freeze(x, own, "is divided by a scale that would be zero in a removed channel")
	}
	t := onnxio.DataType(c.Int("output_dtype", int64(onnxio.Undefined)))
	zero := c.Input(2)
	switch {
	case zero != nil:
		t = zero.Type
	case t == onnxio.Undefined:
		t = onnxio.Uint8
	}
	y := c.same(0, t, x)
	c.setPoint(y, zero)
}

func dequantize(c *Call) {
	x := c.Input(0)
	own, ok := c.scaled(x)
	if !ok {
		return
	}
	scale, zero := c.Input(1), c.Input(2)
	t := onnxio.DataType(c.Int("output_dtype", int64(scale.Type)))
	means, loose := c.meansZero(x, zero, own), 0
	if c.stored(x) {
		means, loose = c.weightMeansZero(x, scale, zero, own)
	}
	y := c.same(0, t, x)
	y.zero, y.loose = isZero, loose
	if !means {
		y.zero = nonZero
	}
	c.describe(x, scale, zero, own)
}

// weightMeansZero is meansZero of a weight whose scale is a number, a vector along one axis, or
// holds for blocks. Where only one axis has removed positions that do not stand for zero, that is
// loose (plus 1).
func (c *Call) weightMeansZero(x, scale, zero *Value, own int) (means bool, loose int) {
	if pointIs0(zero) {
		return true, 0
	}
	blocked := len(scale.Shape) > 1 && len(scale.Shape) == len(x.Shape)
	for k := range x.Shape {
		removed := c.alive(c.axis(x, k)) && k != own
		if blocked && scale.Shape[k] != dim.Num(1) || !removed {
			continue // leaves with its scale
		}
		if loose != 0 {
			return false, 0
		}
		loose = k + 1
	}
	return loose == 0, loose
}

// passPoints carries zero points through operators that move elements; after any other operator
// that does not set one, removed channels do not represent zero.
func (c *Call) passPoints() {
	if len(c.points) == 0 {
		return
	}
	var points []*Value
	for _, v := range c.In {
		if v != nil && v.Const == nil && c.points[v] != nil {
			points = append(points, c.points[v])
		}
	}
	if len(points) == 0 {
		return
	}
	same := c.Op().MovesElements && !slices.ContainsFunc(points, func(p *Value) bool { return !samePoint(p, points[0]) })
	for _, v := range c.Out {
		switch {
		case v == nil || c.points[v] != nil || !v.Type.IsInteger() || v.Type != points[0].Type:
		case same:
			c.points[v] = points[0]
		default:
			v.zero, v.positive, v.below = nonZero, false, false
		}
	}
}

func dynamicQuantize(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	if x.zero != isZero {
		c.freezeValue(x, "the range is taken over channels that would not be zero when removed")
	}
	y := c.same(0, onnxio.Uint8, x)
	y.zero = isZero
	c.set(1, onnxio.Float, nil)
	c.set(2, onnxio.Uint8, nil)
	if len(c.Out) > 2 {
		c.setPoint(y, c.Out[2])
	}
}

// integerSum freezes the summed axis where neither side represents zero at removed positions.
func (c *Call) integerSum(a *Value, ak int, aZero *Value, b *Value, bk int, bZero *Value, bOwn int) {
	if c.meansZero(a, aZero, -1) || c.meansZero(b, bZero, bOwn) {
		return
	}
	c.freeze(a, ak, "sums integers whose zero point is not 0 over removed channels")
	c.freeze(b, bk, "sums integers whose zero point is not 0 over removed channels")
}

// integerProduct is MatMul of integers: the second operand's scale, zero point and the bias stand
// on its columns. It reports whether removed columns and rows of the product are zero.
func (c *Call) integerProduct(a, aZero, b, bScale, bZero, bias *Value) bool {
	if a == nil || b == nil || !a.Ranked || !b.Ranked || len(a.Shape) < 1 || len(b.Shape) < 1 {
		c.unknown("the rank of an input is unknown")
		return false
	}
	if aZero != nil && !aZero.single() {
		c.freezeValue(a, "has a zero point for every row")
	}
	ak, bk, bn := len(a.Shape)-1, max(len(b.Shape)-2, 0), len(b.Shape)-1
	if len(b.Shape) == 1 {
		bn = -1
	}
	own := -1
	scaledAway := c.vectorAlong(bScale, b, bn)
	if c.vectorAlong(bZero, b, bn) {
		own = bn
	}
	c.integerSum(a, ak, aZero, b, bk, bZero, own)
	d := c.with(a, b)
	d.product(a, b, false, false)
	c.finish(d)
	c.describe(b, bScale, bZero, bn)
	if bn >= 0 {
		c.along(bias, c.axis(b, bn))
	}
	if len(c.Out) == 0 || c.Out[0] == nil {
		return false
	}
	columns := bn < 0 || !c.alive(c.axis(b, bn)) || scaledAway || own >= 0 || pointIs0(bZero) && (b.Const != nil || c.traces[b] != nil)
	return columns && (c.meansZero(a, aZero, ak) || c.rowsDead(a))
}

// rowsDead reports whether nothing but the last axis of a can be cut.
func (c *Call) rowsDead(a *Value) bool { return !c.aliveBut(a, len(a.Shape)-1) }

// is gives output 0 its type, zero point and what it holds where it is cut.
func (c *Call) is(t onnxio.DataType, point *Value, zero bool) {
	if len(c.Out) == 0 || c.Out[0] == nil {
		return
	}
	y := c.Out[0]
	y.Type, y.zero = t, isZero
	if !zero {
		y.zero = nonZero
	}
	c.setPoint(y, point)
}

// typeOf is a zero point's type.
func typeOf(v *Value) onnxio.DataType {
	if v == nil {
		return onnxio.Uint8
	}
	return v.Type
}

// scaleType is the type of what a scale makes of integers.
func scaleType(v *Value) onnxio.DataType {
	if v == nil {
		return onnxio.Float
	}
	return v.Type
}

func matMulInteger(c *Call) {
	c.is(onnxio.Int32, nil, c.integerProduct(c.Input(0), c.Input(2), c.Input(1), nil, c.Input(3), nil))
	if b := c.Input(1); b != nil && b.Rank() > 1 {
		c.unscaled(b, c.Input(3), b.Rank()-1)
	}
}

func qlinearMatMul(c *Call) {
	for _, i := range []int{1, 6, 7} {
		if p := c.Input(i); p != nil && !p.single() {
			c.freezeValue(c.Input(0), "has a scale or zero point for every row")
			c.freezeValue(c.Input(3), "has a scale or zero point for every row")
		}
	}
	zero := c.integerProduct(c.Input(0), c.Input(2), c.Input(3), c.Input(4), c.Input(5), nil)
	c.is(typeOf(c.Input(7)), c.Input(7), zero)
}

func matMulIntegerToFloat(c *Call) {
	bias := c.Input(6)
	zero := c.integerProduct(c.Input(0), c.Input(4), c.Input(1), c.Input(3), c.Input(5), bias)
	c.is(scaleType(c.Input(2)), nil, zero && (bias == nil || bias.zero == isZero))
}

func dynamicQuantizeMatMul(c *Call) {
	a, bias := c.Input(0), c.Input(4)
	if a != nil && a.zero != isZero {
		c.freezeValue(a, "the range is taken over channels that would not be zero when removed")
	}
	zero := c.integerProduct(a, nil, c.Input(1), c.Input(2), c.Input(3), bias)
	c.is(onnxio.Float, nil, zero && (bias == nil || bias.zero == isZero))
}

func qgemm(c *Call) {
	a, b, bias := c.Input(0), c.Input(3), c.Input(6)
	if a == nil || b == nil || len(a.Shape) != 2 || len(b.Shape) != 2 {
		c.unknown("needs two matrices")
		return
	}
	ak, bk, bn := 1, 0, 1
	if c.Int("transA", 0) != 0 {
		ak = 0
	}
	if c.Int("transB", 0) != 0 {
		bk, bn = 1, 0
	}
	own := -1
	scaledAway := c.vectorAlong(c.Input(4), b, bn)
	if c.vectorAlong(c.Input(5), b, bn) {
		own = bn
	}
	c.integerSum(a, ak, c.Input(2), b, bk, c.Input(5), own)
	d := c.with(a, b, bias)
	gemm(d)
	c.finish(d)
	c.describe(b, c.Input(4), c.Input(5), bn)
	zero := (scaledAway || own >= 0 || pointIs0(c.Input(5))) && (bias == nil || bias.zero == isZero) && !c.aliveBut(a, ak)
	if p := c.Input(8); p != nil {
		c.is(p.Type, p, zero)
		return
	}
	c.is(onnxio.Float, nil, zero)
}

// integerConv is Conv of integers; it reports whether removed output channels are zero.
func (c *Call) integerConv(x, xZero, w, wScale, wZero, bias *Value) bool {
	if x == nil || w == nil || !x.Ranked || !w.Ranked || len(w.Shape) < 3 || len(x.Shape) != len(w.Shape) {
		c.unknown("the shapes of input and weight do not fit")
		return false
	}
	own := -1
	scaledAway := c.vectorAlong(wScale, w, 0)
	if c.vectorAlong(wZero, w, 0) {
		own = 0
	}
	c.integerSum(x, 1, xZero, w, 1, wZero, own)
	d := c.with(x, w, bias)
	conv(d)
	c.finish(d)
	c.describe(w, wScale, wZero, 0)
	return scaledAway || own >= 0 || pointIs0(wZero)
}

func qlinearConv(c *Call) {
	bias := c.Input(8)
	zero := c.integerConv(c.Input(0), c.Input(2), c.Input(3), c.Input(4), c.Input(5), bias)
	c.is(typeOf(c.Input(7)), c.Input(7), zero && biasZero(bias) == isZero)
}

func convInteger(c *Call) {
	c.is(onnxio.Int32, nil, c.integerConv(c.Input(0), c.Input(2), c.Input(1), nil, c.Input(3), nil))
	c.unscaled(c.Input(1), c.Input(3), 0)
}

// qlinearBinary is an Add or Mul of quantised values: A, scale, zero point, B, scale, zero point,
// the result's scale and zero point.
func qlinearBinary(c *Call) {
	a, b, point := c.Input(0), c.Input(3), c.Input(7)
	if a == nil || b == nil || !a.Ranked || !b.Ranked {
		c.unknown("the rank of an input is unknown")
		return
	}
	d := c.with(a, b)
	y := d.broadcast(d.In, a.Type)
	if y == nil {
		c.unknown("its operands do not fit")
		return
	}
	za := c.meansZero(a, c.Input(2), -1) && c.covers(a, y)
	zb := c.meansZero(b, c.Input(5), -1) && c.covers(b, y)
	c.is(a.Type, point, za && zb || c.Node.OpType == "QLinearMul" && (za || zb) || !c.tracked(y))
}

func qlinearUnary(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	zero := c.meansZero(x, c.Input(2), -1) && c.Node.OpType != "QLinearSigmoid"
	c.pass(0, x)
	c.is(x.Type, c.Input(4), zero)
}

//go:noinline
func qlinearPool(pool func(c *Call)) func(c *Call) {
	return func(c *Call) {
		x := c.Input(0)
		if x == nil || c.Int("channels_last", 0) != 0 {
			c.unknown("has its channels last")
			return
		}
		zero := c.meansZero(x, c.Input(2), -1)
		d := c.with(x)
		pool(d)
		c.finish(d)
		c.is(x.Type, c.Input(4), zero)
	}
}

// qlinearConcat has the result's scale and zero point first, then value, scale and zero point of
// every part.
func qlinearConcat(c *Call) {
	var parts []*Value
	zero := true
	for i := 2; i+2 < len(c.In); i += 3 {
		if c.In[i] == nil {
			c.unknown("a part is missing")
			return
		}
		parts = append(parts, c.In[i])
		zero = zero && c.meansZero(c.In[i], c.In[i+2], -1)
	}
	d := c.with(parts...)
	d.shapeIn = inputSet{}
	concat(d)
	c.is(typeOf(c.Input(1)), c.Input(1), zero)
}

func qlinearSoftmax(c *Call) {
	x, axis, ok := c.axisOfInput(-1)
	if !ok {
		return
	}
	first := axis
	if c.Int("opset", 13) >= 13 {
		c.freeze(x, axis, "normalises over this axis")
		first = len(x.Shape)
	}
	for k := first; k < len(x.Shape); k++ {
		c.freeze(x, k, "normalises over this axis")
	}
	c.pass(0, x)
	c.is(x.Type, c.Input(4), !c.tracked(x))
}
