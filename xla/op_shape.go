package xla

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	rules["Shape"] = one(func(o *nodeOp) *value {
		d := o.in[0].dims()
		from, to := o.intOr("start", 0), o.intOr("end", len(d))
		from, to = clampIndex(from, len(d)), clampIndex(to, len(d))
		return knownInts(d[min(from, to):to])
	})
	rules["Size"] = one(func(o *nodeOp) *value { return known(tensors.FromScalar(int64(product(o.in[0].dims())))) })
	rules["Reshape"] = one(reshape)
	rules["Flatten"] = one(func(o *nodeOp) *value {
		d := o.in[0].dims()
		axis := o.intOr("axis", 1)
		if axis < 0 {
			axis += len(d)
		}
		return o.reshaped([]int{product(d[:axis]), product(d[axis:])})
	})
	rules["Squeeze"] = one(squeeze)
	rules["Unsqueeze"] = one(unsqueeze)
	rules["Transpose"] = one(func(o *nodeOp) *value {
		r := len(o.in[0].dims())
		perm := o.intsOr("perm", nil)
		if perm == nil {
			perm = axesFrom(0, r)
			slices.Reverse(perm)
		}
		if o.in[0].only() && slices.Equal(perm, []int{0, 2, 3, 1}) {
			return plain(o.in[0].last)
		}
		if r == 4 && slices.Equal(perm, []int{0, 3, 1, 2}) && o.in[0].known == nil {
			return channelsLast(o.x(0))
		}
		return plain(TransposeAllAxes(o.x(0), perm...))
	})
	rules["Concat"] = one(concat)
	rules["Split"] = split
	rules["Slice"] = one(sliceRule)
	rules["Pad"] = one(padRule)
	rules["Expand"] = one(func(o *nodeOp) *value {
		x, want := o.x(0), o.ints(1)
		for x.Rank() < len(want) {
			x = InsertAxes(x, 0)
		}
		dims := slices.Clone(x.Shape().Dimensions)
		for i, w := range want {
			if k := len(dims) - len(want) + i; dims[k] == 1 {
				dims[k] = w
			}
		}
		return plain(broadcast(x, dims))
	})
	rules["Tile"] = one(func(o *nodeOp) *value {
		x := o.x(0)
		for i, n := range o.ints(1) {
			if n != 1 {
				x = Concatenate(slices.Repeat([]*Node{x}, n), i)
			}
		}
		return plain(x)
	})
	rules["Gather"] = one(gather)
	rules["ConstantOfShape"] = one(constantOfShape)
	rules["Range"] = one(rangeRule)
	rules["DepthToSpace"] = one(depthToSpace)
	rules["SpaceToDepth"] = one(spaceToDepth)
	rules["OneHot"] = one(oneHot)
}

func clampIndex(i, n int) int {
	if i < 0 {
		i += n
	}
	return min(max(i, 0), n)
}

// reshaped gives the value other dims; a pooled map [N, 1, 1, C] needs no transposition for it.
func (o *nodeOp) reshaped(dims []int) *value {
	v := o.in[0]
	if d := v.dims(); v.only() && d[2] == 1 && d[3] == 1 {
		return plain(Reshape(v.last, dims...))
	}
	return plain(Reshape(o.x(0), dims...))
}

// reshape resolves 0 and -1. A constant shape that was exported with the batch baked in follows the batch of this graph.
func reshape(o *nodeOp) *value {
	d := o.in[0].dims()
	want := o.intsAt(1, "shape")
	if len(want) > 0 && o.e.fixed > 0 && o.e.batch != o.e.fixed && want[0] == o.e.fixed && len(d) > 0 && d[0] == o.e.batch {
		want = slices.Clone(want)
		want[0] = o.e.batch
	}
	dims, free, rest := slices.Clone(want), -1, 1
	for i, n := range dims {
		if n == 0 && o.intOr("allowzero", 0) == 0 {
			if i >= len(d) {
				o.fail("a shape with 0 at axis %d of a value with %d axes", i, len(d))
			}
			dims[i] = d[i]
		}
		if n == -1 {
			free = i
			continue
		}
		rest *= dims[i]
	}
	if free >= 0 && rest > 0 {
		dims[free] = product(d) / rest
	}
	if product(dims) != product(d) {
		o.fail("a reshape of %v to %v; the shape was probably fixed for another batch size", d, want)
	}
	return o.reshaped(dims)
}

func squeeze(o *nodeOp) *value {
	d := o.in[0].dims()
	axes := o.normals(o.intsAt(1, "axes"), len(d))
	var dims []int
	for i, n := range d {
		if len(axes) == 0 && n != 1 || len(axes) > 0 && !slices.Contains(axes, i) {
			dims = append(dims, n)
		}
	}
	return o.reshaped(dims)
}

func unsqueeze(o *nodeOp) *value {
	d := o.in[0].dims()
	axes := o.intsAt(1, "axes")
	axes = o.normals(axes, len(d)+len(axes))
	dims, k := make([]int, len(d)+len(axes)), 0
	for i := range dims {
		dims[i] = 1
		if !slices.Contains(axes, i) {
			dims[i] = d[k]
			k++
		}
	}
	return o.reshaped(dims)
}

func concat(o *nodeOp) *value {
	rank := len(o.in[0].dims())
	axis := o.axis("axis", 0, rank)
	if rank == 4 && o.in[0].only() {
		var parts []*Node
		for i := range o.in {
			parts = append(parts, o.e.nhwc(o.in[i]))
		}
		return channelsLast(Concatenate(parts, []int{0, 3, 1, 2}[axis]))
	}
	var parts []*Node
	for i := range o.in {
		if n := o.x(i); n.Shape().Size() > 0 {
			parts = append(parts, n)
		}
	}
	if len(parts) == 0 {
		return o.in[0]
	}
	return plain(Concatenate(parts, axis))
}

func split(o *nodeOp) []*value {
	v := o.in[0]
	d := v.dims()
	axis := o.axis("axis", 0, len(d))
	sizes := o.intsAt(1, "split")
	if sizes == nil {
		n := o.intOr("num_outputs", len(o.Outputs))
		size := (d[axis] + n - 1) / n
		for left := d[axis]; left > 0; left -= size {
			sizes = append(sizes, min(size, left))
		}
	}
	var out []*value
	at := 0
	for _, n := range sizes {
		if d[axis] == 0 { // nothing to cut, which XLA calls out of bounds
			out = append(out, v)
			continue
		}
		out = append(out, o.e.cut(v, axis, AxisRange(at, at+n)))
		at += n
	}
	if at != d[axis] || len(out) < len(o.Outputs) {
		o.fail("parts of %v for an axis of %d and %d outputs", sizes, d[axis], len(o.Outputs))
	}
	return out
}

// cut takes a range of one axis in the layout that the value has.
func (e *env) cut(v *value, axis int, r SliceAxisSpec) *value {
	if v.only() {
		return channelsLast(SliceAxis(v.last, []int{0, 3, 1, 2}[axis], r))
	}
	return plain(SliceAxis(e.node(v), axis, r))
}

// sliceRule takes steps of either sign.
func sliceRule(o *nodeOp) *value {
	v := o.in[0]
	d := v.dims()
	starts, ends := o.intsAt(1, "starts"), o.intsAt(2, "ends")
	axes, steps := o.intsAt(3, "axes"), ones(len(starts))
	if axes == nil {
		axes = axesFrom(0, len(starts))
	}
	if o.has(4) {
		steps = o.ints(4)
	}
	for i, a := range o.normals(axes, len(d)) {
		n, from, to, step := d[a], starts[i], ends[i], steps[i]
		if from < 0 {
			from += n
		}
		if to < 0 {
			to += n
		}
		switch {
		case step > 0:
			from, to = min(max(from, 0), n), min(max(to, 0), n)
			if from >= to {
				return plain(Zeros(o.e.g, shapeOf(o.x(0).DType(), emptied(d, a))))
			}
			if from > 0 || to < n || step > 1 {
				v = o.e.cut(v, a, AxisRange(from, to).Stride(step))
			}
		case step < 0:
			from, to = min(max(from, -1), n-1), min(max(to, -1), n-1)
			if ends[i] < -n {
				to = -1
			}
			if from <= to {
				return plain(Zeros(o.e.g, shapeOf(o.x(0).DType(), emptied(d, a))))
			}
			count := (from - to - step - 1) / -step
			low := from + (count-1)*step
			v = plain(Reverse(SliceAxis(o.e.node(v), a, AxisRange(low, from+1).Stride(-step)), a))
		default:
			o.fail("a step of 0")
		}
	}
	return v
}

func emptied(d []int, axis int) []int {
	d = slices.Clone(d)
	d[axis] = 0
	return d
}

// padRule fills with a constant, the edge or a reflection; negative pads cut.
func padRule(o *nodeOp) *value {
	v := o.in[0]
	d := v.dims()
	pads := o.intsAt(1, "pads")
	axes := axesFrom(0, len(d))
	if o.has(3) {
		axes = o.normals(o.ints(3), len(d))
	}
	if len(pads) != 2*len(axes) {
		o.fail("%d pads for %d axes", len(pads), len(axes))
	}
	fill := o.floatOr("value", 0)
	if o.has(2) {
		fill = o.scalar(2)
	}
	x, mode := o.x(0), o.textOr("mode", "constant")
	for i, a := range axes {
		x = o.pad(x, a, pads[i], pads[len(axes)+i], mode, fill)
	}
	return plain(x)
}

func (o *nodeOp) pad(x *Node, axis, start, end int, mode string, fill float64) *Node {
	n := x.Shape().Dimensions[axis]
	if start < 0 || end < 0 {
		x = SliceAxis(x, axis, AxisRange(max(-start, 0), n-max(-end, 0)))
		start, end = max(start, 0), max(end, 0)
		n = x.Shape().Dimensions[axis]
	}
	if start == 0 && end == 0 {
		return x
	}
	piece := func(from, to int) *Node { return SliceAxis(x, axis, AxisRange(from, to)) }
	switch mode {
	case "constant":
		spec := make([]compute.PadAxis, x.Rank())
		spec[axis] = compute.PadAxis{Start: start, End: end}
		return Pad(x, scalarLike(x, fill), spec...)
	case "edge", "reflect", "wrap":
		if mode != "edge" && (start >= n || end >= n) {
			o.fail("%s padding as wide as the axis", mode)
		}
		var parts []*Node
		for k := range start {
			parts = append(parts, piece(source(mode, k-start, n), source(mode, k-start, n)+1))
		}
		parts = append(parts, x)
		for k := range end {
			parts = append(parts, piece(source(mode, n+k, n), source(mode, n+k, n)+1))
		}
		return Concatenate(parts, axis)
	}
	o.fail("pad mode %q", mode)
	return nil
}

// source is the index that a position outside of 0..n-1 copies.
func source(mode string, i, n int) int {
	switch mode {
	case "edge":
		return min(max(i, 0), n-1)
	case "wrap":
		return (i + n) % n
	}
	if i < 0 {
		return -i
	}
	return 2*(n-1) - i
}

func gather(o *nodeOp) *value {
	x, idx := o.x(0), o.x(1)
	d := x.Shape().Dimensions
	axis := o.axis("axis", 0, len(d))
	if k := o.in[1].known; k != nil && k.Shape().Rank() == 0 {
		i, _ := ints(k)
		if i[0] < 0 {
			i[0] += d[axis]
		}
		if i[0] < 0 || i[0] >= d[axis] {
			o.fail("index %d of an axis of %d", i[0], d[axis])
		}
		return plain(Squeeze(SliceAxis(x, axis, AxisElem(i[0])), axis))
	}
	idx = Where(LessThan(idx, ZerosLike(idx)), AddScalar(idx, d[axis]), idx)
	if idx.DType() == dtypes.Int64 {
		idx = ConvertDType(idx, dtypes.Int32)
	}
	perm := append([]int{axis}, slices.Delete(axesFrom(0, len(d)), axis, axis+1)...)
	if axis != 0 {
		x = TransposeAllAxes(x, perm...)
	}
	y := Gather(x, InsertAxes(idx, -1)) // [idx..., rest...]
	if axis == 0 {
		return plain(y)
	}
	r := idx.Rank()
	var back []int
	for i := range axis {
		back = append(back, r+i)
	}
	back = append(back, axesFrom(0, r)...)
	back = append(back, axesFrom(r+axis, y.Rank())...)
	return plain(TransposeAllAxes(y, back...))
}

func constantOfShape(o *nodeOp) *value {
	dims := o.ints(0)
	a := Array{Dims: nil, Floats: []float32{0}, Type: onnxio.Float}
	if t := o.attr("value"); t != nil && t.T != nil {
		var err error
		if a, err = readArray(t.T); err != nil {
			o.fail("a value that cannot be read: %v", err)
		}
		a.Dims = nil
	}
	return plain(BroadcastToDims(ConstTensor(o.e.g, a.tensor()), dims...))
}

func rangeRule(o *nodeOp) *value {
	from, to, step := o.scalar(0), o.scalar(1), o.scalar(2)
	n := 0
	if step != 0 {
		n = max(int(ceil((to-from)/step)), 0)
	}
	t := o.x(0).DType()
	i := Iota(o.e.g, shapeOf(t, []int{n}), 0)
	return plain(AddScalar(MulScalar(i, step), from))
}

func ceil(x float64) float64 {
	n := float64(int(x))
	if n < x {
		n++
	}
	return n
}

func depthToSpace(o *nodeOp) *value {
	x, b := o.x(0), o.intOr("blocksize", 1)
	d := x.Shape().Dimensions
	c := d[1] / (b * b)
	if o.textOr("mode", "DCR") == "CRD" {
		x = TransposeAllAxes(Reshape(x, d[0], c, b, b, d[2], d[3]), 0, 1, 4, 2, 5, 3)
	} else {
		x = TransposeAllAxes(Reshape(x, d[0], b, b, c, d[2], d[3]), 0, 3, 4, 1, 5, 2)
	}
	return plain(Reshape(x, d[0], c, d[2]*b, d[3]*b))
}

func spaceToDepth(o *nodeOp) *value {
	x, b := o.x(0), o.intOr("blocksize", 1)
	d := x.Shape().Dimensions
	x = TransposeAllAxes(Reshape(x, d[0], d[1], d[2]/b, b, d[3]/b, b), 0, 3, 5, 1, 2, 4)
	return plain(Reshape(x, d[0], d[1]*b*b, d[2]/b, d[3]/b))
}

func oneHot(o *nodeOp) *value {
	x, values := o.x(0), o.x(2)
	depth := o.ints(1)
	axis := o.intOr("axis", -1)
	if axis < 0 {
		axis += x.Rank() + 1
	}
	x = ConvertDType(x, dtypes.Int32)
	x = Where(LessThan(x, ZerosLike(x)), AddScalar(x, depth[0]), x)
	hot := OneHot(x, depth[0], values.DType())
	off, on := Reshape(SliceAxis(values, 0, AxisElem(0))), Reshape(SliceAxis(values, 0, AxisElem(1)))
	y := Add(Mul(hot, Sub(on, off)), off)
	last := y.Rank() - 1
	perm := slices.Insert(axesFrom(0, last), axis, last)
	return plain(TransposeAllAxes(y, perm...))
}
