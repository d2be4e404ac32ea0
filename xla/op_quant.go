package xla

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

func init() {
	for _, domain := range []string{"", "com.microsoft."} {
		rules[domain+"DequantizeLinear"] = one(dequantize)
		rules[domain+"QuantizeLinear"] = one(quantize)
	}
	rules["DynamicQuantizeLinear"] = dynamicQuantize
}

// integerRange holds the least and the largest value of the integers that are quantised to.
var integerRange = map[dtypes.DType][2]float64{dtypes.Uint8: {0, 255}, dtypes.Int8: {-128, 127}, dtypes.Uint16: {0, 65535}, dtypes.Int16: {-32768, 32767}}

// along gives a scale or zero point the rank of x: a number, or a vector on an axis.
func (o *nodeOp) along(i int, x *Node) *Node {
	p := o.x(i)
	if p.Rank() > 1 || x.Rank() == 0 {
		o.fail("scales of %d axes", p.Rank())
	}
	if p.Rank() == 0 || p.Shape().Dimensions[0] == 1 {
		return Reshape(p)
	}
	axis := 0
	if x.Rank() > 1 {
		axis = o.axis("axis", 1, x.Rank())
	}
	dims := make([]int, x.Rank())
	for k := range dims {
		dims[k] = 1
	}
	dims[axis] = p.Shape().Dimensions[0]
	return BroadcastToShape(Reshape(p, dims...), shapeOf(p.DType(), x.Shape().Dimensions))
}

func dequantize(o *nodeOp) *value {
	if o.intOr("block_size", 0) != 0 {
		o.fail("blocks of scales")
	}
	x := o.x(0)
	scale := o.along(1, x)
	y := ConvertDType(x, scale.DType())
	if o.has(2) {
		y = Sub(y, ConvertDType(o.along(2, x), scale.DType()))
	}
	return plain(Mul(y, scale))
}

// quantize rounds halves to the even neighbour and saturates.
func quantize(o *nodeOp) *value {
	x := o.x(0)
	to := dtypes.Uint8
	if o.has(2) {
		to = o.x(2).DType()
	}
	bounds, ok := integerRange[to]
	if !ok || o.intOr("block_size", 0) != 0 || o.attr("output_dtype") != nil {
		o.fail("quantising to %s or in blocks", to)
	}
	y := roundEven(Div(x, o.along(1, x)))
	if o.has(2) {
		y = Add(y, ConvertDType(o.along(2, x), x.DType()))
	}
	return plain(ConvertDType(clamp(y, bounds[0], bounds[1]), to))
}

func clamp(x *Node, low, high float64) *Node {
	return Min(Max(x, scalarLike(x, low)), scalarLike(x, high))
}

// roundEven rounds to the nearest integer, halves to the even one.
func roundEven(x *Node) *Node {
	low := Floor(x)
	rest := Sub(x, low)
	half := scalarLike(x, .5)
	odd := NotEqual(MulScalar(Floor(MulScalar(low, .5)), 2), low)
	up := LogicalOr(GreaterThan(rest, half), LogicalAnd(Equal(rest, half), odd))
	return Add(low, ConvertDType(up, x.DType()))
}

// dynamicQuantize takes the range of x, with 0 in it, to 8 bits: the integers, the scale and the zero point.
func dynamicQuantize(o *nodeOp) []*value {
	x := o.x(0)
	zero := ScalarZero(x.Graph(), x.DType())
	low, high := Min(ReduceAllMin(x), zero), Max(ReduceAllMax(x), zero)
	scale := MulScalar(Sub(high, low), 1./255)
	scale = Where(Equal(scale, zero), ScalarOne(x.Graph(), x.DType()), scale)
	point := clamp(roundEven(Neg(Div(low, scale))), 0, 255)
	y := clamp(Add(roundEven(Div(x, scale)), point), 0, 255)
	return []*value{plain(ConvertDType(y, dtypes.Uint8)), plain(scale), plain(ConvertDType(point, dtypes.Uint8))}
}
