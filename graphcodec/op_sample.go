package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: gridSample, Note: "channels pass through; not on the axes that it samples"}, "GridSample")
	family(Op{Since: 1, Infer: roiPool, Note: "channels pass through; not on the axes that it pools"}, "RoiAlign", "MaxRoiPool")
	family(Op{Since: 1, Infer: topK, Note: "cannot be pruned on the axis that it sorts; the others pass through"}, "TopK")
	family(Op{Since: 1, Infer: found, Note: "cannot be pruned, because its length depends on the data; Compress can be pruned on its other axes"}, "NonZero", "NonMaxSuppression", "Compress", "Unique")
	family(Op{Since: 1, Infer: oneHot, Note: "cannot be pruned; its shape is known"}, "OneHot")
	family(Op{Since: 1, Infer: det, Note: "cannot be pruned on the matrices; the others pass through"}, "Det")
}

// sampled gives output 0 the first two axes of x and others behind them; all of x's other axes are frozen.
func (c *call) sampled(x *Value, first Dim, behind ...Dim) {
	for k := range x.Shape {
		if k != 1 {
			c.freeze(x, k, "samples along this axis")
		}
	}
	c.set(0, x.Type, append([]Dim{first, x.Shape[1]}, behind...), nil, c.axis(x, 1)).zero = x.zero
}

func gridSample(c *call) {
	x, grid := c.input(0), c.input(1)
	if x == nil || grid == nil || len(x.Shape) < 3 || len(grid.Shape) != len(x.Shape) {
		c.unknown("the ranks of its inputs are unknown or differ")
		return
	}
	c.freezeValue(grid, "holds the sampling positions")
	c.sampled(x, x.Shape[0], grid.Shape[1:len(grid.Shape)-1]...)
}

func roiPool(c *call) {
	x, rois := c.input(0), c.input(1)
	if x == nil || rois == nil || len(x.Shape) != 4 || len(rois.Shape) != 2 {
		c.unknown("needs a map and a matrix of regions")
		return
	}
	for _, v := range c.in[1:] {
		c.freezeValue(v, "holds the regions that are pooled")
	}
	size := []Dim{Num(c.int("output_height", 1)), Num(c.int("output_width", 1))}
	if c.node.OpType == "MaxRoiPool" {
		shape := c.ints("pooled_shape")
		if len(shape) != 2 {
			c.unknown("has no pooled_shape")
			return
		}
		size = []Dim{Num(shape[0]), Num(shape[1])}
	}
	c.sampled(x, rois.Shape[0], size...)
}

func topK(c *call) {
	x, axis, ok := c.axisOfInput(-1)
	if !ok {
		return
	}
	k, _, known := c.intsFrom("k", 1)
	c.freeze(x, axis, "sorts along this axis")
	shape, axes := append([]Dim(nil), x.Shape...), make([][]label, len(x.Shape))
	shape[axis] = Symbol("?" + c.outName(0) + ".k")
	if known && len(k) == 1 {
		shape[axis] = Num(k[0])
	} else {
		c.freezeValue(c.input(1), "how many are taken is not known")
	}
	for i := range axes {
		if i != axis {
			axes[i] = c.axis(x, i)
		}
	}
	c.set(0, x.Type, shape, axes...).zero = x.zero
	c.set(1, onnxio.Int64, append([]Dim(nil), shape...), axes...).zero = nonZero
}

// found freezes every input; one axis of the output is as long as the data say.
func found(c *call) {
	x := c.input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	n := Symbol(c.name() + ".found")
	if axis, ok := normAxis(c.int("axis", 0), len(x.Shape)); ok && c.node.OpType == "Compress" && c.attr("axis") != nil {
		c.compressed(x, axis, n)
		return
	}
	for _, in := range c.in {
		c.freezeValue(in, "picks what it finds")
	}
	switch c.node.OpType {
	case "NonZero":
		c.set(0, onnxio.Int64, []Dim{Num(int64(max(len(x.Shape), 1))), n}).zero = nonZero
		return
	case "NonMaxSuppression":
		c.set(0, onnxio.Int64, []Dim{n, Num(3)}).zero = nonZero
		return
	}
	shape := []Dim{n}
	if c.attr("axis") != nil {
		axis, ok := normAxis(c.int("axis", 0), len(x.Shape))
		if !ok {
			c.unknown("axis is out of range")
			return
		}
		shape = append([]Dim(nil), x.Shape...)
		shape[axis] = n
	}
	c.set(0, x.Type, shape).zero = nonZero
	for i := 1; i < len(c.out); i++ { // of Unique
		c.set(i, onnxio.Int64, []Dim{Symbol(c.name() + ".indices")}).zero = nonZero
	}
}

// compressed keeps what a condition says of one axis, and the others.
func (c *call) compressed(x *Value, axis int, n Dim) {
	c.freezeValue(c.input(1), "says what is kept")
	c.freeze(x, axis, "keeps positions that are known only at run time")
	shape, axes := slices.Clone(x.Shape), make([][]label, len(x.Shape))
	for k := range shape {
		if axes[k] = c.axis(x, k); k == axis {
			shape[k], axes[k] = n, nil
		}
	}
	if keep, ok := c.input(1).ints(); ok && !c.reading {
		kept := int64(0)
		for _, k := range keep {
			kept += k
		}
		shape[axis] = Num(kept)
	}
	c.set(0, x.Type, shape, axes...).zero = x.zero
}

func oneHot(c *call) {
	at, values := c.input(0), c.input(2)
	depth, given, known := c.intsFrom("depth", 1)
	if at == nil || values == nil || !at.Ranked || !given || !known || len(depth) != 1 {
		c.unknown("its depth or the shape of its indices is not known")
		return
	}
	for _, in := range c.in {
		c.freezeValue(in, "makes positions from data")
	}
	axis, ok := normAxis(c.int("axis", -1), len(at.Shape)+1)
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	shape := append([]Dim(nil), at.Shape[:axis]...)
	y := c.set(0, values.Type, append(append(shape, Num(depth[0])), at.Shape[axis:]...))
	y.zero = nonZero
	y.elems = oneHotElems(at, values, int(depth[0]), axis)
}

// oneHotElems evaluates a small OneHot, nil where its contents are not known.
func oneHotElems(at, values *Value, depth, axis int) []Elem {
	index, ok := at.ints()
	dims, plain := numbers(at.Shape)
	if !ok || !plain || len(values.elems) != 2 || depth < 0 || len(index)*depth > maxElems {
		return nil
	}
	inner := 1
	for _, d := range dims[axis:] {
		inner *= d
	}
	out := make([]Elem, len(index)*depth)
	for i := range out {
		out[i] = values.elems[0]
	}
	for i, v := range index {
		if v < 0 {
			v += int64(depth)
		}
		if v >= 0 && v < int64(depth) {
			out[(i/inner*depth+int(v))*inner+i%inner] = values.elems[1]
		}
	}
	return out
}

func det(c *call) {
	x := c.input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return
	}
	n := len(x.Shape) - 2
	axes := make([][]label, n)
	for k := range x.Shape {
		if k < n {
			axes[k] = c.axis(x, k)
		} else {
			c.freeze(x, k, "is an axis of a matrix")
		}
	}
	c.set(0, x.Type, append([]Dim(nil), x.Shape[:n]...), axes...).zero = x.zero
}
