package xla

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// convParams are a convolution's attributes over its two spatial axes.
type convParams struct {
	strides, dilations []int
	pads               [][2]int
	groups             int
}

var nhwcAxes = compute.ConvolveAxesConfig{
	InputBatch: 0, InputChannels: 3, InputSpatial: []int{1, 2},
	KernelInputChannels: 2, KernelOutputChannels: 3, KernelSpatial: []int{0, 1},
	OutputBatch: 0, OutputChannels: 3, OutputSpatial: []int{1, 2},
}

func init() {
	rules["Conv"] = one(convRule)
	rules["ConvTranspose"] = one(convTranspose)
}

// spatial reads the attributes of a convolution or pool over n spatial axes of extents dims.
func (o *nodeOp) spatial(dims, kernel []int) convParams {
	n := len(dims)
	c := convParams{strides: o.intsOr("strides", ones(n)), dilations: o.intsOr("dilations", ones(n)), groups: o.intOr("group", 1), pads: make([][2]int, n)}
	if len(c.strides) != n || len(c.dilations) != n || len(kernel) != n {
		o.fail("%d spatial axes with %d strides, %d dilations and %d kernel extents", n, len(c.strides), len(c.dilations), len(kernel))
	}
	pads := o.intsOr("pads", make([]int, 2*n))
	if len(pads) != 2*n {
		o.fail("%d pads for %d spatial axes", len(pads), n)
	}
	auto := o.textOr("auto_pad", "NOTSET")
	for i := range dims {
		switch auto {
		case "NOTSET", "":
			c.pads[i] = [2]int{pads[i], pads[n+i]}
		case "VALID":
		case "SAME_UPPER", "SAME_LOWER":
			out := (dims[i] + c.strides[i] - 1) / c.strides[i]
			total := max((out-1)*c.strides[i]+(kernel[i]-1)*c.dilations[i]+1-dims[i], 0)
			c.pads[i] = [2]int{total / 2, total - total/2}
			if auto == "SAME_LOWER" {
				c.pads[i] = [2]int{total - total/2, total / 2}
			}
		default:
			o.fail("auto_pad %q", auto)
		}
	}
	return c
}

func ones(n int) []int { return slices.Repeat([]int{1}, n) }

// convRule takes convolutions over one axis as ones over two with a height of 1, and ones over more axes as sums of ones over two.
func convRule(o *nodeOp) *value {
	w := o.x(1)
	p := o.spatial(o.in[0].dims()[2:], w.Shape().Dimensions[2:])
	if len(p.strides) == 2 {
		return channelsLast(o.biased(o.e.conv(o.e.nhwc(o.in[0]), w, p), 2))
	}
	return plain(o.biasedChannels(o.e.convDeep(o.x(0), w, p), 2))
}

// convDeep is a convolution over any number of spatial axes, channels first.
func (e *env) convDeep(x, w *Node, p convParams) *Node {
	n := x.Rank()
	y := e.convLast(TransposeAllAxes(x, append(append([]int{0}, axesFrom(2, n)...), 1)...), w, p)
	return TransposeAllAxes(y, append([]int{0, n - 1}, axesFrom(1, n-1)...)...)
}

// convLast is a convolution of x [N, spatial..., C]. The first of more than two spatial axes becomes part of the batch, once for each of its kernel's positions.
func (e *env) convLast(x, w *Node, p convParams) *Node {
	switch len(p.strides) {
	case 1:
		p = convParams{append(ones(1), p.strides...), append(ones(1), p.dilations...), append([][2]int{{}}, p.pads...), p.groups}
		return Squeeze(e.conv(InsertAxes(x, 1), InsertAxes(w, 2), p), 1)
	case 2:
		return e.conv(x, w, p)
	}
	if p.pads[0] != [2]int{} {
		pads := make([]compute.PadAxis, x.Rank())
		pads[1] = compute.PadAxis{Start: p.pads[0][0], End: p.pads[0][1]}
		x = Pad(x, Scalar(x.Graph(), x.DType(), 0), pads...)
	}
	d, kernels := x.Shape().Dimensions, w.Shape().Dimensions[2]
	deep := (d[1]-(kernels-1)*p.dilations[0]-1)/p.strides[0] + 1
	rest := convParams{p.strides[1:], p.dilations[1:], p.pads[1:], p.groups}
	var sum *Node
	for k := range kernels {
		part := Slice(x, AxisRange(), window(k*p.dilations[0], deep, p.strides[0]))
		part = Reshape(part, append([]int{d[0] * deep}, d[2:]...)...)
		y := e.convLast(part, Squeeze(Slice(w, AxisRange(), AxisRange(), AxisElem(k)), 2), rest)
		if sum == nil {
			sum = y
		} else {
			sum = Add(sum, y)
		}
	}
	return Reshape(sum, append([]int{d[0], deep}, sum.Shape().Dimensions[1:]...)...)
}

// biasedChannels adds a bias over axis 1.
func (o *nodeOp) biasedChannels(y *Node, i int) *Node {
	if !o.has(i) {
		return y
	}
	return Add(y, perChannel(o.x(i), y))
}

// biased adds a bias over the last axis.
func (o *nodeOp) biased(y *Node, i int) *Node {
	if !o.has(i) {
		return y
	}
	return Add(y, ExpandLeftToRank(o.x(i), y.Rank()))
}

// conv is a convolution of x [N, H, W, C] with kernels w [O, C/groups, kh, kw].
func (e *env) conv(x, w *Node, p convParams) *Node {
	d := w.Shape().Dimensions
	if e.backend.patches() {
		if p.groups == d[0] && d[1] == 1 {
			return depthwise(x, w, p)
		}
		return convByPatches(x, w, p)
	}
	if y := tiles(x, w, p); y != nil {
		return y
	}
	w, p = odd(w, p)
	k := TransposeAllAxes(w, 2, 3, 1, 0)
	if e.half {
		y := ConvGeneral(ConvertDType(x, dtypes.BFloat16), ConvertDType(k, dtypes.BFloat16), nhwcAxes, p.strides, p.pads, nil, p.dilations, p.groups, 1)
		return ConvertDType(y, x.DType())
	}
	return ConvGeneral(x, k, nhwcAxes, p.strides, p.pads, nil, p.dilations, p.groups, 1)
}

// tiles is a convolution whose kernel covers each position once, a matrix product; nil for others.
func tiles(x, w *Node, p convParams) *Node {
	d, s := w.Shape().Dimensions, x.Shape().Dimensions
	for i := range 2 {
		if d[2+i] != p.strides[i] || p.dilations[i] != 1 || p.pads[i] != [2]int{} || s[1+i]%p.strides[i] != 0 {
			return nil
		}
	}
	if p.groups != 1 || d[2]*d[3] == 1 {
		return nil
	}
	h, width := s[1]/d[2], s[2]/d[3]
	cols := TransposeAllAxes(Reshape(x, s[0], h, d[2], width, d[3], s[3]), 0, 1, 3, 2, 4, 5)
	k := Reshape(TransposeAllAxes(w, 2, 3, 1, 0), d[2]*d[3]*d[1], d[0])
	return Reshape(DotProduct(Reshape(cols, s[0]*h*width, d[2]*d[3]*d[1]), k), s[0], h, width, d[0])
}

// odd extends kernels of even extents by zeros: GoMLX's gradient of a convolution by its input is right for odd ones only.
func odd(w *Node, p convParams) (*Node, convParams) {
	pads := make([]compute.PadAxis, 4)
	p.pads = slices.Clone(p.pads)
	even := false
	for i := range 2 {
		if w.Shape().Dimensions[2+i]%2 == 0 {
			pads[2+i].End, even = 1, true
			p.pads[i][1] += p.dilations[i]
		}
	}
	if even {
		w = Pad(w, Scalar(w.Graph(), w.DType(), 0), pads...)
	}
	return w, p
}

// shifted returns, for each kernel position, the inputs that it meets: kh*kw values [N, OH, OW, C].
func shifted(x *Node, kh, kw int, p convParams) []*Node {
	if p.pads[0] != [2]int{} || p.pads[1] != [2]int{} {
		x = Pad(x, Scalar(x.Graph(), x.DType(), 0), compute.PadAxis{}, compute.PadAxis{Start: p.pads[0][0], End: p.pads[0][1]}, compute.PadAxis{Start: p.pads[1][0], End: p.pads[1][1]}, compute.PadAxis{})
	}
	d := x.Shape().Dimensions
	oh, ow := (d[1]-(kh-1)*p.dilations[0]-1)/p.strides[0]+1, (d[2]-(kw-1)*p.dilations[1]-1)/p.strides[1]+1
	var out []*Node
	for i := range kh {
		for j := range kw {
			out = append(out, Slice(x, AxisRange(), window(i*p.dilations[0], oh, p.strides[0]), window(j*p.dilations[1], ow, p.strides[1]), AxisRange()))
		}
	}
	return out
}

// window takes n positions from start on.
func window(start, n, stride int) SliceAxisSpec {
	return AxisRange(start, start+(n-1)*stride+1).Stride(stride)
}

// convByPatches gathers patches [N*OH*OW, groups, kh*kw*C/groups] and multiplies them with the kernels, group by group.
func convByPatches(x, w *Node, p convParams) *Node {
	d := w.Shape().Dimensions
	parts := shifted(x, d[2], d[3], p)
	s := parts[0].Shape().Dimensions
	rows, each, patch := s[0]*s[1]*s[2], d[0]/p.groups, d[2]*d[3]*d[1]
	if p.groups == 1 {
		cols := parts[0]
		if len(parts) > 1 {
			cols = Concatenate(parts, -1)
		}
		k := Reshape(TransposeAllAxes(w, 2, 3, 1, 0), patch, d[0])
		return Reshape(DotProduct(Reshape(cols, rows, patch), k), s[0], s[1], s[2], d[0])
	}
	for i, part := range parts {
		parts[i] = Reshape(part, rows, p.groups, d[1])
	}
	cols := parts[0]
	if len(parts) > 1 {
		cols = Concatenate(parts, -1)
	}
	k := Reshape(TransposeAllAxes(Reshape(w, p.groups, each, d[1], d[2], d[3]), 0, 3, 4, 2, 1), p.groups, patch, each)
	y := Einsum("rgp,gpo->rgo", cols, k)
	return Reshape(y, s[0], s[1], s[2], d[0])
}

// depthwise adds shifted inputs times their channel's weight.
func depthwise(x, w *Node, p convParams) *Node {
	d := w.Shape().Dimensions // [O, 1, kh, kw]
	c := x.Shape().Dimensions[3]
	if m := d[0] / c; m > 1 { // each channel m times in a row
		s := x.Shape().Dimensions
		x = Reshape(BroadcastToDims(InsertAxes(x, -1), s[0], s[1], s[2], c, m), s[0], s[1], s[2], d[0])
	}
	k := Reshape(TransposeAllAxes(w, 2, 3, 1, 0), d[2]*d[3], 1, 1, 1, d[0])
	var sum *Node
	for i, part := range shifted(x, d[2], d[3], p) {
		term := Mul(part, Squeeze(Slice(k, AxisElem(i)), 0))
		if sum == nil {
			sum = term
			continue
		}
		sum = Add(sum, term)
	}
	return sum
}

// convTranspose is a convolution of the input spread by its strides with flipped kernels.
func convTranspose(o *nodeOp) *value {
	w, in := o.x(1), o.in[0].dims()
	d := w.Shape().Dimensions // [C, O/groups, extents...]
	n := len(d) - 2
	p := o.spatial(in[2:], d[2:])
	image := n == 2
	x, first := o.x(0), 2
	if image {
		x, first = o.e.nhwc(o.in[0]), 1
	}
	x = Pad(x, Scalar(x.Graph(), x.DType(), 0), o.spreading(in, d, p, first)...)
	g := p.groups
	k := Reshape(Reverse(w, axesFrom(2, len(d))...), append([]int{g, d[0] / g}, d[1:]...)...)
	k = Reshape(TransposeAllAxes(k, append([]int{0, 2, 1}, axesFrom(3, len(d)+1)...)...), append([]int{g * d[1], d[0] / g}, d[2:]...)...)
	q := convParams{strides: ones(n), dilations: p.dilations, pads: make([][2]int, n), groups: g}
	if image {
		return channelsLast(o.biased(o.e.conv(x, k, q), 2))
	}
	return plain(o.biasedChannels(o.e.convDeep(x, k, q), 2))
}

// spreading is the padding that turns a transposed convolution's input into a convolution's: strides become gaps, padding covers the rest of the kernel's extent.
func (o *nodeOp) spreading(in, d []int, p convParams, first int) []compute.PadAxis {
	n := len(d) - 2
	extra, shape := o.intsOr("output_padding", make([]int, n)), o.intsOr("output_shape", nil)
	pads := make([]compute.PadAxis, len(in))
	for i := range n {
		reach := (d[2+i] - 1) * p.dilations[i]
		if auto := o.textOr("auto_pad", "NOTSET"); shape != nil || auto == "SAME_UPPER" || auto == "SAME_LOWER" {
			want := in[2+i] * p.strides[i]
			if shape != nil {
				want = shape[len(shape)-n+i]
			}
			cut := (in[2+i]-1)*p.strides[i] + extra[i] + reach + 1 - want
			p.pads[i] = [2]int{cut / 2, cut - cut/2}
			if auto == "SAME_LOWER" {
				p.pads[i] = [2]int{cut - cut/2, cut / 2}
			}
		}
		pads[first+i] = compute.PadAxis{Start: reach - p.pads[i][0], End: reach - p.pads[i][1] + extra[i], Interior: p.strides[i] - 1}
	}
	return pads
}
