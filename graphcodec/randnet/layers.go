package randnet

import (
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

// conv is [N, C, H, W] to [N, out, H/stride, W/stride].
func (n *net) conv(v *value, out, k, stride, groups, dilation int) *value {
	in, pad := v.dims[1], dilation*(k-1)/2
	w := n.weight("weight", 0, 1/math.Sqrt(float64(in/groups*k*k)), out, in/groups, k, k)
	names := []string{v.name, n.standardised(w, []int{out, in / groups, k, k}, 1, 2, 3)}
	if n.step%3 != 0 {
		names = append(names, n.weight("bias", 0, .2, out))
	}
	side := func(d int) int { return (d+2*pad-dilation*(k-1)-1)/stride + 1 }
	return n.node("Conv", []int{v.dims[0], out, side(v.dims[2]), side(v.dims[3])}, names,
		integers("kernel_shape", k, k), integers("strides", stride, stride), integers("pads", pad, pad, pad, pad), integers("dilations", dilation, dilation), integer("group", groups))
}

// standardised is a weight less its mean over these axes and divided by its deviation, where the style says so: as a BatchNormalization in training of what it reads at every other step, else written out.
func (n *net) standardised(w string, dims []int, axes ...int) string {
	if !n.Style.Standardised {
		return w
	}
	v := &value{name: w, dims: dims}
	if out := dims[0]; len(dims) == 4 && n.Opset >= 14 && n.step%2 == 0 {
		flat := n.node("Reshape", []int{1, out, -1}, []string{w, n.ints(1, out, -1)})
		zero := func(kind string) string { return n.weight(kind, 0, 0, out) }
		y := n.nodes("BatchNormalization", [][]int{flat.dims, {out}, {out}}, []string{flat.name, n.weight("gain", 1, .2, out), zero("shift"), zero("running"), n.weight("var", 1, 0, out)}, integer("training_mode", 1), float("epsilon", 1e-5))[0]
		return n.node("Reshape", dims, []string{y.name, n.ints(dims...)}).name
	}
	one := append([]int{}, dims...)
	for _, k := range axes {
		one[k] = 1
	}
	d := n.with2("Sub", v, n.reduce("ReduceMean", v, one, true, axes...))
	s := n.reduce("ReduceMean", n.with2("Mul", d, d), one, true, axes...)
	s = n.node("Sqrt", one, []string{n.node("Add", one, []string{s.name, n.constant(floats(n.fresh("eps"), []float32{1e-5}))}).name})
	return n.with2("Div", d, s).name
}

// linear works on the last axis.
func (n *net) linear(v *value, out int) *value {
	in := v.dims[len(v.dims)-1]
	dims := append(append([]int{}, v.dims[:len(v.dims)-1]...), out)
	std := 1 / math.Sqrt(float64(in))
	if len(dims) == 2 && !n.Style.MatMulAdd {
		return n.node("Gemm", dims, []string{v.name, n.standardised(n.weight("weight", 0, std, in, out), []int{in, out}, 0), n.weight("bias", 0, .2, out)})
	}
	m := n.node("MatMul", dims, []string{v.name, n.standardised(n.weight("weight", 0, std, in, out), []int{in, out}, 0)})
	return n.with("Add", m, n.weight("bias", 0, .2, out))
}

// batchNorm is inference over axis 1.
func (n *net) batchNorm(v *value) *value {
	c := v.dims[1]
	return n.node("BatchNormalization", v.dims, []string{v.name, n.weight("scale", 1, .3, c), n.weight("shift", 0, .3, c), n.weight("mean", 0, .3, c), n.weight("var", 1, .3, c)}, float("epsilon", 1e-5))
}

// layerNorm is over the last axis; before opset 17 written out.
func (n *net) layerNorm(v *value) *value {
	c := v.dims[len(v.dims)-1]
	scale, shift := n.weight("scale", 1, .3, c), n.weight("shift", 0, .3, c)
	last := len(v.dims) - 1
	if n.Opset >= 17 {
		return n.node("LayerNormalization", v.dims, []string{v.name, scale, shift}, integer("axis", last), float("epsilon", 1e-5))
	}
	one := append(append([]int{}, v.dims[:last]...), 1)
	d := n.with2("Sub", v, n.reduce("ReduceMean", v, one, true, last))
	s := n.reduce("ReduceMean", n.with2("Mul", d, d), one, true, last)
	s = n.node("Sqrt", one, []string{n.node("Add", one, []string{s.name, n.constant(floats(n.fresh("eps"), []float32{1e-5}))}).name})
	d = n.with2("Div", d, s)
	return n.node("Add", v.dims, []string{n.node("Mul", v.dims, []string{d.name, scale}).name, shift})
}

func (n *net) with2(op string, v, w *value) *value {
	return n.node(op, v.dims, []string{v.name, w.name})
}

// gelu is written out.
func (n *net) gelu(v *value) *value {
	c := func(x float32) string { return n.constant(floats(n.fresh("c"), []float32{x})) }
	e := n.unary("Erf", n.node("Div", v.dims, []string{v.name, c(math.Sqrt2)}))
	e = n.node("Add", v.dims, []string{e.name, c(1)})
	return n.node("Mul", v.dims, []string{n.node("Mul", v.dims, []string{v.name, e.name}).name, c(.5)})
}

var activations = []string{"Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Elu", "Softplus", "Selu", "Softsign", "Abs", "Neg", "HardSigmoid"}

func (n *net) activation(v *value) *value {
	i := n.r.IntN(len(activations) + 2)
	if i == len(activations) {
		return n.gelu(v)
	}
	if i > len(activations) {
		c := func(x float32) string { return n.constant(floats(n.fresh("c"), []float32{x})) }
		return n.node("Clip", v.dims, []string{v.name, c(-1), c(2)})
	}
	if activations[i] == "HardSwish" && n.Opset < 14 {
		return n.unary("Relu", v)
	}
	return n.unary(activations[i], v)
}

// partner is another value of the same dims, by a projection where there is none.
func (n *net) partner(v *value) *value {
	from := n.pool[1+n.r.IntN(len(n.pool)-1)]
	if len(from.dims) != len(v.dims) {
		from = v
	}
	same := true
	for i, d := range v.dims {
		same = same && d == from.dims[i]
	}
	switch {
	case same && from.name != v.name:
		return from
	case len(v.dims) == 4 && from.dims[2] == v.dims[2] && from.dims[3] == v.dims[3]:
		return n.conv(from, v.dims[1], 1, 1, 1, 1)
	case len(v.dims) == 2, len(v.dims) == 3 && from.dims[1] == v.dims[1]:
		return n.linear(from, v.channels())
	case len(v.dims) == 4:
		return n.conv(v, v.dims[1], 1, 1, 1, 1)
	}
	return n.linear(v, v.channels())
}

// channelAxis of a value's layout.
func channelAxis(v *value) int {
	if len(v.dims) == 3 {
		return 2
	}
	return 1
}

func (n *net) sliced(v *value, axis, start, end, step int) *value {
	dims := append([]int{}, v.dims...)
	dims[axis] = (end - start + step - 1) / step
	return n.node("Slice", dims, []string{v.name, n.ints(start), n.ints(end), n.ints(axis), n.ints(step)})
}

func axisAttr(v *value) *onnxio.Attribute { return integer("axis", channelAxis(v)) }
