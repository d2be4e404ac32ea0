package xla

import (
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
)

func init() {
	rules["MaxPool"] = maxPool
	rules["AveragePool"] = one(averagePool)
	rules["LpPool"] = one(lpPool)
	rules["GlobalAveragePool"] = one(func(o *nodeOp) *value { return o.global(ReduceMean) })
	rules["GlobalMaxPool"] = one(func(o *nodeOp) *value { return o.global(ReduceMax) })
	rules["GlobalLpPool"] = one(func(o *nodeOp) *value {
		p := float64(o.intOr("p", 2))
		return o.global(func(x *Node, axes ...int) *Node {
			return Pow(ReduceSum(Pow(Abs(x), scalarLike(x, p)), axes...), scalarLike(x, 1/p))
		})
	})
}

// global reduces all spatial axes and keeps them as 1.
func (o *nodeOp) global(reduce func(x *Node, axes ...int) *Node) *value {
	if v := o.in[0]; v.only() {
		d := v.last.Shape().Dimensions
		return channelsLast(Reshape(reduce(v.last, 1, 2), d[0], 1, 1, d[3]))
	}
	x := o.x(0)
	d := x.Shape().Dimensions
	axes := make([]int, x.Rank()-2)
	for i := range axes {
		axes[i] = i + 2
	}
	return plain(Reshape(reduce(x, axes...), append([]int{d[0], d[1]}, ones(len(axes))...)...))
}

// pooled folds windows one spatial axis after the other; x is padded already.
func pooled(x *Node, first int, kernel []int, p convParams, out []int, f func(x, y *Node) *Node) *Node {
	for i, k := range kernel {
		axis := first + i
		var sum *Node
		for j := range k {
			part := SliceAxis(x, axis, window(j*p.dilations[i], out[i], p.strides[i]))
			if sum == nil {
				sum = part
				continue
			}
			sum = f(sum, part)
		}
		x = sum
	}
	return x
}

// pool is what all pools share: the layout, the output's extents, and how far windows reach beyond the pads.
type pool struct {
	x      *Node
	first  int // first spatial axis
	last   bool
	kernel []int
	p      convParams
	out    []int
	over   []int // positions beyond the end pad that a window of ceil_mode reaches
}

func (o *nodeOp) pool() pool {
	t := pool{kernel: o.intsOr("kernel_shape", nil), first: 2}
	dims := o.in[0].dims()[2:]
	t.p = o.spatial(dims, t.kernel)
	if t.last = len(dims) == 2; t.last {
		t.first, t.x = 1, o.e.nhwc(o.in[0])
	} else {
		t.x = o.x(0)
	}
	for i, k := range t.kernel {
		reach := (k-1)*t.p.dilations[i] + 1
		span := dims[i] + t.p.pads[i][0] + t.p.pads[i][1] - reach
		n := span/t.p.strides[i] + 1
		if o.intOr("ceil_mode", 0) != 0 {
			n = (span+t.p.strides[i]-1)/t.p.strides[i] + 1
			if (n-1)*t.p.strides[i] >= dims[i]+t.p.pads[i][0] { // a window that starts in the end pad is left out
				n--
			}
		}
		t.out = append(t.out, n)
		t.over = append(t.over, max((n-1)*t.p.strides[i]+reach-dims[i]-t.p.pads[i][0]-t.p.pads[i][1], 0))
	}
	return t
}

// padded returns x with its pads filled.
func (t pool) padded(x *Node, fill float64, over bool) *Node {
	pads, any := make([]compute.PadAxis, x.Rank()), false
	for i, p := range t.p.pads {
		end := p[1]
		if over {
			end += t.over[i]
		}
		pads[t.first+i] = compute.PadAxis{Start: p[0], End: end}
		any = any || p[0] > 0 || end > 0
	}
	if !any {
		return x
	}
	return Pad(x, scalarLike(x, fill), pads...)
}

func (t pool) value(y *Node) *value {
	if t.last {
		return channelsLast(y)
	}
	return plain(y)
}

func maxPool(o *nodeOp) []*value {
	if len(o.Outputs) > 1 && o.Outputs[1] != "" {
		o.fail("the indices of a maximum")
	}
	t := o.pool()
	x := t.padded(t.x, math.Inf(-1), true)
	return []*value{t.value(pooled(x, t.first, t.kernel, t.p, t.out, larger))}
}

// averagePool divides by the number of positions that count, which is a constant of the graph.
func averagePool(o *nodeOp) *value {
	t := o.pool()
	sum := pooled(t.padded(t.x, 0, true), t.first, t.kernel, t.p, t.out, Add)
	dims := ones(t.x.Rank())
	for i := range t.kernel {
		dims[t.first+i] = t.x.Shape().Dimensions[t.first+i]
	}
	counted := Ones(o.e.g, shapeOf(t.x.DType(), dims))
	if o.intOr("count_include_pad", 0) != 0 {
		counted = t.padded(counted, 1, false)
		rest := t
		rest.p.pads = make([][2]int, len(t.kernel))
		counted = rest.padded(counted, 0, true)
	} else {
		counted = t.padded(counted, 0, true)
	}
	n := pooled(counted, t.first, t.kernel, t.p, t.out, Add)
	return t.value(Div(sum, n))
}

func lpPool(o *nodeOp) *value {
	t := o.pool()
	p := float64(o.intOr("p", 2))
	x := Pow(Abs(t.padded(t.x, 0, true)), scalarLike(t.x, p))
	return t.value(Pow(pooled(x, t.first, t.kernel, t.p, t.out, Add), scalarLike(t.x, 1/p)))
}
