package xla

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

func shapeOf(t dtypes.DType, dims []int) shapes.Shape { return shapes.Make(t, dims...) }

func init() {
	rules["BatchNormalization"] = batchNorm
	rules["InstanceNormalization"] = one(instanceNorm)
	rules["GroupNormalization"] = one(groupNorm)
	rules["LayerNormalization"] = layerNorm
	rules["RMSNormalization"] = one(rmsNorm)
	rules["SimplifiedLayerNormalization"] = one(rmsNorm)
	rules["LRN"] = one(lrn)
	rules["LpNormalization"] = one(lpNorm)
}

// sumChannels sums everything but the last axis; as a product with ones it runs on all cores.
func sumChannels(x *Node) *Node {
	d := x.Shape().Dimensions
	n, c := product(d)/d[len(d)-1], d[len(d)-1]
	return DotProduct(Ones(x.Graph(), shapeOf(x.DType(), []int{n})), Reshape(x, n, c))
}

// batchNorm normalises channels last. In training it uses the batch's moments, with a gradient of its own that needs two sums, and notes the new running statistics.
func batchNorm(o *nodeOp) []*value {
	v, eps := o.in[0], o.floatOr("epsilon", 1e-5)
	var x *Node
	back := func(y *Node) *value { return plain(y) }
	switch d := v.dims(); {
	case len(d) == 4:
		x, back = o.e.nhwc(v), channelsLast
	case len(d) == 2:
		x = o.x(0)
	default: // [N, C, ...] with the rest as one axis
		n := product(d[2:])
		x = TransposeAllAxes(Reshape(o.x(0), d[0], d[1], n), 0, 2, 1)
		back = func(y *Node) *value { return plain(Reshape(TransposeAllAxes(y, 0, 2, 1), d...)) }
	}
	scale, bias, mean, variance := o.x(1), o.x(2), o.x(3), o.x(4)
	wide := func(c *Node) *Node { return ExpandLeftToRank(c, x.Rank()) }
	if o.intOr("training_mode", 0) != 0 && !o.e.train {
		y, m, s := trainedNorm(x, scale, bias, eps)
		k := o.floatOr("momentum", .9)
		keep := func(old, fresh *Node) *value { return plain(Add(MulScalar(old, k), MulScalar(fresh, 1-k))) }
		return []*value{back(y), keep(mean, m), keep(variance, s)}
	}
	if !o.e.train {
		a := Div(scale, Sqrt(AddScalar(variance, eps)))
		return []*value{back(Add(Mul(x, wide(a)), wide(Sub(bias, Mul(mean, a)))))}
	}
	y, m, s := trainedNorm(x, scale, bias, eps)
	o.e.running(o, m, s, product(x.Shape().Dimensions)/x.Shape().Dimensions[x.Rank()-1])
	return []*value{back(y)}
}

// trainedNorm normalises x [..., C] by its own moments and returns them. The gradient is the closed form
// dx = scale/sigma * (v - mean(v) - xhat*mean(v*xhat)) with dscale = sum(v*xhat), dbias = sum(v).
func trainedNorm(x, scale, bias *Node, eps float64) (y, mean, variance *Node) {
	wide := func(c *Node) *Node { return ExpandLeftToRank(c, x.Rank()) }
	d := x.Shape().Dimensions
	n := float64(product(d) / d[len(d)-1])
	fixed := StopGradient(x)
	mean = MulScalar(sumChannels(fixed), 1/n)
	variance = MulScalar(sumChannels(Square(Sub(fixed, wide(mean)))), 1/n)
	inverse := Inverse(Sqrt(AddScalar(variance, eps)))
	var v *Node // what arrives at y
	hat := func() *Node { return Mul(Sub(fixed, wide(mean)), wide(inverse)) }
	in := IdentityWithCustomGradient(x, func(_, _ *Node) *Node {
		h := hat()
		dBias, dScale := MulScalar(sumChannels(v), 1/n), MulScalar(sumChannels(Mul(v, h)), 1/n)
		return Mul(Sub(Sub(v, wide(dBias)), Mul(h, wide(dScale))), wide(Mul(scale, inverse)))
	})
	s := IdentityWithCustomGradient(scale, func(_, _ *Node) *Node { return sumChannels(Mul(v, hat())) })
	b := IdentityWithCustomGradient(bias, func(_, _ *Node) *Node { return sumChannels(v) })
	a := Mul(s, inverse)
	y = Add(Mul(in, wide(a)), wide(Sub(b, Mul(mean, a))))
	return IdentityWithCustomGradient(y, func(_, w *Node) *Node { v = w; return w }), mean, variance
}

// running notes the statistics after this batch. ONNX's momentum is the share of the old ones; the variance is the unbiased one, as frameworks keep it.
func (e *env) running(o *nodeOp, mean, variance *Node, n int) {
	momentum := o.floatOr("momentum", .9)
	fresh := []*Node{mean, MulScalar(variance, float64(n)/float64(max(n-1, 1)))}
	for i, f := range fresh {
		name := o.parameter(3 + i)
		if name == "" || e.stats == nil {
			continue
		}
		e.stats[name] = StopGradient(Add(MulScalar(e.params[name], momentum), MulScalar(f, 1-momentum)))
	}
}

// centred returns x less its mean over the axes, divided by its deviation.
func centred(x *Node, eps float64, axes ...int) *Node {
	d := Sub(x, ReduceAndKeep(x, ReduceMean, axes...))
	return Div(d, Sqrt(AddScalar(ReduceAndKeep(Square(d), ReduceMean, axes...), eps)))
}

func axesFrom(first, rank int) []int {
	var out []int
	for i := first; i < rank; i++ {
		out = append(out, i)
	}
	return out
}

// perChannel brings a vector over axis 1 to the rank of x.
func perChannel(c, x *Node) *Node {
	return Reshape(c, append([]int{1, c.Shape().Size()}, ones(x.Rank()-2)...)...)
}

func instanceNorm(o *nodeOp) *value {
	x := o.x(0)
	y := centred(x, o.floatOr("epsilon", 1e-5), axesFrom(2, x.Rank())...)
	return plain(Add(Mul(y, perChannel(o.x(1), x)), perChannel(o.x(2), x)))
}

// groupNorm has scale and bias per group up to opset 20 and per channel from 21 on.
func groupNorm(o *nodeOp) *value {
	x := o.x(0)
	d, g := x.Shape().Dimensions, o.intOr("num_groups", 1)
	if g < 1 || d[1]%g != 0 {
		o.fail("%d channels in %d groups", d[1], g)
	}
	y := Reshape(x, d[0], g, product(d)/d[0]/g)
	y = centred(y, o.floatOr("epsilon", 1e-5), 2)
	scale, bias := o.x(1), o.x(2)
	if scale.Shape().Size() == g && g != d[1] {
		y = Add(Mul(y, Reshape(scale, 1, g, 1)), Reshape(bias, 1, g, 1))
		return plain(Reshape(y, d...))
	}
	y = Reshape(y, d...)
	return plain(Add(Mul(y, perChannel(scale, x)), perChannel(bias, x)))
}

func layerNorm(o *nodeOp) []*value {
	x := o.x(0)
	axis := o.axis("axis", -1, x.Rank())
	axes := axesFrom(axis, x.Rank())
	mean := ReduceAndKeep(x, ReduceMean, axes...)
	deviation := Inverse(Sqrt(AddScalar(ReduceAndKeep(Square(Sub(x, mean)), ReduceMean, axes...), o.floatOr("epsilon", 1e-5))))
	y := Mul(centred(x, o.floatOr("epsilon", 1e-5), axesFrom(axis, x.Rank())...), ExpandLeftToRank(o.x(1), x.Rank()))
	if o.has(2) {
		y = Add(y, ExpandLeftToRank(o.x(2), x.Rank()))
	}
	return []*value{plain(y), plain(mean), plain(deviation)}
}

func rmsNorm(o *nodeOp) *value {
	x := o.x(0)
	axis := o.axis("axis", -1, x.Rank())
	ms := ReduceAndKeep(Square(x), ReduceMean, axesFrom(axis, x.Rank())...)
	y := Div(x, Sqrt(AddScalar(ms, o.floatOr("epsilon", 1e-5))))
	return plain(Mul(y, ExpandLeftToRank(o.x(1), x.Rank())))
}

// lrn divides by a power of the mean square over neighbouring channels.
func lrn(o *nodeOp) *value {
	x := o.x(0)
	d, size := x.Shape().Dimensions, o.intOr("size", 1)
	before, after := (size-1)/2, size-1-(size-1)/2
	p := convParams{strides: ones(1), dilations: ones(1), pads: [][2]int{{before, after}}}
	t := pool{first: 1, p: p, over: []int{0}}
	sum := pooled(t.padded(Square(x), 0, false), 1, []int{size}, p, []int{d[1]}, Add)
	base := AddScalar(MulScalar(sum, o.floatOr("alpha", 1e-4)/float64(size)), o.floatOr("bias", 1))
	return plain(Mul(x, Pow(base, scalarLike(x, -o.floatOr("beta", .75)))))
}

func lpNorm(o *nodeOp) *value {
	x := o.x(0)
	axis := o.axis("axis", -1, x.Rank())
	if o.intOr("p", 2) == 1 {
		return plain(Div(x, ReduceAndKeep(Abs(x), ReduceSum, axis)))
	}
	return plain(Div(x, Sqrt(ReduceAndKeep(Square(x), ReduceSum, axis))))
}
