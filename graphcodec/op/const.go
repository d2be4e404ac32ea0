package op

import (
	"math"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
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

// constantTensor returns the tensor that a Constant node holds, nil for forms that are not
// followed.
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

func constant(c *Call) {
	t := constantTensor(c.Node)
	if t == nil || len(c.Out) == 0 || c.Out[0] == nil {
		c.unknown("values of this kind are not analysed")
		return
	}
	if err := checkTensor(t); err != nil {
		c.fail(err)
		return
	}
	*c.Out[0] = *constValue(c.Out[0].Name, t, c.Index)
	if c.Bodies[c.Node] && c.Out[0].Const != nil {
		where := "a function of the model, which `metaprune inline` writes out"
		if c.Concealed[c.Node] {
			where = "a branch of an If; `metaprune inline` moves it out"
		}
		for k := range c.Out[0].Shape {
			if c.axis(c.Out[0], k); c.alive(c.Out[0].Const.Axes[k]) {
				c.freeze(c.Out[0], k, "is in %s", where)
			}
		}
	}
}

func shapeOf(c *Call) {
	x := c.Input(0)
	if x == nil {
		c.unknown("has no input")
		return
	}
	c.shapeIn.set(0, true)
	if !x.Ranked {
		c.unknown("the rank of the input is unknown")
		c.set(0, onnxio.Int64, []dim.Dim{dim.Symbol("?" + c.outName(0) + ".rank")})
		return
	}
	start, end := clampAxis(c.Int("start", 0), len(x.Shape)), clampAxis(c.Int("end", math.MaxInt64), len(x.Shape))
	elems := []Elem{}
	for k := start; k < end; k++ {
		elems = append(elems, c.lengthOf(x, k))
	}
	y := c.set(0, onnxio.Int64, []dim.Dim{dim.Num(int64(len(elems)))})
	y.Elements = elems
}

func clampAxis(a int64, rank int) int {
	if a < 0 {
		a += int64(rank)
	}
	return int(min(max(a, 0), int64(rank)))
}

// lengthOf is the length of an axis as a number that knows where it comes from.
func (c *Call) lengthOf(x *Value, k int) Elem {
	e := Elem{Int: x.Shape[k]}
	labels := c.axis(x, k)
	if c.alive(labels) {
		e.taint, e.length = [][]label.Label{labels}, labels
	}
	return e
}

func sizeOf(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	c.shapeIn.set(0, true)
	e := Elem{Int: dim.Product(x.Shape)}
	for k := range x.Shape {
		e.taint = mergeTaint(e.taint, c.lengthOf(x, k).taint)
	}
	c.set(0, onnxio.Int64, []dim.Dim{}).Elements = []Elem{e}
}

func rangeOp(c *Call) {
	for _, v := range c.In {
		if v == nil || len(v.Elements) != 1 {
			c.unknown("its bounds are not known")
			if x := c.Input(0); x != nil {
				c.set(0, x.Type, []dim.Dim{dim.Symbol("?" + c.outName(0))})
			}
			return
		}
	}
	if len(c.In) != 3 {
		c.unknown("needs three inputs")
		return
	}
	start, limit, delta := c.In[0].Elements[0], c.In[1].Elements[0], c.In[2].Elements[0]
	t := c.In[0].Type
	if start.IsFloat || !start.Int.IsNum() || !limit.Int.IsNum() || !delta.Int.IsNum() || delta.Int.N == 0 || limit.IsFloat {
		n := dim.Symbol("?" + c.outName(0))
		if !start.IsFloat && delta.Int == dim.Num(1) {
			n = limit.Int.Add(start.Int.Neg())
		}
		c.set(0, t, []dim.Dim{n})
		return
	}
	s, l, d := start.Int.N, limit.Int.N, delta.Int.N
	n := max(0, int64(math.Ceil(float64(l-s)/float64(d))))
	y := c.set(0, t, []dim.Dim{dim.Num(n)})
	if n <= maxElems { // also where bounds are lengths that may change, for those are pinned
		y.Elements = []Elem{}
		for i := range n {
			y.Elements = append(y.Elements, Elem{Int: dim.Num(s + i*d)})
		}
	}
}

func constantOfShape(c *Call) {
	s := c.Input(0)
	if s == nil || s.Elements == nil {
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
	shape, axes := shapeFrom(s.Elements)
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
	if n, ok := dim.Numbers(shape); ok && fill != nil && !s.tainted() {
		total := 1
		for _, d := range n {
			if total *= d; total > maxElems {
				return
			}
		}
		y.Elements = make([]Elem, total)
		for i := range y.Elements {
			y.Elements[i] = *fill
		}
	}
}

// shapeFrom reads dims and, where they are lengths of tracked axes, labels.
func shapeFrom(elems []Elem) ([]dim.Dim, [][]label.Label) {
	shape, axes := make([]dim.Dim, len(elems)), make([][]label.Label, len(elems))
	for i, e := range elems {
		shape[i], axes[i] = e.Int, e.length
	}
	return shape, axes
}

// freezeLoose keeps whole the axes from which an element of a shape was computed without being
// their length.
func (c *Call) freezeLoose(s *Value) {
	for _, e := range s.Elements {
		if e.length != nil {
			continue
		}
		for _, a := range e.taint {
			if c.alive(a) {
				c.Labels.FreezeAll(a, c.because("computes a shape from the length of this axis"))
			}
		}
	}
}

func eyeLike(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	c.freezeValue(x, "makes a tensor of this shape")
	t := onnxio.DataType(c.Int("dtype", int64(x.Type)))
	c.set(0, t, x.Shape).zero = nonZero
}
