package graphcodec

import (
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(
		Op{Name: "Constant", Since: 1, Infer: constant, Static: Static{Contents: 1}, Note: "a tensor like an initializer"},
		Op{Name: "ConstantOfShape", Since: 9, Infer: constantOfShape, Patch: patchShapeInput, Static: Static{Target: true}, Note: "takes on the axes whose lengths it is given"},
		Op{Name: "Shape", Since: 1, Infer: shapeOf, AnyShape: true, Static: Static{Contents: 1, Typed: true}, Note: "evaluated"},
		Op{Name: "Size", Since: 1, Infer: sizeOf, AnyShape: true, Static: Static{Contents: 1, Typed: true}, Note: "evaluated"},
		Op{Name: "Range", Since: 11, Infer: rangeOp, Static: Static{Bounds: 1}, Note: "evaluated"},
	)
	family(Op{Since: 1, Infer: eyeLike, Note: "cannot be pruned; its output is not analysed"}, "EyeLike", "RandomUniformLike", "RandomNormalLike", "Bernoulli")
}

// constantTensor returns the tensor that a Constant node holds, nil for forms that are not followed.
func constantTensor(n *onnxio.Node) *onnxio.Tensor {
	for _, a := range n.Attributes {
		t := &onnxio.Tensor{}
		switch a.Name {
		case "value":
			return a.T
		case "value_int":
			t.DataType, t.Dims = onnxio.Int64, []int64{}
			t.SetInt64s([]int64{a.I})
		case "value_ints":
			return onnxio.NewInt64s("", a.Ints)
		case "value_float":
			t.DataType, t.Dims = onnxio.Float, []int64{}
			t.SetRaw(rawFloats([]float32{a.F}))
		case "value_floats":
			t.DataType, t.Dims = onnxio.Float, []int64{int64(len(a.Floats))}
			t.SetRaw(rawFloats(a.Floats))
		default:
			continue
		}
		return t
	}
	return nil
}

func rawFloats(v []float32) []byte {
	out := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b := math.Float32bits(f)
		out = append(out, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
	}
	return out
}

func constant(c *call) {
	t := constantTensor(c.node)
	if t == nil || len(c.out) == 0 || c.out[0] == nil {
		c.unknown("values of this kind are not analysed")
		return
	}
	if err := checkTensor(t); err != nil {
		c.fail(err)
		return
	}
	*c.out[0] = *constValue(c.out[0].Name, t, c.index)
	if c.bodies[c.node] && c.out[0].Const != nil {
		where := "a function of the model, which `metaprune inline` writes out"
		if c.concealed[c.node] {
			where = "a branch of an If; `metaprune inline` moves it out"
		}
		for k := range c.out[0].Shape {
			if c.axis(c.out[0], k); c.alive(c.out[0].Const.axes[k]) {
				c.freeze(c.out[0], k, "is in %s", where)
			}
		}
	}
}

func shapeOf(c *call) {
	x := c.input(0)
	if x == nil {
		c.unknown("has no input")
		return
	}
	c.shapeIn.set(0, true)
	if !x.Ranked {
		c.unknown("the rank of the input is unknown")
		c.set(0, onnxio.Int64, []Dim{Symbol("?" + c.outName(0) + ".rank")})
		return
	}
	start, end := clampAxis(c.int("start", 0), len(x.Shape)), clampAxis(c.int("end", math.MaxInt64), len(x.Shape))
	elems := []Elem{}
	for k := start; k < end; k++ {
		elems = append(elems, c.lengthOf(x, k))
	}
	y := c.set(0, onnxio.Int64, []Dim{Num(int64(len(elems)))})
	y.elems = elems
}

func clampAxis(a int64, rank int) int {
	if a < 0 {
		a += int64(rank)
	}
	return int(min(max(a, 0), int64(rank)))
}

// lengthOf is the length of an axis as a number that knows where it comes from.
func (c *call) lengthOf(x *Value, k int) Elem {
	e := Elem{Int: x.Shape[k]}
	labels := c.axis(x, k)
	if c.alive(labels) {
		e.taint, e.length = [][]label{labels}, labels
	}
	return e
}

func sizeOf(c *call) {
	x := c.input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	c.shapeIn.set(0, true)
	e := Elem{Int: product(x.Shape)}
	for k := range x.Shape {
		e.taint = mergeTaint(e.taint, c.lengthOf(x, k).taint)
	}
	c.set(0, onnxio.Int64, []Dim{}).elems = []Elem{e}
}

func rangeOp(c *call) {
	for _, v := range c.in {
		if v == nil || len(v.elems) != 1 {
			c.unknown("its bounds are not known")
			if x := c.input(0); x != nil {
				c.set(0, x.Type, []Dim{Symbol("?" + c.outName(0))})
			}
			return
		}
	}
	if len(c.in) != 3 {
		c.unknown("needs three inputs")
		return
	}
	start, limit, delta := c.in[0].elems[0], c.in[1].elems[0], c.in[2].elems[0]
	t := c.in[0].Type
	if start.IsFloat || !start.Int.IsNum() || !limit.Int.IsNum() || !delta.Int.IsNum() || delta.Int.N == 0 || limit.IsFloat {
		n := Symbol("?" + c.outName(0))
		if !start.IsFloat && delta.Int == Num(1) {
			n = limit.Int.Add(start.Int.Neg())
		}
		c.set(0, t, []Dim{n})
		return
	}
	s, l, d := start.Int.N, limit.Int.N, delta.Int.N
	n := max(0, int64(math.Ceil(float64(l-s)/float64(d))))
	y := c.set(0, t, []Dim{Num(n)})
	if n <= maxElems { // also where bounds are lengths that may change, for those are pinned
		y.elems = []Elem{}
		for i := range n {
			y.elems = append(y.elems, Elem{Int: Num(s + i*d)})
		}
	}
}

func constantOfShape(c *call) {
	s := c.input(0)
	if s == nil || s.elems == nil {
		c.unknown("the shape is not known")
		t := onnxio.Float
		if a := c.attr("value"); a != nil && a.T != nil {
			t = a.T.DataType
		}
		c.ofRank(0, t, s.length())
		return
	}
	c.shapeIn.set(0, true)
	t, value := onnxio.Float, 0.0
	var fill *Elem
	if a := c.attr("value"); a != nil && a.T != nil {
		t = a.T.DataType
		if e := contents(a.T); len(e) == 1 {
			fill = &e[0]
			value = e[0].Float
			if !e[0].IsFloat {
				value = float64(e[0].Int.N)
			}
		}
	} else {
		fill = &Elem{IsFloat: true}
	}
	shape, axes := shapeFrom(s.elems)
	c.freezeLoose(s)
	for k, d := range shape {
		if axes[k] == nil && t.IsFloat() {
			axes[k] = c.anyLength(d)
		}
	}
	y := c.set(0, t, shape, axes...)
	if value != 0 && c.tracked(y) {
		y.zero = nonZero
	}
	if n, ok := numbers(shape); ok && fill != nil && !s.tainted() {
		total := 1
		for _, d := range n {
			if total *= d; total > maxElems {
				return
			}
		}
		y.elems = make([]Elem, total)
		for i := range y.elems {
			y.elems[i] = *fill
		}
	}
}

// shapeFrom reads dims and, where they are lengths of tracked axes, labels.
func shapeFrom(elems []Elem) ([]Dim, [][]label) {
	shape, axes := make([]Dim, len(elems)), make([][]label, len(elems))
	for i, e := range elems {
		shape[i], axes[i] = e.Int, e.length
	}
	return shape, axes
}

// freezeLoose keeps whole the axes from which an element of a shape was computed without being their length.
func (c *call) freezeLoose(s *Value) {
	for _, e := range s.elems {
		if e.length != nil {
			continue
		}
		for _, a := range e.taint {
			if c.alive(a) {
				c.lab.freezeAll(a, c.because("computes a shape from the length of this axis"))
			}
		}
	}
}

func eyeLike(c *call) {
	x := c.input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	c.freezeValue(x, "makes a tensor of this shape")
	t := onnxio.DataType(c.int("dtype", int64(x.Type)))
	c.set(0, t, x.Shape).zero = nonZero
}
