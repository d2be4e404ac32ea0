package op

import (
	"fmt"
	"math"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
)

func init() {
	register(
		Op{Name: "Concat", Since: 4, Infer: concat, Graph: GraphConcat, Train: "*v", MovesElements: true, Sign: gathersSigns, Static: Static{Contents: 13}, Note: "labels follow one another"},
		Op{Name: "Split", Since: 1, Infer: splitOp, Patch: patchSplit, Graph: GraphParts, MovesElements: true, Sign: keepsSign, Note: "labels are dealt out"},
		Op{Name: "Slice", Since: 1, Infer: slice, Patch: patchSlice, Graph: GraphParts, MovesElements: true, Sign: keepsSign, Static: Static{Contents: 13, Bounds: 2}, Note: "labels are picked; an axis with a stride is kept"},
		Op{Name: "Gather", Since: 1, Infer: gather, Patch: patchGather, Graph: GraphTable, Train: "w", MovesElements: true, Static: Static{Contents: 1}, Note: "labels are picked by constant indices; rows of an embedding are kept"},
		Op{Name: "Trilu", Since: 14, Infer: trilu, Note: "frozen on the matrix axes"},
		Op{Name: "Pad", Since: 1, Infer: pad, Patch: patchPad, Note: "labels move; padding of a channel axis can be pruned too"},
	)
}

func concat(c *Call) {
	if len(c.In) == 0 {
		c.unknown("has no input")
		return
	}
	for _, v := range c.In {
		if v == nil || !v.Ranked || len(v.Shape) != len(c.In[0].Shape) {
			c.unknown("the inputs' ranks are unknown or differ")
			return
		}
	}
	first := c.In[0]
	axis, ok := NormAxis(c.Int("axis", 1), len(first.Shape))
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	elems := c.concatElems(axis)
	shape, axes := append([]dim.Dim(nil), first.Shape...), make([][]label.Label, len(first.Shape))
	for k := range shape {
		if k == axis {
			shape[k], axes[k] = c.concatAxis(axis)
			continue
		}
		axes[k] = c.axis(first, k)
		for _, v := range c.In[1:] {
			if v.Shape[k].IsNum() {
				shape[k] = v.Shape[k]
			}
			c.join(v, k, axes[k])
		}
	}
	y := c.set(0, first.Type, shape, axes...)
	for _, v := range c.In {
		if v.zero != isZero && c.tracked(v) {
			y.zero = nonZero
		}
	}
	c.contents(y, elems)
}

// concatElems evaluates a small Concat, nil where its contents are not known.
func (c *Call) concatElems(axis int) []Elem {
	total := 0
	runs := make([]int, len(c.In)) // of elements that follow one another in the result
	for i, v := range c.In {
		dims, ok := dim.Numbers(v.Shape)
		if total += len(v.Elements); v.Elements == nil || !ok || total > maxElems {
			return nil
		}
		runs[i] = 1
		for _, d := range dims[axis:] {
			runs[i] *= d
		}
	}
	out := make([]Elem, 0, total)
	for at := 0; len(out) < total; at++ {
		for i, v := range c.In {
			out = append(out, v.Elements[at*runs[i]:(at+1)*runs[i]]...)
		}
	}
	return out
}

// concatAxis strings the inputs' labels together; parts that are not tracked stay.
func (c *Call) concatAxis(axis int) (dim.Dim, []label.Label) {
	total, numeric, tracked := dim.Num(0), true, false
	for _, v := range c.In {
		total = total.Add(v.Shape[axis])
		numeric = numeric && v.Shape[axis].IsNum()
		tracked = tracked || c.alive(c.axis(v, axis))
	}
	if !tracked {
		return total, nil
	}
	if !numeric || total.N > MaxAxis {
		for _, v := range c.In {
			c.freeze(v, axis, "is concatenated to an axis of unknown or excessive length")
		}
		return total, nil
	}
	labels := make([]label.Label, 0, total.N)
	for _, v := range c.In {
		a := c.axis(v, axis)
		if a == nil {
			a = make([]label.Label, v.Shape[axis].N)
		}
		labels = append(labels, a...)
	}
	return total, labels
}

func splitOp(c *Call) {
	x, axis, ok := c.axisOfInput(0)
	if !ok {
		return
	}
	sizes, ok := c.splitSizes(x, axis)
	if !ok {
		c.unknown("the parts' sizes are not known")
		for i := range c.Out {
			c.ofRank(i, x.Type, len(x.Shape))
		}
		return
	}
	whole := c.axis(x, axis)
	at := int64(0)
	for i := range c.Out {
		if whole != nil && !sizes[i].IsNum() {
			whole = nil
		}
		shape, axes := append([]dim.Dim(nil), x.Shape...), make([][]label.Label, len(x.Shape))
		for k := range axes {
			axes[k] = c.axis(x, k)
		}
		shape[axis], axes[axis] = sizes[i], nil
		if whole != nil {
			axes[axis] = whole[at : at+sizes[i].N : at+sizes[i].N]
		}
		if c.reading && !x.Shape[axis].IsNum() { // ONNX's inference wants the whole
			shape[axis] = dim.Symbol("?" + c.Node.Outputs[i] + "." + dim.Num(int64(axis)).String())
		}
		y := c.set(i, x.Type, shape, axes...)
		y.zero = x.zero
		if x.Elements != nil && len(x.Shape) == 1 && sizes[i].IsNum() {
			y.Elements = x.Elements[at : at+sizes[i].N]
			c.shapeIn.set(0, true)
		}
		at += sizes[i].N
	}
}

// splitSizes returns the size of each output; numeric ones add up to the axis.
func (c *Call) splitSizes(x *Value, axis int) ([]dim.Dim, bool) {
	given, has, known := c.intsFrom("split", 1)
	n := len(c.Out)
	d := x.Shape[axis]
	if !known || n == 0 {
		return nil, false
	}
	out := make([]dim.Dim, n)
	if !has {
		for i := range out {
			q, ok := d.DivExact(dim.Num(int64(n)))
			switch {
			case ok:
				out[i] = q
			case d.IsNum():
				each := (d.N + int64(n) - 1) / int64(n)
				out[i] = dim.Num(max(min(each, d.N-each*int64(i)), 0))
			default:
				return nil, false
			}
		}
		return out, true
	}
	if len(given) != n {
		return nil, false
	}
	sum := int64(0)
	for i, s := range given {
		out[i] = dim.Num(s)
		sum += s
		if s < 0 {
			return nil, false
		}
	}
	return out, !d.IsNum() || sum == d.N
}

// sliceArgs are one axis's bounds.
type sliceArgs struct {
	axis             int
	start, end, step int64
	known            bool
	to               dim.Dim // the end, a number or not
}

// sliceBounds reads the node's bounds from attributes or inputs.
func (c *Call) sliceBounds(rank int) ([]sliceArgs, bool) {
	if c.Version < 10 {
		starts, ends, axes := c.ints("starts"), c.ints("ends"), c.ints("axes")
		return zipBounds(elemsOf(starts), elemsOf(ends), axes, nil, rank)
	}
	for i := 1; i < len(c.In); i++ {
		c.shapeIn.set(i, true)
	}
	s, e := c.Input(1), c.Input(2)
	if s == nil || e == nil || s.Elements == nil || e.Elements == nil {
		return nil, false
	}
	axes, steps, ok := []int64(nil), []int64(nil), true
	if v := c.Input(3); v != nil {
		if axes, ok = v.ints(); !ok {
			return nil, false
		}
	}
	if v := c.Input(4); v != nil {
		if steps, ok = v.ints(); !ok {
			return nil, false
		}
	}
	return zipBounds(s.Elements, e.Elements, axes, steps, rank)
}

func elemsOf(v []int64) []Elem {
	out := make([]Elem, len(v))
	for i, n := range v {
		out[i] = Elem{Int: dim.Num(n)}
	}
	return out
}

func zipBounds(starts, ends []Elem, axes, steps []int64, rank int) ([]sliceArgs, bool) {
	if len(starts) != len(ends) || (axes != nil && len(axes) != len(starts)) || (steps != nil && len(steps) != len(starts)) {
		return nil, false
	}
	var out []sliceArgs
	for i := range starts {
		a := sliceArgs{axis: i, step: 1, known: starts[i].Int.IsNum() && ends[i].Int.IsNum(), start: starts[i].Int.N, end: ends[i].Int.N, to: ends[i].Int}
		if axes != nil {
			k, ok := NormAxis(axes[i], rank)
			if !ok {
				return nil, false
			}
			a.axis = k
		}
		if a.axis >= rank {
			return nil, false
		}
		if steps != nil {
			a.step = steps[i]
		}
		if a.step == 0 {
			return nil, false
		}
		out = append(out, a)
	}
	return out, true
}

// length is what the bounds leave of an axis that is not a number but long enough for them, as all
// are that a network was made for.
func (a sliceArgs) length(d dim.Dim) (dim.Dim, bool) {
	whole := a.known && a.end >= math.MaxInt32
	switch {
	case a.step == -1:
		return d, a.known && a.start == -1 && a.end <= math.MinInt32
	case a.step != 1 || !a.known && a.start != 0:
		return dim.Dim{}, false
	case !a.known:
		return d, a.to == d
	case whole && a.start >= 0:
		return d.Add(dim.Num(-a.start)), true
	case whole:
		return dim.Num(-a.start), true
	case a.end < 0 && a.start >= 0:
		return d.Add(dim.Num(a.end - a.start)), true
	}
	return dim.Dim{}, false
}

// positions returns the indices that the bounds pick from an axis of n.
func (a sliceArgs) positions(n int) []int {
	clamp := func(v int64, low, high int64) int64 {
		if v < 0 {
			v += int64(n)
		}
		return min(max(v, low), high)
	}
	out := []int{}
	if a.step > 0 {
		end := clamp(a.end, 0, int64(n))
		for i := clamp(a.start, 0, int64(n)); i < end; i += a.step {
			out = append(out, int(i))
		}
		return out
	}
	end := int64(-1)
	if a.end > math.MinInt64+int64(n) {
		end = clamp(a.end, -1, int64(n)-1)
	}
	for i := clamp(a.start, -1, int64(n)-1); i > end; i += a.step {
		out = append(out, int(i))
	}
	return out
}

func slice(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	bounds, ok := c.sliceBounds(len(x.Shape))
	if !ok {
		c.unknown("its bounds are not known")
		c.ofRank(0, x.Type, len(x.Shape))
		return
	}
	shape, axes := append([]dim.Dim(nil), x.Shape...), make([][]label.Label, len(x.Shape))
	for k := range axes {
		axes[k] = c.axis(x, k)
	}
	elems := c.sliceElems(x, bounds)
	for _, b := range bounds {
		shape[b.axis], axes[b.axis] = c.sliceAxis(x, b)
	}
	y := c.set(0, x.Type, shape, axes...)
	y.zero = x.zero
	if elems != nil {
		y.Elements = elems
		c.shapeIn.set(0, true)
	}
}

func (c *Call) sliceElems(x *Value, bounds []sliceArgs) []Elem {
	dims, ok := dim.Numbers(x.Shape)
	if x.Elements == nil || !ok {
		return nil
	}
	at := make([][]int, len(dims))
	for k, n := range dims {
		at[k] = upTo(n)
	}
	for _, b := range bounds {
		if !b.known {
			return nil
		}
		at[b.axis] = b.positions(dims[b.axis])
	}
	return pick(x.Elements, x.Shape, at)
}

// sliceAxis returns what the bounds leave of one axis.
func (c *Call) sliceAxis(x *Value, b sliceArgs) (dim.Dim, []label.Label) {
	d, labels := x.Shape[b.axis], c.axis(x, b.axis)
	if !b.known || !d.IsNum() {
		c.freeze(x, b.axis, "is sliced by bounds known only at run time")
		if n, ok := b.length(d); ok {
			return n, nil
		}
		return dim.Symbol(fmt.Sprintf("?%s.%d", c.outName(0), b.axis)), nil
	}
	if labels == nil && d.N > MaxAxis {
		return dim.Symbol(fmt.Sprintf("?%s.%d", c.outName(0), b.axis)), nil
	}
	at := b.positions(int(d.N))
	if labels == nil {
		return dim.Num(int64(len(at))), nil
	}
	if len(at) == int(d.N) && b.step == 1 {
		return d, labels
	}
	if s := b.step; s > 1 {
		c.keepStride(x, b, labels, int(s))
		labels = c.axis(x, b.axis)
	} else if s < -1 {
		c.freeze(x, b.axis, "is sliced with a negative stride")
		return dim.Num(int64(len(at))), nil
	}
	out := make([]label.Label, len(at))
	for i, p := range at {
		out[i] = labels[p]
	}
	return dim.Num(int64(len(at))), out
}

// keepStride lets only whole strides leave.
func (c *Call) keepStride(x *Value, b sliceArgs, labels []label.Label, step int) {
	n := len(labels)
	if n%step != 0 || b.start < 0 || b.start >= int64(step) || b.end < int64(n) {
		c.freeze(x, b.axis, "is sliced with a stride that does not divide it")
		return
	}
	why := c.because("is sliced with a stride")
	_, inner := c.Labels.Split(labels, n/step, step, why)
	c.Labels.FreezeAll(inner, why)
}

func gather(c *Call) {
	x, index := c.Input(0), c.Input(1)
	if x == nil || index == nil || !x.Ranked || !index.Ranked {
		c.unknown("the rank of an input is unknown")
		return
	}
	axis, ok := NormAxis(c.Int("axis", 0), len(x.Shape))
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	picked, elems := c.gatherAxis(x, index, axis)
	var shape []dim.Dim
	var axes [][]label.Label
	for k, d := range x.Shape {
		if k != axis {
			shape, axes = append(shape, d), append(axes, c.axis(x, k))
			continue
		}
		shape, axes = append(shape, index.Shape...), append(axes, picked...)
	}
	if x.Const != nil && picked == nil && len(x.Shape) == 2 && x.Type.IsFloat() {
		c.role(x, 1-axis, Output)
	}
	y := c.set(0, x.Type, shape, axes...)
	y.zero = x.zero
	if elems != nil {
		y.Elements = elems
		c.shapeIn.set(0, true)
		c.shapeIn.set(1, true)
	}
	if c.origins(x) && len(x.Shape) > 2 { // the weights of the experts that are asked for
		perm := make([]int, len(shape))
		for k := range perm {
			switch perm[k] = -1; {
			case k < axis:
				perm[k] = k
			case k >= axis+len(index.Shape):
				perm[k] = k - len(index.Shape) + 1
			}
		}
		c.view(y, x, perm)
	}
}

// gatherAxis returns the labels of the axes that replace the gathered one, and the output's
// contents where they are known.
func (c *Call) gatherAxis(x, index *Value, axis int) ([][]label.Label, []Elem) {
	ids, known := index.ints()
	n := x.Shape[axis]
	known = known && n.IsNum()
	for i := range ids {
		if known && ids[i] < 0 {
			ids[i] += n.N
		}
		known = known && ids[i] >= 0 && ids[i] < n.N
	}
	var elems []Elem
	if dims, ok := dim.Numbers(x.Shape); known && ok && x.Elements != nil {
		at := make([][]int, len(dims))
		for k, n := range dims {
			at[k] = upTo(n)
		}
		at[axis] = make([]int, len(ids))
		for i, id := range ids {
			at[axis][i] = int(id)
		}
		elems = pick(x.Elements, x.Shape, at)
	}
	if !known || index.tainted() {
		c.freeze(x, axis, "is gathered by indices known only at run time")
		for k := range index.Shape {
			c.freeze(index, k, "is read as indices")
		}
		return make([][]label.Label, len(index.Shape)), elems
	}
	labels := c.axis(x, axis)
	for k := range index.Shape {
		c.freeze(index, k, "is read as indices")
	}
	if labels == nil {
		return make([][]label.Label, len(index.Shape)), elems
	}
	c.shapeIn.set(1, true)
	if len(index.Shape) == 0 {
		if c.Labels.Norm(labels[ids[0]]) != 0 {
			c.Labels.Freeze(labels[ids[0]], c.because("picks this one position"))
		}
		return nil, elems
	}
	out := make([]label.Label, len(ids))
	for i, p := range ids {
		out[i] = labels[p]
	}
	return c.regroup([]dim.Dim{dim.Num(int64(len(ids)))}, [][]label.Label{out}, index.Shape), elems
}

// padAmounts returns the amounts before and after each axis; false where they are not known.
func (c *Call) padAmounts(rank int) ([]Elem, bool) {
	if c.Version < 11 {
		p := c.ints("pads")
		return elemsOf(p), len(p) == 2*rank
	}
	for i := 1; i < len(c.In); i++ {
		c.shapeIn.set(i, true)
	}
	v := c.Input(1)
	if v == nil || v.Elements == nil {
		return nil, false
	}
	axes := c.Input(3)
	if axes == nil {
		return v.Elements, len(v.Elements) == 2*rank
	}
	ids, ok := axes.ints()
	if !ok || len(v.Elements) != 2*len(ids) {
		return nil, false
	}
	out := elemsOf(make([]int64, 2*rank))
	for i, a := range ids {
		k, ok := NormAxis(a, rank)
		if !ok {
			return nil, false
		}
		out[k], out[rank+k] = v.Elements[i], v.Elements[len(ids)+i]
	}
	return out, true
}

func pad(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	rank := len(x.Shape)
	amounts, ok := c.padAmounts(rank)
	if !ok {
		c.unknown("the amounts are not known")
		c.ofRank(0, x.Type, rank)
		return
	}
	shape, axes := make([]dim.Dim, rank), make([][]label.Label, rank)
	for k, d := range x.Shape {
		before, after := amounts[k].Int, amounts[rank+k].Int
		shape[k] = d.Add(before).Add(after)
		axes[k] = c.axis(x, k)
		if before == dim.Num(0) && after == dim.Num(0) || axes[k] == nil {
			continue
		}
		if !before.IsNum() || !after.IsNum() || before.N < 0 || after.N < 0 || c.str("mode", "constant") != "constant" || before.N > MaxAxis || after.N > MaxAxis || shape[k].N > MaxAxis {
			c.freeze(x, k, "is padded by other channels or cropped")
			axes[k] = nil
			continue
		}
		padded := append(c.Labels.Fresh(int(before.N)), axes[k]...)
		axes[k] = append(padded, c.Labels.Fresh(int(after.N))...)
	}
	y := c.set(0, x.Type, shape, axes...)
	y.zero = x.zero
	if c.str("mode", "constant") == "constant" && c.tracked(y) && !c.padsWithZero() {
		y.zero = nonZero
	}
}

func (c *Call) padsWithZero() bool {
	v := c.Input(2)
	if v == nil || c.Version < 11 {
		return c.float("value", 0) == 0
	}
	f, ok := v.floats()
	return ok && len(f) == 1 && f[0] == 0
}

func trilu(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return
	}
	for k := len(x.Shape) - 2; k < len(x.Shape); k++ {
		c.freeze(x, k, "keeps a triangle of this matrix")
	}
	c.shapeIn.set(1, true)
	c.same(0, x.Type, x)
}
