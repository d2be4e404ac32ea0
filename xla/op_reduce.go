package xla

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

type reduction func(x *Node, axes ...int) *Node

func init() {
	for name, f := range map[string]reduction{
		"ReduceMean": ReduceMean, "ReduceSum": ReduceSum, "ReduceMax": ReduceMax, "ReduceMin": ReduceMin, "ReduceProd": ReduceMultiply,
		"ReduceL1":        func(x *Node, a ...int) *Node { return ReduceSum(Abs(x), a...) },
		"ReduceL2":        func(x *Node, a ...int) *Node { return Sqrt(ReduceSum(Square(x), a...)) },
		"ReduceSumSquare": func(x *Node, a ...int) *Node { return ReduceSum(Square(x), a...) },
		"ReduceLogSum":    func(x *Node, a ...int) *Node { return Log(ReduceSum(x, a...)) },
		"ReduceLogSumExp": logSumExp,
	} {
		rules[name] = one(func(o *nodeOp) *value { return o.reduce(f) })
	}
	rules["ArgMax"] = one(func(o *nodeOp) *value { return o.extreme(ArgMax) })
	rules["ArgMin"] = one(func(o *nodeOp) *value { return o.extreme(ArgMin) })
	rules["Softmax"] = one(func(o *nodeOp) *value { return o.soft(softmax) })
	rules["LogSoftmax"] = one(func(o *nodeOp) *value {
		return o.soft(func(x *Node, axis int) *Node {
			return Sub(x, ReduceAndKeep(x, logSumExp, axis))
		})
	})
}

// extreme is ArgMax or ArgMin; the last of equal ones is the first from behind.
func (o *nodeOp) extreme(f func(x *Node, axis int, t ...dtypes.DType) *Node) *value {
	x := o.x(0)
	axis := o.axis("axis", 0, x.Rank())
	n := x.Shape().Dimensions[axis]
	last := o.intOr("select_last_index", 0) != 0
	if last {
		x = Reverse(x, axis)
	}
	y := f(x, axis, dtypes.Int64)
	if last {
		y = AddScalar(Neg(y), n-1)
	}
	if o.intOr("keepdims", 1) != 0 {
		y = ExpandAxes(y, axis)
	}
	return plain(y)
}

func logSumExp(x *Node, axes ...int) *Node {
	top := StopGradient(ReduceAndKeep(x, ReduceMax, axes...))
	s := Log(ReduceSum(Exp(Sub(x, top)), axes...))
	return Add(s, Reshape(top, s.Shape().Dimensions...))
}

func softmax(x *Node, axis int) *Node {
	e := Exp(Sub(x, StopGradient(ReduceAndKeep(x, ReduceMax, axis))))
	return Div(e, ReduceAndKeep(e, ReduceSum, axis))
}

// soft applies a function along an axis; before opset 13 everything from the axis on is one.
func (o *nodeOp) soft(f func(x *Node, axis int) *Node) *value {
	x := o.x(0)
	if o.since >= 13 {
		return plain(f(x, o.axis("axis", -1, x.Rank())))
	}
	d, axis := x.Shape().Dimensions, o.axis("axis", 1, x.Rank())
	return plain(Reshape(f(Reshape(x, product(d[:axis]), product(d[axis:])), 1), d...))
}

// reduce takes axes from the attribute or the input, all of them where there are none.
func (o *nodeOp) reduce(f reduction) *value {
	rank := len(o.in[0].dims())
	axes := o.normals(o.intsAt(1, "axes"), rank)
	if len(axes) == 0 {
		if o.intOr("noop_with_empty_axes", 0) != 0 {
			return o.in[0]
		}
		axes = axesFrom(0, rank)
	}
	keep := o.intOr("keepdims", 1) != 0
	if v := o.in[0]; v.only() && keep {
		place := []int{0, 3, 1, 2}
		last := make([]int, len(axes))
		for i, a := range axes {
			last[i] = place[a]
		}
		return channelsLast(ReduceAndKeep(v.last, f, last...))
	}
	if v := o.in[0]; v.only() && len(axes) == 2 && axes[0]+axes[1] == 5 { // the spatial axes, dropped
		return plain(f(v.last, 1, 2))
	}
	x := o.x(0)
	if rank == 0 {
		return o.in[0]
	}
	if keep {
		return plain(ReduceAndKeep(x, f, axes...))
	}
	return plain(f(x, axes...))
}
