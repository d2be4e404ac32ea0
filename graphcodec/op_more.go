package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: loss, Note: "cannot be pruned; a loss over classes"}, "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
	family(Op{Since: 1, Infer: windowFunction, Note: "cannot be pruned; its length is its input"}, "HannWindow", "HammingWindow", "BlackmanWindow")
	family(Op{Since: 1, Infer: swiGLU, Note: "element-wise with broadcasting, zero stays zero"}, "SwiGLU")
	register(
		Op{Name: "Col2Im", Since: 18, Infer: col2Im, Note: "channels pass through; blocks are kept whole"},
		Op{Name: "CenterCropPad", Since: 18, Infer: centerCropPad, Note: "frozen on the axes it crops or pads; the others pass through"},
		Op{Name: "DeformConv", Since: 19, Infer: deformConv, Patch: patchGroup, Graph: graphConv, Layer: &Layer{Weight: 1, Bias: 3, In: 1, Channel: 1, Groups: "group", Unfit: unfitMovedKernel}, Note: "as Conv; offsets and mask are kept"},
		Op{Name: "AffineGrid", Since: 20, Infer: affineGrid, Note: "cannot be pruned; its shape is known"},
	)
}

// loss is [batch, classes, ..] against [batch, ..]: the targets' shape, or a number.
func loss(c *call) {
	x, target := c.input(0), c.input(1)
	if x == nil || target == nil || !x.Ranked || !target.Ranked {
		c.unknown("the rank of an input is unknown")
		return
	}
	for _, v := range c.in {
		c.freezeValue(v, "is part of a loss")
	}
	var shape []Dim
	if c.str("reduction", "mean") == "none" {
		shape = slices.Clone(target.Shape)
	}
	c.set(0, x.Type, shape).zero = nonZero
	c.set(1, x.Type, slices.Clone(x.Shape)).zero = nonZero // log probabilities
}

func windowFunction(c *call) {
	n, ok := c.input(0).ints()
	if !ok || len(n) != 1 {
		c.unknown("its length is not known")
		return
	}
	c.freezeValue(c.in[0], "is a length")
	c.set(0, onnxio.DataType(c.int("output_datatype", int64(onnxio.Float))), []Dim{Num(n[0])}).zero = nonZero
}

// swiGLU is a gate, SiLU of one operand times the other.
func swiGLU(c *call) {
	a, b := c.input(0), c.input(1)
	if a == nil || b == nil {
		c.unknown("needs two inputs")
		return
	}
	y := c.broadcast(c.in[:2], a.Type)
	if y == nil {
		return
	}
	if c.tracked(y) && !(c.zeroed(a) == isZero && c.covers(a, y)) && !(c.zeroed(b) == isZero && c.covers(b, y)) {
		y.zero = nonZero
	}
}

// col2Im puts columns [batch, channels*block, places] together to maps.
func col2Im(c *call) {
	x := c.input(0)
	image, a := c.input(1).ints()
	block, b := c.input(2).ints()
	if x == nil || len(x.Shape) != 3 || !a || !b || !x.Shape[1].IsNum() {
		c.unknown("its shapes are not known")
		return
	}
	c.shapeIn.set(1, true)
	c.shapeIn.set(2, true)
	size := int64(1)
	for _, n := range block {
		size *= max(n, 1)
	}
	if x.Shape[1].N%size != 0 {
		c.unknown("%d rows are not a multiple of its blocks of %d", x.Shape[1].N, size)
		return
	}
	c.freeze(x, 2, "holds the positions of the blocks")
	shape := []Dim{x.Shape[0], Num(x.Shape[1].N / size)}
	for _, n := range image {
		shape = append(shape, Num(n))
	}
	c.set(0, x.Type, shape, c.axis(x, 0), c.wholeBlocks(c.axis(x, 1), int(shape[1].N), int(size))).zero = x.zero
}

func centerCropPad(c *call) {
	x := c.input(0)
	sizes, ok := c.input(1).ints()
	if x == nil || !x.Ranked || !ok {
		c.unknown("the new lengths are not known")
		return
	}
	c.shapeIn.set(1, true)
	c.freezeTaint(c.in[1], "a length follows from this axis")
	axes := c.ints("axes")
	shape, labels := slices.Clone(x.Shape), make([][]label, len(x.Shape))
	for k := range labels {
		labels[k] = c.axis(x, k)
	}
	for i, n := range sizes {
		k, in := i, i < len(shape)
		if axes != nil && i < len(axes) {
			k, in = normAxis(axes[i], len(shape))
		}
		if !in {
			c.unknown("axes are out of range")
			return
		}
		if shape[k] != Num(n) {
			c.freeze(x, k, "is cropped or padded")
			shape[k], labels[k] = Num(n), nil
		}
	}
	c.set(0, x.Type, shape, labels...).zero = x.zero
}

func deformConv(c *call) {
	x, w := c.input(0), c.input(1)
	for i, v := range c.in {
		if i == 2 || i > 3 {
			c.freezeValue(v, "shifts the sampling positions")
		}
	}
	if c.int("offset_group", 1) > 1 && x != nil && len(x.Shape) > 1 {
		c.freeze(x, 1, "groups of channels share offsets")
	}
	d := c.with(x, w, c.input(3))
	conv(d)
	c.finish(d)
}

func affineGrid(c *call) {
	theta := c.input(0)
	size, ok := c.input(1).ints()
	if theta == nil || !ok || len(size) < 4 {
		c.unknown("the size is not known")
		return
	}
	c.freezeValue(theta, "holds the sampling positions")
	c.freezeValue(c.in[1], "is a size")
	shape := []Dim{Num(size[0])}
	for _, n := range size[2:] {
		shape = append(shape, Num(n))
	}
	c.set(0, theta.Type, append(shape, Num(int64(len(size)-2)))).zero = nonZero
}
