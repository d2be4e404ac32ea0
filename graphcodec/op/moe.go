package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	const experts = "hidden channels of all experts together; experts and the router are kept"
	register(
		Op{Domain: Microsoft, Name: "MoE", Since: 1, Infer: moe, Layer: &Layer{Weight: 2, Out: 1, In: 2, Channel: -1, Unfit: unfitExperts}, Multiply: true, Note: experts},
		Op{Domain: Microsoft, Name: "QMoE", Since: 1, Packing: expertBits, Infer: quantisedMoE, Patch: patchExperts, Layer: &Layer{Weight: 2, Out: 1, In: 2, Channel: -1, Unfit: unfitExperts}, Multiply: true, Operands: "..ws.ws.ws.sss", Note: experts + "; packed channels are removed in whole bytes or blocks"},
	)
}

// experts are the two layers that every expert of a mixture has: fc1 [experts, fused*inner,
// hidden], fc2 [experts, hidden, inner], where the gate is not in fc1 fc3 as fc1.
type experts struct {
	hidden, inner, fused int64
	rows1, rows, columns []label.Label // rows of fc1; rows of fc3 and columns of fc2; columns of fc1 and fc3 and rows of fc2
}

// expertLayers reads the sizes; columns are packed at so many bits.
func (c *Call) expertLayers(first, second, third *Value, bits1, bits2 int64) (e experts, ok bool) {
	x, router := c.Input(0), c.Input(1)
	if x == nil || router == nil || first == nil || second == nil || first.Const == nil || second.Const == nil || len(x.Shape) < 2 || !router.Ranked || len(first.Shape) != 3 || len(second.Shape) != 3 {
		return e, false
	}
	last, f, s := len(x.Shape)-1, first.Shape, second.Shape
	if !x.Shape[last].IsNum() || bits1 < 1 || bits2 < 1 || s[2].N*8%bits2 != 0 {
		return e, false
	}
	e.hidden, e.inner = x.Shape[last].N, s[2].N*8/bits2
	if e.inner < 1 || e.inner > MaxAxis || e.hidden > MaxAxis || e.hidden*bits1%8 != 0 {
		return e, false
	}
	e.fused = f[1].N / e.inner
	if e.fused != 1 && e.fused != 2 || (e.fused == 2) != (c.Int("swiglu_fusion", 0) != 0) || f[0] != s[0] || f[1] != dim.Num(e.fused*e.inner) || f[2] != dim.Num(e.hidden*bits1/8) || s[1] != dim.Num(e.hidden) {
		return e, false
	}
	if third != nil && (third.Const == nil || len(third.Shape) != 3 || e.fused == 2 || third.Shape[1] != dim.Num(e.inner)) {
		return e, false
	}
	e.columns, e.rows = c.axis(x, last), c.Labels.Fresh(int(e.inner))
	switch c.Int("swiglu_fusion", 0) {
	case 1: // gate and channel side by side
		e.rows1 = c.Labels.Merge([][]label.Label{e.rows, nil}, []int{int(e.inner), 2})
	case 2:
		e.rows1 = c.Labels.Merge([][]label.Label{nil, e.rows}, []int{2, int(e.inner)})
	default:
		e.rows1 = e.rows
	}
	return e, true
}

// mixed gives the output and the cost of a mixture of experts, and keeps what its router chooses
// among.
func (c *Call) mixed(e *experts, biases ...*Value) {
	x := c.In[0]
	last := len(x.Shape) - 1
	c.freezeValue(c.In[1], "chooses among experts")
	for k := range last {
		c.freeze(x, k, "passes its tokens to experts")
	}
	y, layers := c.same(0, x.Type, x), e.fused+1
	y.zero = isZero
	for _, b := range biases {
		if b != nil && b.zero != isZero {
			y.zero = nonZero
		}
	}
	if c.Input(6) != nil && c.Node.OpType == "MoE" || c.Input(8) != nil {
		layers++
	}
	c.cost(dim.Product(x.Shape[:last]).Mul(dim.Num(layers*max(c.Int("k", 1), 1))).N, CostAxis{e.columns, e.hidden}, CostAxis{e.rows, e.inner})
}

// expertBias joins axis 1 of a bias [experts, channels] with the rows of its layer.
func (c *Call) expertBias(b *Value, rows []label.Label) {
	if b == nil {
		return
	}
	if len(b.Shape) != 2 || b.Shape[1] != dim.Num(int64(len(rows))) {
		c.freezeValue(b, "does not fit its experts")
		c.Labels.FreezeAll(rows, c.because("the shape of %q does not fit its experts", b.Name))
		return
	}
	c.freeze(b, 0, "experts cannot be pruned")
	c.join(b, 1, rows)
}

func moe(c *Call) {
	first, second, third := c.Input(2), c.Input(4), c.Input(6)
	e, ok := c.expertLayers(first, second, third, 8, 8)
	if !ok || third != nil && third.Shape[2] != dim.Num(e.hidden) {
		c.unknown("its weights do not fit [experts, channels out, channels in]")
		return
	}
	for _, w := range []struct {
		v         *Value
		rows, cut []label.Label
		bias      *Value
	}{{first, e.rows1, e.columns, c.Input(3)}, {second, labelsOr(e.columns, int(e.hidden)), e.rows, c.Input(5)}, {third, e.rows, e.columns, c.Input(7)}} {
		if w.v == nil {
			continue
		}
		c.role(w.v, 1, Output)
		c.role(w.v, 2, Input)
		c.freeze(w.v, 0, "experts cannot be pruned")
		c.join(w.v, 1, w.rows)
		c.join(w.v, 2, w.cut)
		c.expertBias(w.bias, w.rows)
	}
	c.mixed(&e, c.Input(5))
}

// quantisedMoE is MoE with packed weights: every layer has weight, scales, bias, followed by the
// zero points.
func quantisedMoE(c *Call) {
	x, third := c.Input(0), c.Input(8)
	bits := c.Int("expert_weight_bits", 4)
	bits1, bits2, bits3 := c.Int("fc1_expert_weight_bits", bits), c.Int("fc2_expert_weight_bits", bits), c.Int("fc3_expert_weight_bits", bits)
	prepacked := c.Int("weights_prepacked", -1)
	if prepacked > 0 || prepacked < 0 && x != nil && x.Type != onnxio.Float { // 32-bit floats run where nothing is packed ahead
		c.unknown("its weights may be packed for one execution provider; set weights_prepacked to 0 where they are not")
		return
	}
	e, ok := c.expertLayers(c.Input(2), c.Input(5), third, bits1, bits2)
	if !ok || c.str("quant_type", "int") != "int" || slices.ContainsFunc([]int64{bits1, bits2, bits3}, func(b int64) bool { return b != 2 && b != 4 && b != 8 }) {
		c.unknown("its weights do not fit [experts, channels out, packed channels in] of 2, 4 or 8 bits")
		return
	}
	for i := 15; i < len(c.In); i++ {
		if c.In[i] != nil {
			c.unknown("has scales for all of an expert or for its inputs")
			return
		}
	}
	c.packedLayer(2, 11, bits1, e.rows1, e.columns, x)
	c.packedLayer(5, 12, bits2, labelsOr(e.columns, int(e.hidden)), e.rows, nil)
	if third != nil {
		c.packedLayer(8, 13, bits3, e.rows, e.columns, x)
	}
	if w := c.Input(14); w != nil {
		c.freezeValue(w, "weighs experts")
	}
	c.mixed(&e, c.Input(7))
}

// packedLayer joins weight [experts, rows, bytes], scales [experts, rows] or [experts, rows,
// blocks], bias and zero points of one layer of all experts; from is what it reads, nil where that
// is zero at removed channels.
func (c *Call) packedLayer(at, zeroAt int, bits int64, rows, columns []label.Label, from *Value) {
	w, scales, bias, zero := c.In[at], c.Input(at+1), c.Input(at+2), c.Input(zeroAt)
	per, size := int(8/bits), int(c.Int("block_size", 0))
	stuck := func(axis []label.Label, why string) { c.Labels.FreezeAll(axis, c.because("%s", why)) }
	c.expertBias(bias, rows)
	if scales == nil || len(scales.Shape) < 2 || scales.Shape[1] != dim.Num(int64(len(rows))) || size > 0 && (len(scales.Shape) != 3 || !scales.Shape[2].IsNum()) {
		stuck(rows, "its scales do not fit its weights")
		stuck(columns, "its scales do not fit its weights")
		for _, v := range []*Value{w, scales, zero} {
			c.freezeValue(v, "its scales do not fit its weights")
		}
		return
	}
	var bytes, blocks []label.Label // labels of the weight's last axis and of the scales'
	switch {
	case size > 0:
		bytes, blocks = c.expertBlocks(columns, int(scales.Shape[2].N), size, per)
	case from != nil && from.zero != isZero:
		stuck(columns, "sums over channels that would not be zero when removed")
	case per == 1:
		bytes = columns
	default:
		if units := c.wholeBlocks(columns, len(columns)/per, per); len(columns)%per == 0 {
			bytes = units
		} else {
			stuck(columns, "has several channels in a byte")
		}
	}
	for _, v := range []*Value{w, scales, zero} {
		if v != nil {
			c.freeze(v, 0, "experts cannot be pruned")
		}
	}
	c.join(w, 1, rows)
	c.join(w, 2, bytes)
	c.role(scales, 1, Output)
	c.join(scales, 1, rows)
	if len(scales.Shape) > 2 {
		c.join(scales, 2, blocks)
	}
	c.expertPoints(zero, rows, blocks, per)
}

// expertBlocks couples the columns of blocks, which are removed as a whole, and returns the labels
// of their bytes and of the blocks.
func (c *Call) expertBlocks(columns []label.Label, n, size, per int) (bytes, blocks []label.Label) {
	if columns == nil || n*size != len(columns) || size%per != 0 {
		c.Labels.FreezeAll(columns, c.because("its blocks of %d cannot be removed one by one", size))
		return nil, nil
	}
	if blocks = c.wholeBlocks(columns, n, size); blocks == nil {
		return nil, nil
	}
	return c.Labels.Merge([][]label.Label{blocks, nil}, []int{n, size / per}), blocks
}

// expertPoints joins zero points: [experts, packed rows], or [experts, rows, packed blocks]. Those
// with several in a byte are packed anew.
func (c *Call) expertPoints(zero *Value, rows, blocks []label.Label, per int) {
	bytesOf := func(n int) dim.Dim { return dim.Num(int64((n + per - 1) / per)) }
	switch {
	case zero == nil:
		return
	case len(zero.Shape) == 3 && zero.Shape[1] == dim.Num(int64(len(rows))) && (blocks == nil || zero.Shape[2] == bytesOf(len(blocks))):
		c.join(zero, 1, rows)
		if per == 1 {
			c.join(zero, 2, blocks)
			return
		}
		c.freeze(zero, 2, "holds packed integers")
	case len(zero.Shape) == 2 && zero.Shape[1] == bytesOf(len(rows)):
		if per == 1 {
			c.join(zero, 1, rows)
			return
		}
		c.freeze(zero, 1, "holds packed integers")
	default:
		c.freezeValue(zero, "does not fit its experts")
		c.Labels.FreezeAll(rows, c.because("the shape of %q does not fit its experts", zero.Name))
		return
	}
	if zero.Const == nil {
		c.Labels.FreezeAll(rows, c.because("its zero points are computed"))
		c.Labels.FreezeAll(blocks, c.because("its zero points are computed"))
		return
	}
	zero.Const.Packed = true
}

// patchExperts packs zero points anew that have several in a byte.
func patchExperts(p *Patching) {
	all := p.Old.Int("expert_weight_bits", 4)
	for _, layer := range []struct {
		scales, zero int
		bits         int64
	}{{3, 11, p.Old.Int("fc1_expert_weight_bits", all)}, {6, 12, p.Old.Int("fc2_expert_weight_bits", all)}, {9, 13, p.Old.Int("fc3_expert_weight_bits", all)}} {
		scales, zero := p.Old.Input(layer.scales), p.Old.Input(layer.zero)
		if zero == nil || zero.Const == nil || !zero.Const.Packed || scales == nil || layer.bits >= 8 || p.Err != nil {
			continue
		}
		k := len(zero.Shape) - 1
		keep := p.Keep(p.Old.axis(scales, k))
		if keep == nil {
			continue
		}
		dims := slices.Clone(p.in[layer.zero].Const.Tensor.Dims)
		stride := dims[k]
		dims[k] = (int64(len(keep))*layer.bits + 7) / 8
		p.repack(layer.zero, dims, stride, layer.bits, keep)
	}
}

// expertBits is how the weights of experts, input i, are packed.
func expertBits(c *Call, _ *onnxio.Tensor, i int) (num, den int64) {
	return perByte(c.Int("fc"+dim.Num(int64(i/3+1)).String()+"_expert_weight_bits", c.Int("expert_weight_bits", 4)))
}
