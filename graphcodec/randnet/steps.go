package randnet

import (
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

// Steps give nil where they do not apply.
var imageSteps = append([]func(*net, *value) *value{
	func(n *net, v *value) *value {
		return n.conv(v, 4+n.r.IntN(13), []int{1, 3, 3, 5}[n.r.IntN(4)], 1, 1, 1)
	},
	func(n *net, v *value) *value { return n.conv(v, 4+n.r.IntN(13), 3, 1, 1, 1+n.r.IntN(2)) },
	(*net).strided, (*net).grouped, (*net).depthwise, (*net).transposedConv, (*net).pool2, (*net).gate, (*net).prelu, (*net).instanceNorm, (*net).groupNorm,
	(*net).channelsLast, (*net).spatialPad, (*net).upsample, (*net).depthToSpace, (*net).spaceToDepth, (*net).toTokens, (*net).toFeatures, (*net).shuffle, (*net).channelPad,
	func(n *net, v *value) *value { return n.batchNorm(v) },
}, anySteps...)

var tokenSteps = append([]func(*net, *value) *value{
	func(n *net, v *value) *value { return n.linear(v, 6+2*n.r.IntN(8)) },
	func(n *net, v *value) *value { return n.layerNorm(v) },
	(*net).attention, (*net).attention, (*net).mlp, (*net).gatedMLP, (*net).mixer, (*net).position, (*net).classToken, (*net).recurrent, (*net).toImage, (*net).rmsNorm,
	func(n *net, v *value) *value { return n.features(v) },
}, anySteps...)

var featureSteps = append([]func(*net, *value) *value{
	func(n *net, v *value) *value { return n.linear(v, 8+n.r.IntN(25)) },
	func(n *net, v *value) *value { return n.linear(v, 8+n.r.IntN(25)) },
	func(n *net, v *value) *value { return n.batchNorm(v) },
	func(n *net, v *value) *value { return n.layerNorm(v) },
	(*net).fold, (*net).gemm,
}, anySteps...)

// anySteps do with any layout.
var anySteps = []func(*net, *value) *value{
	(*net).activation, (*net).activation, (*net).add, (*net).add, (*net).multiply, (*net).extreme, (*net).concat, (*net).pieces, (*net).slice, (*net).gather, (*net).scale, (*net).softmax, (*net).chunkGate, (*net).where, (*net).einsum,
}

// alike are steps, by rank, after which every channel of a group is as good as another one.
var alike = map[int][]func(*net, *value) *value{
	4: {(*net).strided, (*net).depthwise, (*net).transposedConv, (*net).pool2, (*net).gate, (*net).prelu, (*net).instanceNorm, (*net).channelsLast, (*net).spatialPad, (*net).upsample, (*net).toTokens, (*net).toFeatures,
		(*net).batchNorm, (*net).activation, (*net).add, (*net).multiply, (*net).extreme, (*net).concat, (*net).scale, (*net).where},
	3: {(*net).layerNorm, (*net).attention, (*net).mlp, (*net).gatedMLP, (*net).position, (*net).classToken, (*net).toImage, (*net).rmsNorm, (*net).features, (*net).activation, (*net).add, (*net).multiply, (*net).scale, (*net).where, (*net).einsum},
	2: {(*net).gemm, (*net).batchNorm, (*net).layerNorm, (*net).activation, (*net).add, (*net).multiply, (*net).extreme, (*net).concat, (*net).scale, (*net).where, (*net).einsum},
}

func (n *net) strided(v *value) *value {
	if v.dims[2] < 4 {
		return nil
	}
	return n.conv(v, 6+n.r.IntN(13), 3, 2, 1, 1)
}

func (n *net) grouped(v *value) *value {
	for _, g := range []int{4, 3, 2} {
		if v.dims[1]%g == 0 && v.dims[1] > g {
			return n.conv(v, g*(2+n.r.IntN(3)), 3, 1, g, 1)
		}
	}
	return nil
}

func (n *net) depthwise(v *value) *value {
	return n.conv(v, v.dims[1]*(1+n.r.IntN(2)), 3, 1, v.dims[1], 1)
}

func (n *net) transposedConv(v *value) *value {
	if v.dims[2] > 8 {
		return nil
	}
	out, groups := 4+n.r.IntN(9), 1
	if v.dims[1]%2 == 0 && n.r.IntN(2) == 0 {
		groups, out = 2, 2*(2+n.r.IntN(4))
	}
	w := n.weight("weight", 0, 1/math.Sqrt(float64(v.dims[1])), v.dims[1], out/groups, 2, 2)
	return n.node("ConvTranspose", []int{v.dims[0], out, 2 * v.dims[2], 2 * v.dims[3]}, []string{v.name, w, n.weight("bias", 0, .2, out)},
		integers("kernel_shape", 2, 2), integers("strides", 2, 2), integer("group", groups))
}

func (n *net) pool2(v *value) *value {
	if v.dims[2] < 4 {
		return nil
	}
	op := []string{"MaxPool", "AveragePool"}[n.r.IntN(2)]
	return n.node(op, []int{v.dims[0], v.dims[1], v.dims[2] / 2, v.dims[3] / 2}, []string{v.name}, integers("kernel_shape", 2, 2), integers("strides", 2, 2))
}

// gate is squeeze and excitation.
func (n *net) gate(v *value) *value {
	s := n.reduce("ReduceMean", v, []int{v.dims[0], v.dims[1], 1, 1}, true, 2, 3)
	s = n.unary("Relu", n.conv(s, max(2, v.dims[1]/2), 1, 1, 1, 1))
	s = n.unary("Sigmoid", n.conv(s, v.dims[1], 1, 1, 1, 1))
	return n.with2("Mul", v, s)
}

func (n *net) prelu(v *value) *value {
	return n.node("PRelu", v.dims, []string{v.name, n.weight("slope", .2, .1, v.dims[1], 1, 1)})
}

func (n *net) instanceNorm(v *value) *value {
	return n.node("InstanceNormalization", v.dims, []string{v.name, n.weight("scale", 1, .3, v.dims[1]), n.weight("shift", 0, .3, v.dims[1])})
}

// groupNorm is as PyTorch writes it: reshaped to groups for InstanceNormalization, scaled behind.
func (n *net) groupNorm(v *value) *value {
	c := v.dims[1]
	if c%2 != 0 || c < 4 {
		return nil
	}
	r := n.reshape(v, v.dims[0], 2, c/2*v.dims[2]*v.dims[3])
	ones := n.constant(floats(n.fresh("ones"), []float32{1, 1}, 2))
	zeros := n.constant(floats(n.fresh("zeros"), []float32{0, 0}, 2))
	r = n.node("InstanceNormalization", r.dims, []string{r.name, ones, zeros})
	r = n.reshape(r, v.dims...)
	r = n.node("Mul", v.dims, []string{r.name, n.weight("scale", 1, .3, c, 1, 1)})
	return n.node("Add", v.dims, []string{r.name, n.weight("shift", 0, .3, c, 1, 1)})
}

// channelsLast normalises as ConvNeXt does.
func (n *net) channelsLast(v *value) *value {
	return n.transpose(n.layerNorm(n.transpose(v, 0, 2, 3, 1)), 0, 3, 1, 2)
}

func (n *net) spatialPad(v *value) *value {
	if v.dims[2] > 8 {
		return nil
	}
	dims := []int{v.dims[0], v.dims[1], v.dims[2] + 2, v.dims[3] + 2}
	return n.node("Pad", dims, []string{v.name, n.ints(0, 0, 1, 1, 0, 0, 1, 1)}, text("mode", "constant"))
}

// channelPad is the shortcut of the first ResNets.
func (n *net) channelPad(v *value) *value {
	if v.dims[1] > 16 {
		return nil
	}
	dims := []int{v.dims[0], v.dims[1] + 3, v.dims[2], v.dims[3]}
	return n.node("Pad", dims, []string{v.name, n.ints(0, 1, 0, 0, 0, 2, 0, 0)}, text("mode", "constant"))
}

func (n *net) upsample(v *value) *value {
	if v.dims[2] > 6 {
		return nil
	}
	dims := []int{v.dims[0], v.dims[1], 2 * v.dims[2], 2 * v.dims[3]}
	return n.node("Resize", dims, []string{v.name, "", n.constant(floats(n.fresh("scales"), []float32{1, 1, 2, 2}, 4))}, text("mode", "nearest"), text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor"))
}

func (n *net) depthToSpace(v *value) *value {
	if v.dims[1]%4 != 0 || v.dims[1] < 8 || v.dims[2] > 6 {
		return nil
	}
	mode := []string{"DCR", "CRD"}[n.r.IntN(2)]
	return n.node("DepthToSpace", []int{v.dims[0], v.dims[1] / 4, 2 * v.dims[2], 2 * v.dims[3]}, []string{v.name}, integer("blocksize", 2), text("mode", mode))
}

func (n *net) spaceToDepth(v *value) *value {
	if v.dims[1] > 8 || v.dims[2]%2 != 0 || v.dims[3]%2 != 0 {
		return nil
	}
	return n.node("SpaceToDepth", []int{v.dims[0], v.dims[1] * 4, v.dims[2] / 2, v.dims[3] / 2}, []string{v.name}, integer("blocksize", 2))
}

func (n *net) toTokens(v *value) *value {
	if v.dims[2]*v.dims[3] > 64 {
		return nil
	}
	return n.transpose(n.reshape(v, v.dims[0], v.dims[1], v.dims[2]*v.dims[3]), 0, 2, 1)
}

func (n *net) toFeatures(v *value) *value {
	size := v.dims[1] * v.dims[2] * v.dims[3]
	if size > 400 {
		return nil
	}
	if n.r.IntN(2) == 0 {
		return n.node("Flatten", []int{v.dims[0], size}, []string{v.name}, integer("axis", 1))
	}
	return n.reshape(v, v.dims[0], size)
}

func (n *net) shuffle(v *value) *value {
	for _, g := range []int{2, 3, 4} {
		if c := v.dims[1]; c%g == 0 && c > g && n.r.IntN(2) == 0 {
			s := n.reshape(v, v.dims[0], g, c/g, v.dims[2], v.dims[3])
			return n.reshape(n.transpose(s, 0, 2, 1, 3, 4), v.dims...)
		}
	}
	return nil
}

func (n *net) add(v *value) *value      { return n.with2("Add", v, n.partner(v)) }
func (n *net) multiply(v *value) *value { return n.with2("Mul", v, n.unary("Sigmoid", n.partner(v))) }

func (n *net) extreme(v *value) *value {
	return n.with2([]string{"Max", "Min", "Sub", "Mean", "Sum"}[n.r.IntN(5)], v, n.partner(v))
}

func (n *net) concat(v *value) *value {
	if v.channels() > 24 {
		return nil
	}
	w := n.partner(v)
	dims := append([]int{}, v.dims...)
	dims[channelAxis(v)] *= 2
	return n.node("Concat", dims, []string{v.name, w.name}, axisAttr(v))
}

// pieces splits the channels, works on one piece and puts them together in another order.
func (n *net) pieces(v *value) *value {
	c, axis := v.channels(), channelAxis(v)
	if c < 6 {
		return nil
	}
	a := 2 + n.r.IntN(c-3)
	sizes := []int{a, c - a}
	if c%3 == 0 && n.r.IntN(2) == 0 {
		sizes = []int{c / 3, c / 3, c / 3}
	}
	p := n.split(v, axis, sizes...)
	p[0] = n.activation(p[0])
	n.r.Shuffle(len(p), func(i, k int) { p[i], p[k] = p[k], p[i] })
	var names []string
	for _, x := range p {
		names = append(names, x.name)
	}
	return n.node("Concat", v.dims, names, axisAttr(v))
}

func (n *net) slice(v *value) *value {
	c := v.channels()
	if c < 6 {
		return nil
	}
	start := n.r.IntN(3)
	return n.sliced(v, channelAxis(v), start, c-n.r.IntN(2), 1+n.r.IntN(2))
}

// gather takes some channels in another order.
func (n *net) gather(v *value) *value {
	c, axis := v.channels(), channelAxis(v)
	p := n.r.Perm(c)[:max(2, c-n.r.IntN(3))]
	dims := append([]int{}, v.dims...)
	dims[axis] = len(p)
	return n.node("Gather", dims, []string{v.name, n.ints(p...)}, integer("axis", axis))
}

// scale is a weight per channel.
func (n *net) scale(v *value) *value {
	dims := []int{v.channels()}
	if len(v.dims) == 4 {
		dims = []int{1, v.channels(), 1, 1}
	}
	return n.with("Mul", v, n.weight("gamma", 1, .3, dims...))
}

// softmax over the channels keeps them whole.
func (n *net) softmax(v *value) *value {
	if n.r.IntN(3) > 0 {
		return nil
	}
	return n.unary("Softmax", v, axisAttr(v))
}

// chunkGate is a gated linear unit over halves.
func (n *net) chunkGate(v *value) *value {
	c := v.channels()
	if c%2 != 0 || c < 6 {
		return nil
	}
	p := n.split(v, channelAxis(v), c/2, c/2)
	return n.with2("Mul", p[0], n.unary("Sigmoid", p[1]))
}

// where chooses by sign.
func (n *net) where(v *value) *value {
	c := n.constant(floats(n.fresh("c"), []float32{0}))
	g := n.node("Greater", v.dims, []string{v.name, c})
	return n.node("Where", v.dims, []string{g.name, v.name, n.partner(v).name})
}

func (n *net) einsum(v *value) *value {
	if len(v.dims) == 4 {
		return nil
	}
	out := 6 + n.r.IntN(8)
	equation, dims := "nc,cd->nd", []int{v.dims[0], out}
	if len(v.dims) == 3 {
		equation, dims = "ntc,dc->ntd", []int{v.dims[0], v.dims[1], out}
		return n.node("Einsum", dims, []string{v.name, n.weight("weight", 0, 1/math.Sqrt(float64(v.dims[2])), out, v.dims[2])}, text("equation", equation))
	}
	return n.node("Einsum", dims, []string{v.name, n.weight("weight", 0, 1/math.Sqrt(float64(v.dims[1])), v.dims[1], out)}, text("equation", equation))
}

// gemm is the operator with a transposed weight and factors.
func (n *net) gemm(v *value) *value {
	out := 8 + n.r.IntN(17)
	w := n.weight("weight", 0, 1/math.Sqrt(float64(v.dims[1])), out, v.dims[1])
	attrs := []*onnxio.Attribute{integer("transB", 1), float("alpha", .9), float("beta", 1.1)}
	return n.node("Gemm", []int{v.dims[0], out}, []string{v.name, w, n.weight("bias", 0, .2, out)}, attrs...)
}

// fold makes an image of features.
func (n *net) fold(v *value) *value {
	c := v.dims[1]
	if c%4 != 0 || c < 16 {
		return nil
	}
	return n.reshape(v, v.dims[0], c/4, 2, 2)
}
