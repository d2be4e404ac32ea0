package op

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: reduce(sumLike), AnyShape: true, Eval: &Eval{Fold: sums}, Note: "zeros do not change it"}, "ReduceSum")
	family(Op{Since: 1, Infer: reduce(sumLike), Note: "zeros do not change it"}, "ReduceL1", "ReduceL2", "ReduceSumSquare")
	family(Op{Since: 1, Infer: reduce(meanLike), Means: MeansOfAxes, AnyShape: true, Sign: keepsSign, Note: "computes over the surviving channels"}, "ReduceMean")
	family(Op{Since: 1, Infer: reduce(strict), AnyShape: true, Eval: &Eval{Fold: maxima}, Note: "cannot be pruned on the reduced axes"}, "ReduceMax")
	family(Op{Since: 1, Infer: reduce(strict), Eval: &Eval{Fold: minima}, Note: "cannot be pruned on the reduced axes"}, "ReduceMin")
	family(Op{Since: 1, Infer: reduce(strict), Eval: &Eval{Fold: multiples}, Note: "cannot be pruned on the reduced axes"}, "ReduceProd")
	family(Op{Since: 1, Infer: reduce(strict), Note: "cannot be pruned on the reduced axes"}, "ReduceLogSum", "ReduceLogSumExp")
	family(Op{Since: 1, Infer: argReduce, Note: "cannot be pruned on the axis that it searches"}, "ArgMax", "ArgMin")
	family(Op{Since: 1, Infer: cumulative, Note: "cannot be pruned on the axis that it runs along"}, "CumSum", "CumProd")
}

type reduceKind int8

const (
	strict reduceKind = iota
	sumLike
	meanLike
)

//go:noinline
func reduce(kind reduceKind) func(c *Call) {
	return func(c *Call) {
		x := c.Input(0)
		if x == nil || !x.Ranked {
			c.unknown("the rank of the input is unknown")
			return
		}
		reduced, ok := c.reducedAxes(len(x.Shape))
		if !ok {
			c.unknown("the reduced axes are not known")
			return
		}
		elems := c.evalReduce(x)
		c.reduceLinks(x, reduced, kind)
		if kind == meanLike && c.Int("keepdims", 1) == 0 && c.computedAxes() {
			// Not provable from outside: a reader of the file alone cannot tell which axes the mean
			// is over.
			for k := range x.Shape {
				c.freeze(x, k, "takes a mean over axes that are computed in the graph")
			}
		}
		keep := c.Int("keepdims", 1) != 0
		var shape []dim.Dim
		var axes [][]label.Label
		cut := false
		for k, d := range x.Shape {
			switch {
			case !reduced[k]:
				shape, axes = append(shape, d), append(axes, c.axis(x, k))
			case keep:
				shape, axes = append(shape, dim.Num(1)), append(axes, nil)
			}
			cut = cut || reduced[k] && c.alive(c.axis(x, k))
		}
		y := c.set(0, x.Type, shape, axes...)
		y.zero = x.zero
		if !c.tracked(y) {
			y.zero = isZero
		}
		if kind == meanLike && keep && cut {
			y.mean = x
		}
		if elems != nil {
			y.Elements = elems
			c.shapeIn.set(0, true)
		}
	}
}

// computedAxes reports whether the axes come from a node other than a Constant.
func (c *Call) computedAxes() bool {
	v := c.Input(1)
	return v != nil && v.Const == nil
}

func (c *Call) reduceLinks(x *Value, reduced []bool, kind reduceKind) {
	for k := range x.Shape {
		if !reduced[k] {
			continue
		}
		switch {
		case x.Static && (kind != sumLike || x.zero != isZero):
			c.freeze(x, k, "normalises a weight over this axis")
		case kind == strict:
			c.freeze(x, k, "reduces this axis")
		case kind == sumLike && x.zero != isZero, kind == meanLike && x.zero == nonZero:
			c.freeze(x, k, "sums over channels that would not be zero when removed")
		case kind == meanLike && c.alive(c.axis(x, k)) && !c.readable(x, k):
			c.freeze(x, k, "averages over an axis whose length ONNX's shape inference does not know")
		}
	}
}

// reducedAxes says for each axis whether it is reduced.
func (c *Call) reducedAxes(rank int) ([]bool, bool) {
	axes, given, known := c.intsFrom("axes", 1)
	if !known {
		return nil, false
	}
	out := make([]bool, rank)
	if !given || len(axes) == 0 {
		for k := range out {
			out[k] = c.Int("noop_with_empty_axes", 0) == 0
		}
		return out, true
	}
	for _, a := range axes {
		k, ok := NormAxis(a, rank)
		if !ok {
			return nil, false
		}
		out[k] = true
	}
	return out, true
}

// evalReduce evaluates the reductions that shape arithmetic uses, over all elements of a vector.
func (c *Call) evalReduce(x *Value) []Elem {
	if x.Elements == nil || len(x.Shape) > 1 || len(x.Elements) == 0 {
		return nil
	}
	eval := c.Op().Eval
	if eval == nil || eval.Fold == nil {
		return nil
	}
	acc := x.Elements[0]
	acc.length = nil
	for _, e := range x.Elements[1:] {
		r, ok := eval.Fold.pair(acc, e)
		if !ok {
			return nil
		}
		r.taint, r.length = mergeTaint(acc.taint, e.taint), nil
		acc = r
	}
	return []Elem{acc}
}

func argReduce(c *Call) {
	x, axis, ok := c.axisOfInput(0)
	if !ok {
		return
	}
	c.freeze(x, axis, "searches this axis")
	var shape []dim.Dim
	var axes [][]label.Label
	for k, d := range x.Shape {
		if k == axis {
			if c.Int("keepdims", 1) != 0 {
				shape, axes = append(shape, dim.Num(1)), append(axes, nil)
			}
			continue
		}
		shape, axes = append(shape, d), append(axes, c.axis(x, k))
	}
	c.set(0, onnxio.Int64, shape, axes...)
}

func cumulative(c *Call) {
	x := c.Input(0)
	axis, ok := c.Input(1).ints()
	if x == nil || !x.Ranked || !ok || len(axis) != 1 {
		c.unknown("the axis is not known")
		return
	}
	c.shapeIn.set(1, true)
	k, ok := NormAxis(axis[0], len(x.Shape))
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	c.freeze(x, k, "sums along this axis")
	if y := c.same(0, x.Type, x); c.Node.OpType == "CumProd" && c.tracked(y) { // an empty product is 1
		y.zero = nonZero
	}
}
