package op

import (
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	const heads = "heads are pruned from query, key and value together (query heads in groups of equal size over the key's), channels of a head from query and key, and from value"
	const pairs = "heads pass through; rotated channels are pruned in pairs, with their columns of the tables"
	register(
		Op{Name: "Attention", Since: 23, Infer: attention, Patch: patchHeads("q_num_heads", "kv_num_heads"), Multiply: true, Note: heads},
		Op{Name: "RotaryEmbedding", Since: 23, Infer: rotary(1, 2, 3), Patch: patchRotary, Note: pairs},
		Op{Domain: Microsoft, Name: "RotaryEmbedding", Since: 1, Infer: rotary(2, 3, 1), Patch: patchRotary, Note: pairs},
		Op{Domain: Microsoft, Name: "MultiHeadAttention", Since: 1, Infer: multiHead, Patch: patchHeads("num_heads", ""), Note: heads},
		Op{Domain: Microsoft, Name: "GroupQueryAttention", Since: 1, Infer: groupQuery, Patch: patchHeads("num_heads", "kv_num_heads"), Note: heads},
		Op{Domain: Microsoft, Name: "Attention", Since: 1, Infer: packedAttention, Patch: patchPacked, Graph: GraphPacked, Layer: &Layer{Weight: 1, Bias: 2, Out: 1, Channel: -1, Unfit: unfitHeads}, Multiply: true, Train: ".wv", Note: heads + "; the packed weight holds all three"},
		Op{Domain: Microsoft, Name: "QAttention", Since: 1, Infer: quantisedAttention, Patch: patchPackedHeads, Layer: &Layer{Weight: 1, Bias: 2, Out: 1, Channel: -1, Unfit: unfitHeads}, Multiply: true, Operands: "wwwss.ss", Note: "whole heads are pruned; scale and zero point of the packed weight = its columns"},
	)
}

// projected is query, key or value: [batch, heads, length, dim], or [batch, length, heads*dim] with
// its last axis seen as heads and channels.
type projected struct {
	v           *Value
	flat        bool
	heads, dim  dim.Dim
	head, inner []label.Label // labels of the heads and of a head's channels; nil where nothing can be cut
	zero        zeroState
}

// project views a value as n heads; ok is false where it does not divide.
func (c *Call) project(v *Value, n int64) (projected, bool) {
	p := projected{v: v}
	if v == nil || !v.Ranked {
		return p, false
	}
	p.zero = v.zero
	if len(v.Shape) == 4 {
		p.heads, p.dim, p.head, p.inner = v.Shape[1], v.Shape[3], c.axis(v, 1), c.axis(v, 3)
		return p, p.heads.IsNum() && p.dim.IsNum() && p.heads.N <= MaxAxis && p.dim.N <= MaxAxis
	}
	if len(v.Shape) != 3 || !v.Shape[2].IsNum() || n < 1 || v.Shape[2].N%n != 0 || v.Shape[2].N > MaxAxis {
		return p, false
	}
	p.flat, p.heads, p.dim = true, dim.Num(n), dim.Num(v.Shape[2].N/n)
	p.head, p.inner = c.views(c.axis(v, 2), int(n), int(p.dim.N))
	return p, true
}

// views splits an axis into a times b positions.
func (c *Call) views(whole []label.Label, a, b int) (outer, inner []label.Label) {
	if whole == nil {
		return nil, nil
	}
	outer, inner = c.Labels.Split(whole, a, b, c.because("views the axis as heads"))
	c.Splits = append(c.Splits, label.SplitRecord{Whole: whole, Outer: outer, Inner: inner, Node: c.Name()})
	return outer, inner
}

func (p projected) length() dim.Dim {
	if p.flat {
		return p.v.Shape[1]
	}
	return p.v.Shape[2]
}

// attend joins query, key and value and gives output 0; it returns the labels of the query's heads.
func (c *Call) attend(q, k, v projected, past dim.Dim) []label.Label {
	each := q.heads.N / max(k.heads.N, 1)
	queries, zero := q.head, v.zero
	if each > 1 {
		outer, inner := c.views(q.head, int(k.heads.N), int(each))
		c.joinLabels(outer, k.head)
		queries = c.Labels.Merge([][]label.Label{outer, inner}, []int{int(k.heads.N), int(each)})
		if c.alive(inner) { // such a query is zero, its keys and values are not
			zero = nonZero
		}
	} else {
		c.joinLabels(q.head, k.head)
	}
	c.joinLabels(k.head, v.head)
	c.joinLabels(q.inner, k.inner)
	if q.zero != isZero && k.zero != isZero && c.alive(q.inner) {
		c.Labels.FreezeAll(q.inner, c.because("sums over channels that would not be zero when removed"))
	}
	c.Heads = append(c.Heads, q.head)
	c.HeadDims = append(c.HeadDims, q.inner, v.inner)
	for _, p := range []projected{q, k, v} {
		for axis := range p.v.Shape {
			if axis == 0 || p.flat && axis == 1 || !p.flat && axis == 2 {
				c.freeze(p.v, axis, "attends along this axis")
			}
		}
	}
	b, s := q.v.Shape[0], q.length()
	var y *Value
	if q.flat {
		width := q.heads.Mul(v.dim)
		y = c.set(0, q.v.Type, []dim.Dim{b, s, width}, nil, nil, c.Labels.Merge([][]label.Label{queries, v.inner}, []int{int(q.heads.N), int(v.dim.N)}))
	} else {
		y = c.set(0, q.v.Type, []dim.Dim{b, q.heads, s, v.dim}, nil, queries, nil, v.inner)
	}
	y.zero = zero
	total := k.length().Add(past)
	c.present(1, k, total)
	c.present(2, v, total)
	c.set(3, q.v.Type, []dim.Dim{b, q.heads, s, total}, nil, queries).zero = nonZero
	both := slices.Concat(labelsOr(q.inner, int(q.dim.N)), labelsOr(v.inner, int(v.dim.N)))
	c.cost(b.Mul(s).Mul(total).N, CostAxis{queries, q.heads.N}, CostAxis{both, int64(len(both))})
	return queries
}

// present is the output of keys or values with those of the past in front.
func (c *Call) present(i int, p projected, total dim.Dim) {
	y := c.set(i, p.v.Type, []dim.Dim{p.v.Shape[0], p.heads, total, p.dim}, nil, p.head, nil, p.inner)
	y.zero = p.zero
}

// cached joins past keys or values [batch, heads, length, dim] with what they continue, and returns
// their length.
func (c *Call) cached(past *Value, p *projected) dim.Dim {
	if past == nil {
		return dim.Num(0)
	}
	if len(past.Shape) != 4 {
		c.Labels.FreezeAll(p.head, c.because("continues past keys or values of unknown shape"))
		c.Labels.FreezeAll(p.inner, c.because("continues past keys or values of unknown shape"))
		return dim.Symbol("?" + c.outName(0) + ".past")
	}
	c.joinLabels(c.axis(past, 1), p.head)
	c.joinLabels(c.axis(past, 3), p.inner)
	if past.zero != isZero {
		p.zero = nonZero
	}
	return past.Shape[2]
}

// biased joins what is added to the attention scores, [.., heads, query, key] from the right.
func (c *Call) biased(mask *Value, queries []label.Label) {
	if mask == nil {
		return
	}
	if !mask.Ranked {
		c.Labels.FreezeAll(queries, c.because("adds %q, which may have a row for every head", mask.Name))
	}
	for k, d := range mask.Shape {
		if k == len(mask.Shape)-3 && d != dim.Num(1) {
			c.join(mask, k, queries)
			continue
		}
		c.freeze(mask, k, "is added to attention scores")
	}
}

func attention(c *Call) {
	qHeads, kvHeads := c.Int("q_num_heads", 0), c.Int("kv_num_heads", 0)
	q, a := c.project(c.Input(0), qHeads)
	k, b := c.project(c.Input(1), kvHeads)
	v, d := c.project(c.Input(2), kvHeads)
	if !a || !b || !d || q.flat != k.flat || k.flat != v.flat || k.heads.N < 1 || q.heads.N%k.heads.N != 0 || k.heads != v.heads {
		c.unknown("query, key and value do not fit its heads")
		return
	}
	past := c.cached(c.Input(4), &k)
	c.cached(c.Input(5), &v)
	queries := c.attend(q, k, v, past)
	c.biased(c.Input(3), queries)
	if n := c.Input(6); n != nil {
		c.freezeValue(n, "holds lengths")
	}
}

func multiHead(c *Call) {
	n := c.Int("num_heads", 0)
	if c.Input(1) == nil || c.Input(2) == nil {
		c.unknown("has query, key and value in one input")
		return
	}
	q, a := c.project(c.Input(0), n)
	k, b := c.project(c.Input(1), n)
	v, d := c.project(c.Input(2), n)
	if !a || !b || !d || !q.flat || k.heads != q.heads || v.heads != q.heads {
		c.unknown("query, key and value do not fit %d heads", n)
		return
	}
	if bias := c.Input(3); bias != nil {
		c.packedBias(bias, q, k, v)
		for _, p := range []*projected{&q, &k, &v} {
			if bias.zero != isZero {
				p.zero = nonZero
			}
		}
	}
	if m := c.Input(4); m != nil {
		c.freezeValue(m, "masks keys")
	}
	past := c.cached(c.Input(6), &k)
	c.cached(c.Input(7), &v)
	queries := c.attend(q, k, v, past)
	c.biased(c.Input(5), queries)
	for i := 8; i < len(c.In); i++ {
		c.freezeValue(c.In[i], "holds lengths or indices")
	}
}

// packedBias is the bias of query, key and value, one after the other.
func (c *Call) packedBias(bias *Value, parts ...projected) {
	var all []label.Label
	for _, p := range parts {
		n := int(p.heads.N * p.dim.N)
		all = append(all, labelsOr(c.Labels.Merge([][]label.Label{p.head, p.inner}, []int{int(p.heads.N), int(p.dim.N)}), n)...)
	}
	if len(bias.Shape) != 1 || bias.Shape[0] != dim.Num(int64(len(all))) {
		c.freezeValue(bias, "does not fit the heads")
		for _, p := range parts {
			c.Labels.FreezeAll(p.head, c.because("its bias does not fit"))
			c.Labels.FreezeAll(p.inner, c.because("its bias does not fit"))
		}
		return
	}
	c.join(bias, 0, all)
}

func groupQuery(c *Call) {
	if c.Input(1) == nil || c.Input(2) == nil {
		c.unknown("has query, key and value in one input")
		return
	}
	q, a := c.project(c.Input(0), c.Int("num_heads", 0))
	k, b := c.project(c.Input(1), c.Int("kv_num_heads", 0))
	v, d := c.project(c.Input(2), c.Int("kv_num_heads", 0))
	if !a || !b || !d || !q.flat || !k.flat || !v.flat || q.heads.N%k.heads.N != 0 {
		c.unknown("query, key and value do not fit its heads")
		return
	}
	for _, p := range []projected{q, k, v} { // one size for all, and a multiple of 8 in ONNX Runtime
		c.Labels.FreezeAll(p.inner, c.because("the size of its heads cannot change"))
	}
	past := c.cached(c.Input(3), &k)
	c.cached(c.Input(4), &v)
	if c.Int("do_rotary", 0) != 0 {
		c.rotate(q, c.Input(7), c.Input(8), c.Int("rotary_interleaved", 0) != 0)
		c.rotate(k, c.Input(7), c.Input(8), c.Int("rotary_interleaved", 0) != 0)
	}
	total := dim.Symbol("?" + c.outName(0) + ".total")
	if c.sizes != nil {
		total = past // attend adds what is new
	}
	queries := c.attend(q, k, v, total)
	for i, p := range []projected{k, v} { // the buffer's length is that of the past where both share it
		if past := c.Input(3 + i); past != nil && len(past.Shape) == 4 {
			c.set(1+i, p.v.Type, []dim.Dim{p.v.Shape[0], p.heads, total, p.dim}, nil, p.head, nil, p.inner)
		}
	}
	for _, i := range []int{5, 6, 9} {
		c.freezeValue(c.Input(i), "holds lengths or positions")
	}
	c.biased(c.Input(10), queries)
	c.along(c.Input(11), queries)
}

// packedAttention is ONNX Runtime's fused attention: input [batch, length, I], weight [I, Q+K+V],
// bias [Q+K+V].
func packedAttention(c *Call) { c.packed() }

// quantisedAttention is packedAttention of integers. It has no attributes for another scale of its
// scores, nor for values of another length, so that heads leave as a whole.
func quantisedAttention(c *Call) {
	x, w, scale, point := c.Input(0), c.Input(1), c.Input(4), c.Input(7)
	if x == nil || w == nil || len(x.Shape) != 3 || len(w.Shape) != 2 || c.Input(8) != nil {
		c.unknown("needs an input of three axes, a packed weight and no past")
		return
	}
	own := -1
	c.vectorAlong(scale, w, 1)
	if c.vectorAlong(point, w, 1) {
		own = 1
	}
	c.integerSum(x, 2, c.Input(6), w, 0, point, own)
	d := c.with(x, w, c.Input(2), c.Input(5))
	parts := d.packed()
	c.finish(d)
	c.describe(w, scale, point, 1)
	for _, p := range parts {
		c.Labels.FreezeAll(p.inner, c.because("its scores have a fixed scale"))
		if own < 0 && !pointIs0(point) {
			c.Labels.FreezeAll(p.head, c.because("has weights that are not zero where they are removed"))
		}
	}
	if len(c.Out) > 0 && c.Out[0] != nil {
		c.Out[0].Type = onnxio.Float
	}
}

// packed joins an input with the three parts of a packed weight, and returns these.
func (c *Call) packed() []projected {
	x, w, bias := c.Input(0), c.Input(1), c.Input(2)
	n := c.Int("num_heads", 0)
	if x == nil || w == nil || len(x.Shape) != 3 || len(w.Shape) != 2 || !w.Shape[1].IsNum() || n < 1 {
		c.unknown("needs an input of three axes, a packed weight and num_heads")
		return nil
	}
	sizes := c.ints("qkv_hidden_sizes")
	if len(sizes) != 3 {
		each := w.Shape[1].N / 3
		sizes = []int64{each, each, each}
	}
	if sizes[0] != sizes[1] || sizes[0]%n != 0 || sizes[2]%n != 0 || sizes[0]+sizes[1]+sizes[2] != w.Shape[1].N {
		c.unknown("its weight does not fit %d heads", n)
		return nil
	}
	c.role(w, 0, Input)
	c.role(w, 1, Output)
	c.contract(x, 2, w, 0)
	columns := c.axis(w, 1)
	c.along(bias, columns)
	zero := isZero
	if w.zero != isZero || bias != nil && bias.zero != isZero {
		zero = nonZero
	}
	var parts []projected
	at := int64(0)
	for _, size := range sizes {
		part := &Value{Name: w.Name, Type: x.Type, Ranked: true, Shape: []dim.Dim{x.Shape[0], x.Shape[1], dim.Num(size)}, Axes: make([][]label.Label, 3), zero: zero}
		if columns != nil {
			part.Axes[2] = columns[at : at+size : at+size]
		}
		at += size
		p, _ := c.project(part, n)
		parts = append(parts, p)
	}
	for k := range 2 {
		c.freeze(x, k, "attends along this axis")
	}
	past := dim.Num(0)
	if p := c.Input(4); p != nil {
		c.freezeValue(p, "holds past keys and values")
		for _, q := range parts {
			c.Labels.FreezeAll(q.head, c.because("continues past keys and values"))
			c.Labels.FreezeAll(q.inner, c.because("continues past keys and values"))
		}
		if len(p.Shape) == 5 {
			past = p.Shape[3]
		}
	}
	queries := c.attend(parts[0], parts[1], parts[2], past)
	if len(c.Out) > 1 {
		c.set(1, x.Type, []dim.Dim{dim.Num(2), x.Shape[0], dim.Num(n), x.Shape[1].Add(past), parts[1].dim})
		for _, q := range parts {
			c.Labels.FreezeAll(q.head, c.because("returns its keys and values"))
			c.Labels.FreezeAll(q.inner, c.because("returns its keys and values"))
		}
	}
	if m := c.Input(3); m != nil {
		c.freezeValue(m, "masks keys")
	}
	c.biased(c.Input(5), queries)
	c.freezeValue(c.Input(6), "holds lengths")
	c.cost(x.Shape[0].Mul(x.Shape[1]).N, axisCost(w, 0, c.axis(w, 0)), axisCost(w, 1, columns))
	return parts
}

// rotary is the rule of a rotary embedding whose tables and positions are at the given inputs.
//
//go:noinline
func rotary(cos, sin, positions int) func(c *Call) {
	return func(c *Call) {
		x, table := c.Input(0), c.Input(cos)
		if x == nil || table == nil || !x.Ranked || len(table.Shape) == 0 {
			c.unknown("the rank of an input is unknown")
			return
		}
		n := c.Int("num_heads", 0)
		if n == 0 && len(x.Shape) == 3 && x.Shape[2].IsNum() && table.Shape[len(table.Shape)-1].IsNum() { // heads follow from the table
			n = x.Shape[2].N / max(2*table.Shape[len(table.Shape)-1].N, 1)
		}
		p, ok := c.project(x, n)
		if !ok {
			c.unknown("does not fit %d heads", n)
			return
		}
		c.rotate(p, table, c.Input(sin), c.Int("interleaved", 0) != 0)
		if at := c.Input(positions); at != nil {
			c.freezeValue(at, "holds positions")
		}
		c.same(0, x.Type, x)
	}
}

// rotate keeps the pairs of a head's channels together and joins them with the last axis of the
// tables.
func (c *Call) rotate(p projected, cos, sin *Value, interleaved bool) {
	half := int(p.dim.N / 2)
	fits := cos != nil && sin != nil && p.dim.N%2 == 0 && c.Int("rotary_embedding_dim", 0) == 0
	for _, t := range []*Value{cos, sin} {
		fits = fits && len(t.Shape) > 0 && t.Shape[len(t.Shape)-1] == dim.Num(int64(half))
	}
	if !fits {
		c.Labels.FreezeAll(p.inner, c.because("rotates a part of the channels"))
		c.freezeValue(cos, "rotates a part of the channels")
		c.freezeValue(sin, "rotates a part of the channels")
		return
	}
	pairs, within := []label.Label(nil), []label.Label(nil)
	if interleaved {
		pairs, within = c.views(p.inner, half, 2)
	} else {
		within, pairs = c.views(p.inner, 2, half)
	}
	c.Labels.FreezeAll(within, c.because("rotates channels in pairs"))
	for _, t := range []*Value{cos, sin} {
		c.join(t, len(t.Shape)-1, pairs)
	}
}

// patchHeads sets the numbers of heads, and the scale where a head's channels have changed and the
// operator would compute another one.
//
//go:noinline
func patchHeads(query, key string) func(p *Patching) {
	return func(p *Patching) {
		dim, ok := p.Old.project(p.Old.In[0], p.Old.Int(query, 0))
		if !ok {
			return
		}
		left := p.left(dim.inner, dim.dim)
		for i, name := range []string{query, key} {
			if name == "" || p.Old.attr(name) == nil || len(p.Old.In) <= i {
				continue
			}
			v := p.Old.In[i]
			old, ok := p.Old.project(v, p.Old.Int(name, 0))
			if n := p.left(old.head, old.heads); ok && n != old.heads.N {
				p.setAttr(&onnxio.Attribute{Name: name, Type: onnxio.AttrInt, I: n})
			}
		}
		p.pinScale(dim.dim.N, left)
	}
}

// left counts what survives of an axis.
func (p *Patching) left(axis []label.Label, whole dim.Dim) int64 {
	if keep := p.Keep(axis); keep != nil {
		return int64(len(keep))
	}
	return whole.N
}

// pinScale writes the original scale of the scores where a head has lost channels.
func (p *Patching) pinScale(before, after int64) {
	if before == after || p.Old.float("scale", 0) != 0 {
		return
	}
	p.setAttr(&onnxio.Attribute{Name: "scale", Type: onnxio.AttrFloat, F: float32(1 / math.Sqrt(float64(before)))})
}

func patchRotary(p *Patching) {
	if p.Old.Int("num_heads", 0) == 0 {
		return
	}
	if old, ok := p.Old.project(p.Old.In[0], p.Old.Int("num_heads", 0)); ok {
		if n := p.left(old.head, old.heads); n != old.heads.N {
			p.setAttr(&onnxio.Attribute{Name: "num_heads", Type: onnxio.AttrInt, I: n})
		}
	}
}

// patchPacked sets the number of heads, the sizes of query, key and value, and the scale of a fused
// attention.
// patchPackedHeads sets the number of heads.
func patchPackedHeads(p *Patching) {
	w := p.Old.In[1]
	width := w.Shape[1]
	if left := p.left(p.Old.axis(w, 1), width); left != width.N {
		p.setAttr(&onnxio.Attribute{Name: "num_heads", Type: onnxio.AttrInt, I: p.Old.Int("num_heads", 1) * left / width.N})
	}
}

func patchPacked(p *Patching) {
	w, n := p.Old.In[1], p.Old.Int("num_heads", 1)
	columns := p.Old.axis(w, 1)
	sizes := p.Old.ints("qkv_hidden_sizes")
	if len(sizes) != 3 {
		each := w.Shape[1].N / 3
		sizes = []int64{each, each, each}
	}
	if p.Keep(columns) == nil {
		return
	}
	now, at := make([]int64, 3), int64(0)
	for i, size := range sizes {
		now[i] = p.left(columns[at:at+size:at+size], dim.Num(size))
		at += size
	}
	outer, inner := p.Old.Labels.Split(columns[:sizes[0]:sizes[0]], int(n), int(sizes[0]/n), 0)
	heads := p.left(outer, dim.Num(n))
	p.setAttr(&onnxio.Attribute{Name: "num_heads", Type: onnxio.AttrInt, I: heads})
	p.setAttr(&onnxio.Attribute{Name: "qkv_hidden_sizes", Type: onnxio.AttrInts, Ints: now})
	p.pinScale(sizes[0]/n, p.left(inner, dim.Num(sizes[0]/n)))
}
