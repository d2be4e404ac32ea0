package xla

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/metaprune/metaprune/onnxio"
)

// unary are element-wise functions of one operand.
var unary = map[string]func(o *nodeOp, x *Node) *Node{
	"Identity":   func(_ *nodeOp, x *Node) *Node { return x },
	"Relu":       func(_ *nodeOp, x *Node) *Node { return relu(x) },
	"Neg":        func(_ *nodeOp, x *Node) *Node { return Neg(x) },
	"Abs":        func(_ *nodeOp, x *Node) *Node { return Abs(x) },
	"Sign":       func(_ *nodeOp, x *Node) *Node { return Sign(x) },
	"Exp":        func(_ *nodeOp, x *Node) *Node { return Exp(x) },
	"Log":        func(_ *nodeOp, x *Node) *Node { return Log(x) },
	"Sqrt":       func(_ *nodeOp, x *Node) *Node { return Sqrt(x) },
	"Sin":        func(_ *nodeOp, x *Node) *Node { return Sin(x) },
	"Cos":        func(_ *nodeOp, x *Node) *Node { return Cos(x) },
	"Tanh":       func(_ *nodeOp, x *Node) *Node { return Tanh(x) },
	"Erf":        func(_ *nodeOp, x *Node) *Node { return Erf(x) },
	"Sigmoid":    func(_ *nodeOp, x *Node) *Node { return Sigmoid(x) },
	"Reciprocal": func(_ *nodeOp, x *Node) *Node { return Inverse(x) },
	"Not":        func(_ *nodeOp, x *Node) *Node { return LogicalNot(x) },
	"IsNaN":      func(_ *nodeOp, x *Node) *Node { return IsNaN(x) },
	"IsInf":      isInf,
	"Tan":        func(_ *nodeOp, x *Node) *Node { return Div(Sin(x), Cos(x)) },
	"Asin":       func(_ *nodeOp, x *Node) *Node { return Atan2(x, Sqrt(OneMinus(Square(x)))) },
	"Acos":       func(_ *nodeOp, x *Node) *Node { return Atan2(Sqrt(OneMinus(Square(x))), x) },
	"Atan":       func(_ *nodeOp, x *Node) *Node { return Atan2(x, OnesLike(x)) },
	"Sinh":       func(_ *nodeOp, x *Node) *Node { return MulScalar(Sub(Exp(x), Exp(Neg(x))), .5) },
	"Cosh":       func(_ *nodeOp, x *Node) *Node { return MulScalar(Add(Exp(x), Exp(Neg(x))), .5) },
	"Asinh":      func(_ *nodeOp, x *Node) *Node { return Log(Add(x, Sqrt(OnePlus(Square(x))))) },
	"Acosh":      func(_ *nodeOp, x *Node) *Node { return Log(Add(x, Sqrt(AddScalar(Square(x), -1)))) },
	"Atanh":      func(_ *nodeOp, x *Node) *Node { return MulScalar(Log(Div(OnePlus(x), OneMinus(x))), .5) },
	"Floor":      whole(Floor),
	"Ceil":       whole(Ceil),
	"Round":      whole(Round),
	"Softplus":   func(_ *nodeOp, x *Node) *Node { return softplus(x) },
	"Softsign":   func(_ *nodeOp, x *Node) *Node { return Div(x, AddScalar(Abs(x), 1)) },
	"Mish":       func(_ *nodeOp, x *Node) *Node { return Mul(x, Tanh(softplus(x))) },
	"HardSwish":  func(_ *nodeOp, x *Node) *Node { return Mul(x, hardSigmoid(x, 1./6, .5)) },
	"HardSigmoid": func(o *nodeOp, x *Node) *Node {
		return hardSigmoid(x, o.floatOr("alpha", .2), o.floatOr("beta", .5))
	},
	"LeakyRelu": func(o *nodeOp, x *Node) *Node {
		return Where(positive(x), x, MulScalar(x, o.floatOr("alpha", .01)))
	},
	"ThresholdedRelu": func(o *nodeOp, x *Node) *Node {
		return Where(GreaterThan(x, scalarLike(x, o.floatOr("alpha", 1))), x, ZerosLike(x))
	},
	"Elu": func(o *nodeOp, x *Node) *Node { return elu(x, o.floatOr("alpha", 1), 1) },
	"Selu": func(o *nodeOp, x *Node) *Node {
		return MulScalar(elu(x, o.floatOr("alpha", 1.67326319217681884765625), 1), o.floatOr("gamma", 1.05070102214813232421875))
	},
	"Celu": func(o *nodeOp, x *Node) *Node { a := o.floatOr("alpha", 1); return elu(x, a, a) },
	"Shrink": func(o *nodeOp, x *Node) *Node {
		l, b := o.floatOr("lambd", .5), o.floatOr("bias", 0)
		high, low := GreaterThan(x, scalarLike(x, l)), LessThan(x, scalarLike(x, -l))
		return Where(high, AddScalar(x, -b), Where(low, AddScalar(x, b), ZerosLike(x)))
	},
	"Gelu": func(o *nodeOp, x *Node) *Node { return gelu(x, o.textOr("approximate", "none") == "tanh") },
	"Swish": func(o *nodeOp, x *Node) *Node {
		return Mul(x, Sigmoid(MulScalar(x, o.floatOr("alpha", 1))))
	},
	"com.microsoft.Gelu":      func(_ *nodeOp, x *Node) *Node { return gelu(x, false) },
	"com.microsoft.QuickGelu": func(o *nodeOp, x *Node) *Node { return Mul(x, Sigmoid(MulScalar(x, o.floatOr("alpha", 1.702)))) },
	"Cast": func(o *nodeOp, x *Node) *Node {
		t, ok := dtype(onnxio.DataType(o.intOr("to", 0)))
		if !ok {
			o.fail("a cast to %s", onnxio.DataType(o.intOr("to", 0)))
		}
		return cast(x, t)
	},
}

// dropout is the identity outside of training.
func dropout(o *nodeOp) []*value {
	if o.has(2) && o.in[2].known != nil {
		on, _ := ints(o.in[2].known)
		if on[0] != 0 && !(o.has(1) && o.in[1].known != nil && o.scalar(1) == 0) {
			o.fail("a Dropout in training mode; export the model in evaluation mode")
		}
	}
	mask := func() *Node { return BroadcastToDims(Const(o.e.g, true), o.in[0].dims()...) }
	if len(o.Outputs) < 2 || o.Outputs[1] == "" {
		return []*value{o.in[0]}
	}
	return []*value{o.in[0], plain(mask())}
}

func isInf(o *nodeOp, x *Node) *Node {
	up, down := Equal(x, scalarLike(x, math.Inf(1))), Equal(x, scalarLike(x, math.Inf(-1)))
	switch {
	case o.intOr("detect_negative", 1) == 0:
		return up
	case o.intOr("detect_positive", 1) == 0:
		return down
	}
	return LogicalOr(up, down)
}

// cast converts as ONNX does: numbers become true where they are not zero.
func cast(x *Node, t dtypes.DType) *Node {
	if t == x.DType() {
		return x
	}
	if t == dtypes.Bool {
		return NotEqual(x, ZerosLike(x))
	}
	return ConvertDType(x, t)
}

func whole(f func(*Node) *Node) func(*nodeOp, *Node) *Node {
	return func(_ *nodeOp, x *Node) *Node {
		if x.DType().IsInt() {
			return x
		}
		return f(x)
	}
}

func scalarLike(x *Node, v float64) *Node { return Scalar(x.Graph(), x.DType(), v) }
func positive(x *Node) *Node              { return GreaterThan(x, ZerosLike(x)) }

// relu selects, so that its gradient is a selection too.
func relu(x *Node) *Node { return Where(positive(x), x, ZerosLike(x)) }

func softplus(x *Node) *Node { return Add(relu(x), Log(AddScalar(Exp(Neg(Abs(x))), 1))) }

func hardSigmoid(x *Node, alpha, beta float64) *Node {
	return between(AddScalar(MulScalar(x, alpha), beta), 0, 1)
}

// elu is x where positive, else alpha * (exp(x/c) - 1); what is not selected is kept from overflowing.
func elu(x *Node, alpha, c float64) *Node {
	low := Where(positive(x), ZerosLike(x), x)
	return Where(positive(x), x, MulScalar(AddScalar(Exp(MulScalar(low, 1/c)), -1), alpha))
}

func gelu(x *Node, tanh bool) *Node {
	if tanh {
		cube := Mul(Mul(x, x), x)
		inner := MulScalar(Add(x, MulScalar(cube, 0.044715)), math.Sqrt(2/math.Pi))
		return Mul(MulScalar(x, .5), AddScalar(Tanh(inner), 1))
	}
	return Mul(MulScalar(x, .5), AddScalar(Erf(MulScalar(x, 1/math.Sqrt2)), 1))
}

// between limits values, with gradient 1 inside and 0 outside.
func between(x *Node, low, high float64) *Node {
	if !math.IsInf(low, -1) {
		l := FillScalar(x.Graph(), x.Shape(), low)
		x = Where(LessThan(x, l), l, x)
	}
	if !math.IsInf(high, 1) {
		h := FillScalar(x.Graph(), x.Shape(), high)
		x = Where(GreaterThan(x, h), h, x)
	}
	return x
}

// larger is the maximum; where both are equal the first one has the gradient.
func larger(x, y *Node) *Node {
	x, y = spread(x, y)
	return Where(GreaterOrEqual(x, y), x, y)
}

func smaller(x, y *Node) *Node {
	x, y = spread(x, y)
	return Where(LessOrEqual(x, y), x, y)
}

// spread broadcasts two operands to their common shape.
func spread(x, y *Node) (*Node, *Node) {
	x, y = aligned(x, y)
	if x.Rank() == 0 && y.Rank() > 0 {
		x = ExpandLeftToRank(x, y.Rank())
	}
	if y.Rank() == 0 && x.Rank() > 0 {
		y = ExpandLeftToRank(y, x.Rank())
	}
	dims := make([]int, x.Rank())
	for i := range dims {
		dims[i] = x.Shape().Dimensions[i]
		if dims[i] == 1 {
			dims[i] = y.Shape().Dimensions[i]
		}
	}
	return broadcast(x, dims), broadcast(y, dims)
}

func broadcast(x *Node, dims []int) *Node {
	if product(x.Shape().Dimensions) == product(dims) {
		return x
	}
	return BroadcastToDims(x, dims...)
}

// several are functions of two or more operands, taken from the left.
var several = map[string]func(x, y *Node) *Node{
	"Add": Add, "Sub": Sub, "Mul": Mul, "Div": quotient, "Sum": Add, "Max": larger, "Min": smaller, "Pow": power,
	"And": LogicalAnd, "Or": LogicalOr, "Xor": LogicalXor,
	"Equal": Equal, "Less": LessThan, "LessOrEqual": LessOrEqual, "Greater": GreaterThan, "GreaterOrEqual": GreaterOrEqual,
	"com.microsoft.BiasGelu": func(x, y *Node) *Node { return gelu(Add(x, y), false) },
}

func quotient(x, y *Node) *Node { return Div(x, y) }

// power takes small whole exponents as products, which have gradients for negative bases.
func power(x, y *Node) *Node {
	if y.DType() != x.DType() {
		y = ConvertDType(y, x.DType())
	}
	return Pow(x, y)
}

func init() {
	for name, f := range unary {
		rules[name] = one(func(o *nodeOp) *value {
			if !o.has(0) {
				o.fail("no input")
			}
			return o.e.each(o.in[0], func(x *Node) *Node { return f(o, x) })
		})
	}
	for name, f := range several {
		rules[name] = one(func(o *nodeOp) *value {
			if !o.has(0) {
				o.fail("no input")
			}
			v := o.in[0]
			for i := 1; i < len(o.in); i++ {
				v = o.e.both(v, o.in[i], f)
			}
			return v
		})
	}
	rules["Pow"] = one(pow)
	rules["Dropout"] = dropout
	rules["Mean"] = one(func(o *nodeOp) *value {
		v := o.in[0]
		for i := 1; i < len(o.in); i++ {
			v = o.e.both(v, o.in[i], Add)
		}
		return o.e.each(v, func(x *Node) *Node { return MulScalar(x, 1/float64(len(o.in))) })
	})
	rules["CastLike"] = one(func(o *nodeOp) *value {
		t := o.x(1).DType()
		return o.e.each(o.in[0], func(x *Node) *Node { return cast(x, t) })
	})
	rules["PRelu"] = one(func(o *nodeOp) *value {
		return o.e.both(o.in[0], o.in[1], func(x, slope *Node) *Node {
			return Where(positive(x), x, Mul(x, broadcast(slopeLike(slope, x), x.Shape().Dimensions)))
		})
	})
	rules["Clip"] = one(func(o *nodeOp) *value {
		if o.has(1) && o.in[1].known == nil || o.has(2) && o.in[2].known == nil {
			v := o.in[0]
			if o.has(1) {
				v = o.e.both(v, o.in[1], larger)
			}
			if o.has(2) {
				v = o.e.both(v, o.in[2], smaller)
			}
			return v
		}
		low, high := o.floatOr("min", math.Inf(-1)), o.floatOr("max", math.Inf(1))
		if o.has(1) {
			low = o.scalar(1)
		}
		if o.has(2) {
			high = o.scalar(2)
		}
		return o.e.each(o.in[0], func(x *Node) *Node { return between(x, low, high) })
	})
	rules["Where"] = one(func(o *nodeOp) *value {
		x, y := spread(o.x(1), o.x(2))
		c := o.x(0)
		if c.Rank() < x.Rank() {
			c = ExpandLeftToRank(c, x.Rank())
		}
		for x.Rank() < c.Rank() {
			x, y = InsertAxes(x, 0), InsertAxes(y, 0)
		}
		dims := make([]int, c.Rank())
		for i := range dims {
			dims[i] = c.Shape().Dimensions[i]
			if dims[i] == 1 {
				dims[i] = x.Shape().Dimensions[i]
			}
		}
		return plain(Where(broadcast(c, dims), broadcast(x, dims), broadcast(y, dims)))
	})
}

func slopeLike(slope, x *Node) *Node {
	if slope.Rank() == 0 {
		return ExpandLeftToRank(slope, x.Rank())
	}
	return slope
}

// pow takes known whole exponents up to 4, halves and reciprocals without Pow, whose gradient needs a positive base.
func pow(o *nodeOp) *value {
	if o.has(1) && o.in[1].known != nil {
		if v := floats(o.in[1].known); len(v) == 1 {
			switch v[0] {
			case 1:
				return o.in[0]
			case 2:
				return o.e.each(o.in[0], func(x *Node) *Node { return Mul(x, x) })
			case 3:
				return o.e.each(o.in[0], func(x *Node) *Node { return Mul(x, Mul(x, x)) })
			case .5:
				return o.e.each(o.in[0], Sqrt)
			case -.5:
				return o.e.each(o.in[0], func(x *Node) *Node { return Inverse(Sqrt(x)) })
			case -1:
				return o.e.each(o.in[0], Inverse)
			}
		}
	}
	return o.e.both(o.in[0], o.in[1], power)
}
