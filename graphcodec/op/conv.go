package op

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
)

func init() {
	register(
		Op{Name: "Conv", Since: 1, Infer: conv, Patch: patchGroup, Graph: GraphConv, Layer: &Layer{Weight: 1, Bias: 2, In: 1, Channel: 1, Groups: "group"}, Multiply: true, Train: ".wv", Sign: ofProduct, Static: Static{Counts: CountsOutput}, Note: "input channels = weight axis 1 per group, output channels = weight axis 0"},
		Op{Name: "ConvTranspose", Since: 1, Infer: convTranspose, Patch: patchGroup, Graph: GraphTransposed, Layer: &Layer{Weight: 1, Bias: 2, Out: 1, Channel: 1, Groups: "group", Linear: true, Unfit: unfitTransposedKernel}, Multiply: true, Train: ".wv", Static: Static{Counts: CountsInput}, Note: "input channels = weight axis 0, output channels = weight axis 1 per group"},
	)
}

// window is the geometry of a sliding window on the spatial axes.
type window struct {
	kernel, strides, dilations, pads, outPads []int64
	auto                                      string
	ceil                                      bool
}

func fill(v []int64, n int, def int64) ([]int64, bool) {
	if v == nil {
		v = make([]int64, n)
		for i := range v {
			v[i] = def
		}
	}
	return v, len(v) == n
}

// window reads the attributes for n spatial axes; false where they contradict one another.
func (c *Call) window(kernel []int64, n int) (window, bool) {
	w := window{kernel: kernel, auto: c.str("auto_pad", "NOTSET"), ceil: c.Int("ceil_mode", 0) != 0}
	var a, b, p, o bool
	w.strides, a = fill(c.ints("strides"), n, 1)
	w.dilations, b = fill(c.ints("dilations"), n, 1)
	w.pads, p = fill(c.ints("pads"), 2*n, 0)
	w.outPads, o = fill(c.ints("output_padding"), n, 0)
	ok := a && b && p && o && len(kernel) == n
	for i := 0; ok && i < n; i++ {
		ok = w.strides[i] > 0 && w.dilations[i] > 0 && kernel[i] > 0 && kernel[i] < 1<<31 && w.dilations[i] < 1<<31
	}
	return w, ok
}

// out returns the length that a window on spatial axis i leaves of in.
func (w window) out(i int, in dim.Dim) dim.Dim {
	stride := dim.Num(w.strides[i])
	reach := (w.kernel[i]-1)*w.dilations[i] + 1
	switch w.auto {
	case "SAME_UPPER", "SAME_LOWER":
		return in.Add(stride).Add(dim.Num(-1)).FloorDiv(stride)
	case "VALID":
		return in.Add(dim.Num(-reach)).FloorDiv(stride).Add(dim.Num(1))
	}
	n := len(w.kernel)
	room := in.Add(dim.Num(w.pads[i] + w.pads[n+i] - reach))
	if !w.ceil {
		return room.FloorDiv(stride).Add(dim.Num(1))
	}
	out := room.Add(stride).Add(dim.Num(-1)).FloorDiv(stride).Add(dim.Num(1))
	if out.IsNum() && in.IsNum() && (out.N-1)*stride.N >= in.N+w.pads[i] {
		out.N-- // the last window would lie in the padding
	}
	return out
}

// fitted gives an input of unknown rank the one of the weight, which a reader does not.
func (c *Call) fitted(x, w *Value) *Value {
	if c.reading || x == nil || x.Ranked || w == nil || !w.Ranked || len(w.Shape) < 3 {
		return x
	}
	out := *x
	out.Ranked, out.Shape, out.Axes = true, make([]dim.Dim, len(w.Shape)), make([][]label.Label, len(w.Shape))
	for k := range out.Shape {
		out.Shape[k] = dim.Symbol("?" + c.outName(0) + ".in" + dim.Num(int64(k)).String())
	}
	return &out
}

func conv(c *Call) {
	x, w, bias := c.fitted(c.Input(0), c.Input(1)), c.Input(1), c.Input(2)
	if x == nil || w == nil || !x.Ranked || !w.Ranked || len(w.Shape) < 3 || len(x.Shape) != len(w.Shape) {
		c.unknown("the shapes of input and weight do not fit")
		return
	}
	group, ws := c.Int("group", 1), w.Shape
	dims, ok := dim.Numbers(ws)
	n := len(ws) - 2
	if !ok || group < 1 || dims[0]%int(group) != 0 || (x.Shape[1].IsNum() && x.Shape[1] != ws[1].Mul(dim.Num(group))) {
		c.unknown("weight %v does not fit input %v with %d groups", ws, x.Shape, group)
		return
	}
	win, ok := c.kernelWindow(dims)
	if !ok {
		c.unknown("its attributes contradict one another")
		return
	}
	out := c.convLinks(x, w, int(group), dims)
	for k := 2; k < len(ws); k++ {
		c.freeze(w, k, "is the extent of a kernel")
		c.freeze(x, k, "convolves along this axis")
	}
	c.along(bias, out)
	shape := []dim.Dim{x.Shape[0], ws[0]}
	for i := range n {
		shape = append(shape, win.out(i, x.Shape[i+2]))
	}
	y := c.set(0, x.Type, shape, c.axis(x, 0), out)
	y.zero = biasZero(bias)
	if w.zero != isZero && w.loose != 2 && (dims[1] > 1 || x.zero != isZero) {
		y.zero = nonZero
	}
	c.cost(dim.Product(shape[2:]).Mul(shape[0]).N*dim.Product(ws[2:]).N, axisCost(w, 0, out), axisCost(w, 1, c.read(w, 1)))
}

func biasZero(bias *Value) zeroState {
	if bias == nil {
		return isZero
	}
	return bias.zero
}

// convLinks joins the channels of a convolution and returns the labels of its output channels.
func (c *Call) convLinks(x, w *Value, group int, dims []int) []label.Label {
	in := c.axis(x, 1)
	kept := c.computed(w) && !c.alive(c.axis(w, 1)) // on its input channels, so the kept ones are picked
	if x.zero != isZero && (w.zero != isZero || kept) && dims[1] > 1 {
		c.freeze(x, 1, "sums over channels that would not be zero when removed")
	}
	switch {
	case group == 1:
		c.role(w, 0, Output)
		c.role(w, 1, Input)
		c.meet(w, 1, in)
		return c.axis(w, 0)
	case dims[1] == 1:
		c.role(w, 0, Depthwise)
		mult := dims[0] / group
		c.freeze(w, 1, "a depthwise kernel has one input channel")
		if mult > 1 && in != nil {
			in = c.Labels.Merge([][]label.Label{in, nil}, []int{group, mult})
		}
		c.join(w, 0, in)
		return c.axis(w, 0)
	}
	c.role(w, 0, Output)
	c.role(w, 1, Input)
	why := c.because("all groups of a convolution must have the same size")
	var groups, inner []label.Label
	if in != nil {
		groups, inner = c.Labels.Split(in, group, dims[1], why)
	}
	c.meet(w, 1, inner)
	ownGroups, _ := c.Labels.Split(c.axis(w, 0), group, dims[0]/group, why)
	if dims[0] == group {
		ownGroups = c.axis(w, 0)
	}
	c.joinLabels(groups, ownGroups)
	return c.axis(w, 0)
}

func convTranspose(c *Call) {
	x, w, bias := c.fitted(c.Input(0), c.Input(1)), c.Input(1), c.Input(2)
	if x == nil || w == nil || !x.Ranked || !w.Ranked || len(w.Shape) < 3 || len(x.Shape) != len(w.Shape) {
		c.unknown("the shapes of input and weight do not fit")
		return
	}
	group, ws := int(c.Int("group", 1)), w.Shape
	dims, ok := dim.Numbers(ws)
	n := len(ws) - 2
	if !ok || group < 1 || dims[0]%group != 0 || (x.Shape[1].IsNum() && x.Shape[1] != ws[0]) {
		c.unknown("weight %v does not fit input %v with %d groups", ws, x.Shape, group)
		return
	}
	win, ok := c.kernelWindow(dims)
	if !ok {
		c.unknown("its attributes contradict one another")
		return
	}
	c.role(w, 0, Input)
	c.role(w, 1, Output)
	c.link(w, 0, x, 1)
	if x.zero != isZero && w.zero != isZero {
		c.freeze(x, 1, "sums over channels that would not be zero when removed")
	}
	var groups []label.Label
	if group > 1 {
		groups, _ = c.Labels.Split(c.axis(w, 0), group, dims[0]/group, c.because("all groups of a convolution must have the same size"))
		if dims[0] == group {
			groups = c.axis(w, 0)
		}
	}
	out := c.Labels.Merge([][]label.Label{groups, c.axis(w, 1)}, []int{group, dims[1]})
	for k := 2; k < len(ws); k++ {
		c.freeze(w, k, "is the extent of a kernel")
		c.freeze(x, k, "convolves along this axis")
	}
	c.along(bias, out)
	shape := []dim.Dim{x.Shape[0], dim.Num(int64(group * dims[1]))}
	for i := range n {
		shape = append(shape, c.transposedOut(win, i, x.Shape[i+2]))
	}
	y := c.set(0, x.Type, shape, c.axis(x, 0), out)
	y.zero = biasZero(bias)
	if w.zero != isZero {
		y.zero = nonZero
	}
	c.cost(dim.Product(x.Shape[2:]).Mul(x.Shape[0]).N*dim.Product(ws[2:]).N, axisCost(w, 0, c.axis(w, 0)), axisCost(w, 1, c.axis(w, 1)))
}

func (c *Call) transposedOut(w window, i int, in dim.Dim) dim.Dim {
	n := len(w.kernel)
	if given := c.ints("output_shape"); len(given) == n {
		return dim.Num(given[i])
	} else if len(given) == n+2 {
		return dim.Num(given[i+2])
	}
	full := in.Add(dim.Num(-1)).Mul(dim.Num(w.strides[i])).Add(dim.Num(w.outPads[i] + (w.kernel[i]-1)*w.dilations[i] + 1))
	switch w.auto {
	case "SAME_UPPER", "SAME_LOWER":
		return in.Mul(dim.Num(w.strides[i]))
	case "VALID":
		return full
	}
	return full.Add(dim.Num(-w.pads[i] - w.pads[n+i]))
}

// cost sets the node's multiply-accumulates.
func (c *Call) cost(fixed int64, axes ...CostAxis) {
	c.MACs = &MACs{Fixed: fixed, Axes: axes}
}

func axisCost(v *Value, k int, labels []label.Label) CostAxis {
	return CostAxis{labels, v.Shape[k].N}
}

// kernelWindow is the window of a convolution whose weight has the given dims.
func (c *Call) kernelWindow(dims []int) (window, bool) {
	kernel := make([]int64, len(dims)-2)
	for i := range kernel {
		kernel[i] = int64(dims[i+2])
	}
	return c.window(kernel, len(kernel))
}
