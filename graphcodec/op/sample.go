package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
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

// sampled gives output 0 the first two axes of x followed by others; all of x's other axes are
// frozen.
func (c *Call) sampled(x *Value, first dim.Dim, behind ...dim.Dim) {
	for k := range x.Shape {
		if k != 1 {
			c.freeze(x, k, "samples along this axis")
		}
	}
	c.set(0, x.Type, append([]dim.Dim{first, x.Shape[1]}, behind...), nil, c.axis(x, 1)).zero = x.zero
}

func gridSample(c *Call) {
	x, grid := c.Input(0), c.Input(1)
	if x == nil || grid == nil || len(x.Shape) < 3 || len(grid.Shape) != len(x.Shape) {
		c.unknown("the ranks of its inputs are unknown or differ")
		return
	}
	c.freezeValue(grid, "holds the sampling positions")
	c.sampled(x, x.Shape[0], grid.Shape[1:len(grid.Shape)-1]...)
}

func roiPool(c *Call) {
	x, rois := c.Input(0), c.Input(1)
	if x == nil || rois == nil || len(x.Shape) != 4 || len(rois.Shape) != 2 {
		c.unknown("needs a map and a matrix of regions")
		return
	}
	for _, v := range c.In[1:] {
		c.freezeValue(v, "holds the regions that are pooled")
	}
	size := []dim.Dim{dim.Num(c.Int("output_height", 1)), dim.Num(c.Int("output_width", 1))}
	if c.Node.OpType == "MaxRoiPool" {
		shape := c.ints("pooled_shape")
		if len(shape) != 2 {
			c.unknown("has no pooled_shape")
			return
		}
		size = []dim.Dim{dim.Num(shape[0]), dim.Num(shape[1])}
	}
	c.sampled(x, rois.Shape[0], size...)
}

func topK(c *Call) {
	x, axis, ok := c.axisOfInput(-1)
	if !ok {
		return
	}
	k, _, known := c.intsFrom("k", 1)
	c.freeze(x, axis, "sorts along this axis")
	shape, axes := append([]dim.Dim(nil), x.Shape...), make([][]label.Label, len(x.Shape))
	shape[axis] = dim.Symbol("?" + c.outName(0) + ".k")
	if known && len(k) == 1 {
		shape[axis] = dim.Num(k[0])
	} else {
		c.freezeValue(c.Input(1), "how many are taken is not known")
	}
	for i := range axes {
		if i != axis {
			axes[i] = c.axis(x, i)
		}
	}
	c.set(0, x.Type, shape, axes...).zero = x.zero
	c.set(1, onnxio.Int64, append([]dim.Dim(nil), shape...), axes...).zero = nonZero
}

// found freezes every input; one axis of the output is as long as the data say.
func found(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	n := dim.Symbol(c.Name() + ".found")
	if axis, ok := NormAxis(c.Int("axis", 0), len(x.Shape)); ok && c.Node.OpType == "Compress" && c.attr("axis") != nil {
		c.compressed(x, axis, n)
		return
	}
	for _, in := range c.In {
		c.freezeValue(in, "picks what it finds")
	}
	switch c.Node.OpType {
	case "NonZero":
		c.set(0, onnxio.Int64, []dim.Dim{dim.Num(int64(max(len(x.Shape), 1))), n}).zero = nonZero
		return
	case "NonMaxSuppression":
		c.set(0, onnxio.Int64, []dim.Dim{n, dim.Num(3)}).zero = nonZero
		return
	}
	shape := []dim.Dim{n}
	if c.attr("axis") != nil {
		axis, ok := NormAxis(c.Int("axis", 0), len(x.Shape))
		if !ok {
			c.unknown("axis is out of range")
			return
		}
		shape = append([]dim.Dim(nil), x.Shape...)
		shape[axis] = n
	}
	c.set(0, x.Type, shape).zero = nonZero
	for i := 1; i < len(c.Out); i++ { // of Unique
		c.set(i, onnxio.Int64, []dim.Dim{dim.Symbol(c.Name() + ".indices")}).zero = nonZero
	}
}

// compressed keeps what a condition says of one axis, and the others.
func (c *Call) compressed(x *Value, axis int, n dim.Dim) {
	c.freezeValue(c.Input(1), "says what is kept")
	c.freeze(x, axis, "keeps positions that are known only at run time")
	shape, axes := slices.Clone(x.Shape), make([][]label.Label, len(x.Shape))
	for k := range shape {
		if axes[k] = c.axis(x, k); k == axis {
			shape[k], axes[k] = n, nil
		}
	}
	if keep, ok := c.Input(1).ints(); ok && !c.reading {
		kept := int64(0)
		for _, k := range keep {
			kept += k
		}
		shape[axis] = dim.Num(kept)
	}
	c.set(0, x.Type, shape, axes...).zero = x.zero
}

func oneHot(c *Call) {
	at, values := c.Input(0), c.Input(2)
	depth, given, known := c.intsFrom("depth", 1)
	if at == nil || values == nil || !at.Ranked || !given || !known || len(depth) != 1 {
		c.unknown("its depth or the shape of its indices is not known")
		return
	}
	for _, in := range c.In {
		c.freezeValue(in, "makes positions from data")
	}
	axis, ok := NormAxis(c.Int("axis", -1), len(at.Shape)+1)
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	shape := append([]dim.Dim(nil), at.Shape[:axis]...)
	y := c.set(0, values.Type, append(append(shape, dim.Num(depth[0])), at.Shape[axis:]...))
	y.zero = nonZero
	y.Elements = oneHotElems(at, values, int(depth[0]), axis)
}

// oneHotElems evaluates a small OneHot, nil where its contents are not known.
func oneHotElems(at, values *Value, depth, axis int) []Elem {
	index, ok := at.ints()
	dims, plain := dim.Numbers(at.Shape)
	if !ok || !plain || len(values.Elements) != 2 || depth < 0 || len(index)*depth > maxElems {
		return nil
	}
	inner := 1
	for _, d := range dims[axis:] {
		inner *= d
	}
	out := make([]Elem, len(index)*depth)
	for i := range out {
		out[i] = values.Elements[0]
	}
	for i, v := range index {
		if v < 0 {
			v += int64(depth)
		}
		if v >= 0 && v < int64(depth) {
			out[(i/inner*depth+int(v))*inner+i%inner] = values.Elements[1]
		}
	}
	return out
}

func det(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return
	}
	n := len(x.Shape) - 2
	axes := make([][]label.Label, n)
	for k := range x.Shape {
		if k < n {
			axes[k] = c.axis(x, k)
		} else {
			c.freeze(x, k, "is an axis of a matrix")
		}
	}
	c.set(0, x.Type, append([]dim.Dim(nil), x.Shape[:n]...), axes...).zero = x.zero
}
