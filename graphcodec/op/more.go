package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: loss, Note: "cannot be pruned; a loss over classes"}, "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
	family(Op{Since: 1, Infer: windowFunction, Note: "cannot be pruned; its length is its input"}, "HannWindow", "HammingWindow", "BlackmanWindow")
	family(Op{Since: 1, Infer: swiGLU, Note: "element-wise with broadcasting, zero stays zero"}, "SwiGLU")
	register(
		Op{Name: "Col2Im", Since: 18, Infer: col2Im, Note: "channels pass through; blocks are kept whole"},
		Op{Name: "CenterCropPad", Since: 18, Infer: centerCropPad, Note: "frozen on the axes it crops or pads; the others pass through"},
		Op{Name: "DeformConv", Since: 19, Infer: deformConv, Patch: patchGroup, Graph: GraphConv, Layer: &Layer{Weight: 1, Bias: 3, In: 1, Channel: 1, Groups: "group", Unfit: unfitMovedKernel}, Note: "as Conv; offsets and mask are kept"},
		Op{Name: "AffineGrid", Since: 20, Infer: affineGrid, Note: "cannot be pruned; its shape is known"},
	)
}

// loss is [batch, classes, ..] against [batch, ..]: the targets' shape, or a number.
func loss(c *Call) {
	x, target := c.Input(0), c.Input(1)
	if x == nil || target == nil || !x.Ranked || !target.Ranked {
		c.unknown("the rank of an input is unknown")
		return
	}
	for _, v := range c.In {
		c.freezeValue(v, "is part of a loss")
	}
	var shape []dim.Dim
	if c.str("reduction", "mean") == "none" {
		shape = slices.Clone(target.Shape)
	}
	c.set(0, x.Type, shape).zero = nonZero
	c.set(1, x.Type, slices.Clone(x.Shape)).zero = nonZero // log probabilities
}

func windowFunction(c *Call) {
	n, ok := c.Input(0).ints()
	if !ok || len(n) != 1 {
		c.unknown("its length is not known")
		return
	}
	c.freezeValue(c.In[0], "is a length")
	c.set(0, onnxio.DataType(c.Int("output_datatype", int64(onnxio.Float))), []dim.Dim{dim.Num(n[0])}).zero = nonZero
}

// swiGLU is a gate, SiLU of one operand times the other.
func swiGLU(c *Call) {
	a, b := c.Input(0), c.Input(1)
	if a == nil || b == nil {
		c.unknown("needs two inputs")
		return
	}
	y := c.broadcast(c.In[:2], a.Type)
	if y == nil {
		return
	}
	if c.tracked(y) && !(c.zeroed(a) == isZero && c.covers(a, y)) && !(c.zeroed(b) == isZero && c.covers(b, y)) {
		y.zero = nonZero
	}
}

// col2Im puts columns [batch, channels*block, places] together to maps.
func col2Im(c *Call) {
	x := c.Input(0)
	image, a := c.Input(1).ints()
	block, b := c.Input(2).ints()
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
	shape := []dim.Dim{x.Shape[0], dim.Num(x.Shape[1].N / size)}
	for _, n := range image {
		shape = append(shape, dim.Num(n))
	}
	c.set(0, x.Type, shape, c.axis(x, 0), c.wholeBlocks(c.axis(x, 1), int(shape[1].N), int(size))).zero = x.zero
}

func centerCropPad(c *Call) {
	x := c.Input(0)
	sizes, ok := c.Input(1).ints()
	if x == nil || !x.Ranked || !ok {
		c.unknown("the new lengths are not known")
		return
	}
	c.shapeIn.set(1, true)
	c.freezeTaint(c.In[1], "a length follows from this axis")
	axes := c.ints("axes")
	shape, labels := slices.Clone(x.Shape), make([][]label.Label, len(x.Shape))
	for k := range labels {
		labels[k] = c.axis(x, k)
	}
	for i, n := range sizes {
		k, in := i, i < len(shape)
		if axes != nil && i < len(axes) {
			k, in = NormAxis(axes[i], len(shape))
		}
		if !in {
			c.unknown("axes are out of range")
			return
		}
		if shape[k] != dim.Num(n) {
			c.freeze(x, k, "is cropped or padded")
			shape[k], labels[k] = dim.Num(n), nil
		}
	}
	c.set(0, x.Type, shape, labels...).zero = x.zero
}

func deformConv(c *Call) {
	x, w := c.Input(0), c.Input(1)
	for i, v := range c.In {
		if i == 2 || i > 3 {
			c.freezeValue(v, "shifts the sampling positions")
		}
	}
	if c.Int("offset_group", 1) > 1 && x != nil && len(x.Shape) > 1 {
		c.freeze(x, 1, "groups of channels share offsets")
	}
	d := c.with(x, w, c.Input(3))
	conv(d)
	c.finish(d)
}

func affineGrid(c *Call) {
	theta := c.Input(0)
	size, ok := c.Input(1).ints()
	if theta == nil || !ok || len(size) < 4 {
		c.unknown("the size is not known")
		return
	}
	c.freezeValue(theta, "holds the sampling positions")
	c.freezeValue(c.In[1], "is a size")
	shape := []dim.Dim{dim.Num(size[0])}
	for _, n := range size[2:] {
		shape = append(shape, dim.Num(n))
	}
	c.set(0, theta.Type, append(shape, dim.Num(int64(len(size)-2)))).zero = nonZero
}
