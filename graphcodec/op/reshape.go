package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(
		Op{Name: "Reshape", Since: 5, Infer: reshape, Patch: patchReshape, MovesElements: true, View: true, Sign: keepsSign, Static: Static{Target: true}, Note: "axes split into factors and merge"},
		Op{Name: "Flatten", Since: 1, Infer: flattened, AnyShape: true, MovesElements: true, View: true, Sign: keepsSign, Note: "axes merge"},
		Op{Name: "Squeeze", Since: 1, Infer: squeeze, Patch: patchSqueeze, AnyShape: true, MovesElements: true, View: true, Sign: keepsSign, Static: Static{Contents: 13}, Note: "axes move"},
		Op{Name: "Unsqueeze", Since: 1, Infer: unsqueeze, AnyShape: true, MovesElements: true, View: true, Sign: keepsSign, Static: Static{Contents: 13}, Note: "axes move"},
		Op{Name: "Transpose", Since: 1, Infer: transpose, AnyShape: true, MovesElements: true, View: true, Sign: keepsSign, Note: "axes move"},
		Op{Name: "Expand", Since: 8, Infer: expand, Patch: patchShapeInput, MovesElements: true, View: true, Static: Static{Target: true}, Note: "axes join by broadcasting"},
		Op{Name: "Tile", Since: 6, Infer: tile, Patch: patchTile, MovesElements: true, Note: "labels repeat"},
		Op{Name: "DepthToSpace", Since: 1, Infer: depthToSpace, MovesElements: true, Note: "channels are pruned, blocks are kept whole"},
		Op{Name: "SpaceToDepth", Since: 1, Infer: spaceToDepth, MovesElements: true, Note: "channels are pruned, blocks are kept whole"},
	)
}

func reshape(c *Call) {
	x, s := c.Input(0), c.Input(1)
	if c.reading && x != nil && s != nil && s.Elements != nil && c.readTarget(x, s) {
		return
	}
	if x == nil || s == nil || !x.Ranked || s.Elements == nil {
		c.unknown("the new shape is not known")
		if x != nil {
			c.ofRank(0, x.Type, s.length())
		}
		return
	}
	if c.unflattens() {
		return
	}
	c.shapeIn.set(1, true)
	shape, ok := c.reshapeDims(x, s)
	if !ok {
		c.unknown("the new shape does not fit %v", x.Shape)
		return
	}
	if c.flattens() {
		c.flattenedWhole(x, shape)
		return
	}
	c.reshaped(x, shape)
	c.checkPatchable(s)
}

// checkPatchable freezes axes whose length the shape depends on in a way that cannot be rewritten:
// several of its elements are only known when the model runs,
// and one of those depends on a tracked axis.
func (c *Call) checkPatchable(s *Value) {
	for _, e := range s.Elements {
		if !e.Int.IsNum() && len(e.taint) > 0 {
			for _, a := range e.taint {
				c.Labels.FreezeAll(a, c.because("computes a shape from its length and a length known only at run time"))
			}
		}
	}
}

// reshapeDims resolves 0 and -1.
func (c *Call) reshapeDims(x, s *Value) ([]dim.Dim, bool) {
	shape, infer := make([]dim.Dim, len(s.Elements)), -1
	rest := dim.Num(1)
	for i, e := range s.Elements {
		switch {
		case e.IsFloat:
			return nil, false
		case e.Int == dim.Num(0) && c.Int("allowzero", 0) == 0:
			if i >= len(x.Shape) {
				return nil, false
			}
			shape[i] = x.Shape[i]
		case e.Int == dim.Num(-1):
			if infer >= 0 {
				return nil, false
			}
			infer = i
			continue
		default:
			shape[i] = e.Int
		}
		rest = rest.Mul(shape[i])
	}
	total := dim.Product(x.Shape)
	if infer >= 0 {
		d, ok := total.DivExact(rest)
		if !ok {
			if total.IsNum() && rest.IsNum() {
				return nil, false
			}
			d = total.FloorDiv(rest)
		}
		shape[infer] = d
		return shape, true
	}
	if rest != total && rest.IsNum() && total.IsNum() {
		return nil, false
	}
	return shape, true
}

// reshaped gives output 0 the new shape and carries the labels over.
func (c *Call) reshaped(x *Value, shape []dim.Dim) {
	in := make([][]label.Label, len(x.Shape))
	for k := range in {
		if x.Shape[k] != dim.Num(1) {
			in[k] = c.axis(x, k)
		}
	}
	axes := c.regroup(x.Shape, in, shape)
	y := c.set(0, x.Type, shape, axes...)
	y.zero = x.zero
	if len(x.Elements) > 0 {
		y.Elements = x.Elements
		c.shapeIn.set(0, true)
	}
	if c.origins(x) {
		c.view(y, x, axisMap(x.Shape, shape))
	}
}

// origins reports whether x is a weight or a view of one.
func (c *Call) origins(x *Value) bool { return x.Const != nil || c.traces[x] != nil }

// axisMap says for each output axis which input axis it is, -1 for those of length 1 and for those
// that split or merge.
func axisMap(in, out []dim.Dim) []int {
	perm := make([]int, len(out))
	i := 0
	for k, d := range out {
		perm[k] = -1
		if d == dim.Num(1) {
			continue
		}
		for i < len(in) && in[i] == dim.Num(1) {
			i++
		}
		if i < len(in) && in[i] == d {
			perm[k] = i
		}
		i++
	}
	return perm
}

func flattened(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axis := c.Int("axis", 1)
	if axis < 0 {
		axis += int64(len(x.Shape))
	}
	if axis < 0 || axis > int64(len(x.Shape)) {
		c.unknown("axis is out of range")
		return
	}
	c.reshaped(x, []dim.Dim{dim.Product(x.Shape[:axis]), dim.Product(x.Shape[axis:])})
}

func squeeze(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axes, given, known := c.intsFrom("axes", 1)
	if !known {
		c.unknown("the axes are not known")
		return
	}
	drop := make([]bool, len(x.Shape))
	for _, a := range axes {
		k, ok := NormAxis(a, len(x.Shape))
		if !ok {
			c.unknown("axis %d is out of range", a)
			return
		}
		drop[k] = true
	}
	var shape []dim.Dim
	var perm []int
	for k, d := range x.Shape {
		if drop[k] || (!given && d == dim.Num(1)) {
			c.freeze(x, k, "drops this axis")
			continue
		}
		shape, perm = append(shape, d), append(perm, k)
	}
	c.moved(x, shape, perm)
}

// patchSqueeze names the axes of a Squeeze that drops every axis of length 1, where another axis
// has length 1 after pruning.
func patchSqueeze(p *Patching) {
	x, now := p.Old.Input(0), p.now(0)
	if p.Old.attr("axes") != nil || p.Old.Input(1) != nil || x == nil || now == nil {
		return
	}
	var axes []int64
	shorter := false
	for k, d := range x.Shape {
		if d == dim.Num(1) {
			axes = append(axes, int64(k))
		} else if after, ok := now.dim(k); ok && after == dim.Num(1) {
			shorter = true
		}
	}
	switch {
	case !shorter:
	case len(axes) == 0: // no axes mean all of length 1
		p.Node.OpType, p.Changed = "Identity", true
	case p.Old.Version < 13:
		p.setAttr(&onnxio.Attribute{Name: "axes", Type: onnxio.AttrInts, Ints: axes})
	default:
		p.setInput(1, onnxio.NewInt64s("", axes))
	}
}

// moved gives output 0 the input's axes in a new order; perm[k] is the input's axis, -1 for a new
// one.
func (c *Call) moved(x *Value, shape []dim.Dim, perm []int) {
	axes := make([][]label.Label, len(perm))
	for k, j := range perm {
		if j >= 0 {
			axes[k] = c.axis(x, j)
		}
	}
	y := c.set(0, x.Type, shape, axes...)
	y.zero = x.zero
	if c.origins(x) {
		c.view(y, x, perm)
	}
	if e := permute(x.Elements, x.Shape, perm); e != nil {
		y.Elements = e
		c.shapeIn.set(0, true)
	}
}

func unsqueeze(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axes, given, known := c.intsFrom("axes", 1)
	rank := len(x.Shape) + len(axes)
	isNew := make([]bool, rank)
	ok := given && known
	for _, a := range axes {
		k, in := NormAxis(a, rank)
		if ok = ok && in && !isNew[k]; !ok {
			break
		}
		isNew[k] = true
	}
	if !ok {
		c.unknown("the axes are not known or out of range")
		return
	}
	shape, perm := make([]dim.Dim, rank), make([]int, rank)
	j := 0
	for k := range shape {
		shape[k], perm[k] = dim.Num(1), -1
		if !isNew[k] {
			shape[k], perm[k] = x.Shape[j], j
			j++
		}
	}
	c.moved(x, shape, perm)
}

func transpose(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	rank := len(x.Shape)
	perm, shape, seen := make([]int, rank), make([]dim.Dim, rank), make([]bool, rank)
	given := c.ints("perm")
	for k := range perm {
		perm[k] = rank - 1 - k
		if given != nil {
			if len(given) != rank || given[k] < 0 || given[k] >= int64(rank) || seen[given[k]] {
				c.unknown("perm %v does not fit rank %d", given, rank)
				return
			}
			perm[k] = int(given[k])
			seen[perm[k]] = true
		}
		shape[k] = x.Shape[perm[k]]
	}
	c.moved(x, shape, perm)
}

func expand(c *Call) {
	x, s := c.Input(0), c.Input(1)
	if x == nil || s == nil || !x.Ranked || s.Elements == nil {
		c.unknown("the new shape is not known")
		if x != nil && x.Ranked && s.length() >= 0 {
			c.ofRank(0, x.Type, max(s.length(), len(x.Shape)))
		}
		return
	}
	c.shapeIn.set(1, true)
	dims, lengths := shapeFrom(s.Elements)
	elems := x.Elements
	rank := max(len(dims), len(x.Shape))
	shape, axes := make([]dim.Dim, rank), make([][]label.Label, rank)
	for k := range rank {
		i, j := len(x.Shape)-rank+k, len(dims)-rank+k
		switch {
		case i >= 0 && (j < 0 || dims[j] == dim.Num(1) || x.Shape[i] != dim.Num(1)):
			shape[k], axes[k] = x.Shape[i], c.axis(x, i)
			if j >= 0 && lengths[j] != nil && dims[j] != dim.Num(1) && (c.alive(axes[k]) || !x.Shape[i].IsNum()) { // else it is whole, and the target is made to say so
				c.joinLabels(axes[k], lengths[j])
			}
		case lengths[j] != nil:
			shape[k], axes[k] = dims[j], lengths[j]
		default:
			shape[k] = dims[j]
			if i >= 0 || x.Type.IsFloat() {
				axes[k] = c.anyLength(dims[j])
			}
		}
	}
	c.checkPatchable(s)
	y := c.set(0, x.Type, shape, axes...)
	y.zero = x.zero
	if x.zero == isZero && !c.covers(x, y) && !x.zeros() {
		y.zero = nonZero
	}
	if pairs, _ := zip(elems, x.Shape, ones(dims), dims); elems != nil && pairs != nil && !s.tainted() {
		for _, p := range pairs {
			y.Elements = append(y.Elements, p[0])
		}
		c.shapeIn.set(0, true)
	}
}

// anyLength returns labels of its own for an axis on which a tensor is the same everywhere and
// whose length its node is told, nil where that is not a number.
func (c *Call) anyLength(d dim.Dim) []label.Label {
	if !d.IsNum() || d.N <= 1 || d.N > maxElems {
		return nil
	}
	return c.Labels.Fresh(int(d.N))
}

// ones is a tensor of a numeric shape for broadcasting against; nil where it is too large or
// symbolic.
func ones(dims []dim.Dim) []Elem {
	n, ok := dim.Numbers(dims)
	total := 1
	for _, d := range n {
		if total *= d; total > maxElems {
			return nil
		}
	}
	if !ok {
		return nil
	}
	return make([]Elem, total)
}

func tile(c *Call) {
	x, reps := c.Input(0), c.Input(1)
	if x == nil || !x.Ranked || reps == nil {
		c.unknown("the rank of its input is not known")
		return
	}
	c.shapeIn.set(1, true)
	known := len(reps.Elements) == len(x.Shape) && !slices.ContainsFunc(reps.Elements, func(e Elem) bool { return e.IsFloat })
	c.freezeRepeats(x, reps, known)
	shape, axes := make([]dim.Dim, len(x.Shape)), make([][]label.Label, len(x.Shape))
	for k := range shape {
		n := dim.Symbol("?" + c.outName(0) + "." + dim.Num(int64(k)).String())
		if known {
			n = reps.Elements[k].Int
		}
		shape[k] = x.Shape[k].Mul(n)
		switch {
		case n.IsNum() && n.N < 0:
			c.unknown("negative repeats")
			return
		case known && x.Shape[k] == dim.Num(1) && n != dim.Num(1): // as Expand
			c.freeze(x, k, "is repeated")
			if axes[k] = reps.Elements[k].length; axes[k] == nil {
				axes[k] = c.anyLength(n)
			}
		default:
			axes[k] = c.repeated(x, k, n)
		}
	}
	y := c.set(0, x.Type, shape, axes...)
	if y.zero = x.zero; x.zero == isZero && !c.covers(x, y) && !x.zeros() {
		y.zero = nonZero
	}
}

// freezeRepeats keeps whole the axes from which repeats are computed, but for an axis of length 1
// that is repeated as often as another is long.
func (c *Call) freezeRepeats(x, reps *Value, known bool) {
	rest := *reps
	rest.Elements = slices.Clone(reps.Elements)
	for k := range rest.Elements {
		if known && x.Shape[k] == dim.Num(1) && rest.Elements[k].length != nil {
			rest.Elements[k].taint = nil
		}
	}
	c.freezeTaint(&rest, "repeats depend on the length of this axis")
}

// repeated returns the labels of an axis n times one after the other.
func (c *Call) repeated(x *Value, k int, n dim.Dim) []label.Label {
	a := c.axis(x, k)
	switch {
	case !n.IsNum():
		c.freeze(x, k, "is repeated an unknown number of times")
		return nil
	case n.N > MaxAxis || a != nil && n.N*int64(len(a)) > MaxAxis:
		c.freeze(x, k, "is repeated more often than the analysis can follow")
		return nil
	}
	var out []label.Label
	for i := int64(0); a != nil && i < n.N; i++ {
		out = append(out, a...)
	}
	return out
}

// patchTile repeats axes of length 1 as often as the result is long now.
func patchTile(p *Patching) {
	x, reps := p.Old.Input(0), p.Old.Input(1)
	if x == nil || reps == nil || !p.Old.Result(0).Ranked || len(reps.Elements) != len(x.Shape) {
		return
	}
	want, now := make([]dim.Dim, len(reps.Elements)), p.in[1].Elements
	same := len(now) == len(want)
	for k, e := range reps.Elements {
		if want[k] = e.Int; x.Shape[k] == dim.Num(1) {
			want[k] = p.want(0)[k]
		}
		same = same && now[k].Int == want[k]
	}
	if !same {
		p.setVector(1, want)
	}
}

func depthToSpace(c *Call) {
	x, b := c.Input(0), c.Int("blocksize", 0)
	if x == nil || len(x.Shape) != 4 || b < 1 || b > 1<<12 || !x.Shape[1].IsNum() || x.Shape[1].N%(b*b) != 0 {
		c.unknown("the input does not fit the block size")
		return
	}
	ch, per := c.axis(x, 1), x.Shape[1].N/(b*b)
	var out []label.Label
	why := c.because("blocks can only be removed as a whole")
	if ch != nil {
		var blocks []label.Label
		if c.str("mode", "DCR") == "CRD" {
			out, blocks = c.Labels.Split(ch, int(per), int(b*b), why)
		} else {
			blocks, out = c.Labels.Split(ch, int(b*b), int(per), why)
		}
		c.Labels.FreezeAll(blocks, why)
	}
	c.freeze(x, 2, "moves blocks into this axis")
	c.freeze(x, 3, "moves blocks into this axis")
	c.set(0, x.Type, []dim.Dim{x.Shape[0], dim.Num(per), x.Shape[2].Mul(dim.Num(b)), x.Shape[3].Mul(dim.Num(b))}, c.axis(x, 0), out).zero = x.zero
}

func spaceToDepth(c *Call) {
	x, b := c.Input(0), c.Int("blocksize", 0)
	if x == nil || len(x.Shape) != 4 || b < 1 || b > 1<<12 {
		c.unknown("the input does not fit the block size")
		return
	}
	c.freeze(x, 2, "moves blocks out of this axis")
	c.freeze(x, 3, "moves blocks out of this axis")
	ch := c.axis(x, 1)
	if ch != nil && b*b*int64(len(ch)) > MaxAxis {
		c.freeze(x, 1, "becomes longer than the analysis can follow")
		ch = nil
	}
	if ch != nil {
		ch = c.Labels.Merge([][]label.Label{nil, ch}, []int{int(b * b), len(ch)})
	}
	c.set(0, x.Type, []dim.Dim{x.Shape[0], x.Shape[1].Mul(dim.Num(b * b)), x.Shape[2].FloorDiv(dim.Num(b)), x.Shape[3].FloorDiv(dim.Num(b))}, c.axis(x, 0), ch).zero = x.zero
}
