package models

import (
	"fmt"
	"math"
)

// vit is a small vision transformer: 6 blocks of width 192 with 6 heads on patches of a 7th to an 8th of the picture, mean pooling, no class token.
func vit(b *builder, o Options) {
	width, depth, heads := o.scaled(192), 6, 6
	if len(o.Widths) > 0 {
		width = o.Widths[0]
	}
	for heads > 1 && width%heads != 0 {
		heads--
	}
	patch := 4
	for o.Input[1]/patch > 16 {
		patch *= 2
	}
	rows, columns := o.Input[1]/patch, o.Input[2]/patch
	if rows < 1 || columns < 1 {
		b.dims = []int{0}
		return
	}
	w := b.tensor("patch.weight", b.uniform(1/math.Sqrt(float64(o.Input[0]*patch*patch))), width, o.Input[0], patch, patch)
	b.op("Conv", []string{b.x, w, b.tensor("patch.bias", constant(0), width)}, intsAttr("kernel_shape", patch, patch), intsAttr("strides", patch, patch))
	tokens := int64(rows * columns)
	b.op("Reshape", []string{b.x, b.ints(0, int64(width), tokens)})
	b.op("Transpose", []string{b.x}, intsAttr("perm", 0, 2, 1))
	b.op("Add", []string{b.x, b.tensor("position", b.normal(.02), 1, int(tokens), width)})
	b.dims = []int{int(tokens), width}
	for k := range depth {
		b.attention(fmt.Sprintf("blocks.%d", k), width, heads, tokens)
		x := b.x
		b.layerNorm(fmt.Sprintf("blocks.%d.norm2", k), width)
		b.matmul(fmt.Sprintf("blocks.%d.fc1", k), width, 4*width)
		b.gelu()
		b.matmul(fmt.Sprintf("blocks.%d.fc2", k), 4*width, width)
		b.add(x)
	}
	b.layerNorm("norm", width)
	b.op("ReduceMean", []string{b.x}, intsAttr("axes", 1), intAttr("keepdims", 0))
	b.dims = []int{width}
	b.linear("head", o.Classes)
}

func (b *builder) layerNorm(name string, width int) {
	b.op("LayerNormalization", []string{b.x, b.tensor(name+".weight", constant(1), width), b.tensor(name+".bias", constant(0), width)}, intAttr("axis", -1), floatAttr("epsilon", 1e-6))
}

// matmul is a linear layer on [N, tokens, features].
func (b *builder) matmul(name string, in, out int) {
	bound := math.Sqrt(6 / float64(in+out))
	b.op("MatMul", []string{b.x, b.tensor(name+".weight", b.uniform(bound), in, out)})
	b.op("Add", []string{b.x, b.tensor(name+".bias", constant(0), out)})
}

// gelu is written out, as opset 17 has no operator for it.
func (b *builder) gelu() {
	x := b.x
	b.op("Div", []string{x, b.scalar("sqrt2", math.Sqrt2)})
	b.op("Erf", []string{b.x})
	b.op("Add", []string{b.x, b.scalar("one", 1)})
	b.op("Mul", []string{b.x, x})
	b.op("Mul", []string{b.x, b.scalar("half", .5)})
}

func (b *builder) attention(name string, width, heads int, tokens int64) {
	x := b.x
	dim := int64(width / heads)
	b.layerNorm(name+".norm1", width)
	in := b.x
	split := func(part string, perm ...int) string {
		b.x = in
		b.matmul(name+"."+part, width, width)
		b.op("Reshape", []string{b.x, b.ints(0, tokens, int64(heads), dim)})
		return b.op("Transpose", []string{b.x}, intsAttr("perm", perm...))
	}
	q, k, v := split("q", 0, 2, 1, 3), split("k", 0, 2, 3, 1), split("v", 0, 2, 1, 3)
	b.op("MatMul", []string{q, k})
	b.op("Mul", []string{b.x, b.tensor(name+".scale", constant(1/math.Sqrt(float64(dim))))})
	b.op("Softmax", []string{b.x}, intAttr("axis", -1))
	b.op("MatMul", []string{b.x, v})
	b.op("Transpose", []string{b.x}, intsAttr("perm", 0, 2, 1, 3))
	b.op("Reshape", []string{b.x, b.ints(0, tokens, int64(width))})
	b.matmul(name+".proj", width, width)
	b.add(x)
}
