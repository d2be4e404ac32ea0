package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(Op{Domain: Microsoft, Name: "MatMulNBits", Since: 1, Packing: blockBits, Infer: matMulNBits, Patch: patchNBits, Multiply: true, Operands: "wwss.w", Layer: &Layer{Weight: 1, Bias: 5, In: 1, Channel: -1, Unfit: unfitPacked},
		Note: "rows of the packed weight = output channels; input channels are removed in whole blocks, or one by one where a row is one block"})
}

// packedWeight is the weight of a MatMulNBits: rows of blocks of integers with few bits.
type packedWeight struct {
	rows, columns, size, bits, blocks int64
	groups                            []int64 // the block of every column, where blocks are not in order
}

// packedWeight reads the node's attributes and compares them with its inputs.
func (c *Call) packedWeight() (w packedWeight, ok bool) {
	a, b, scales := c.Input(0), c.Input(1), c.Input(2)
	w = packedWeight{rows: c.Int("N", 0), columns: c.Int("K", 0), size: c.Int("block_size", 0), bits: c.Int("bits", 4)}
	if a == nil || b == nil || scales == nil || b.Const == nil || !a.Ranked || !scales.Ranked || len(a.Shape) == 0 || len(b.Shape) != 3 {
		return w, false
	}
	if w.rows < 1 || w.columns < 1 || w.size < 1 || w.bits < 1 || w.bits > 8 || w.rows > MaxAxis || w.columns > MaxAxis || w.size > MaxAxis {
		return w, false
	}
	w.blocks = (w.columns + w.size - 1) / w.size
	fits := b.Shape[0] == dim.Num(w.rows) && b.Shape[1] == dim.Num(w.blocks) && b.Shape[2] == dim.Num((w.size*w.bits+7)/8) && w.blocks <= MaxAxis/w.rows
	return w, fits && a.Shape[len(a.Shape)-1] == dim.Num(w.columns) && c.Int("weight_prepacked", 0) == 0 && c.columnOrder(&w)
}

// columnOrder reads which block every column belongs to; false where that is not known or no row of
// blocks of one size.
func (c *Call) columnOrder(w *packedWeight) bool {
	order := c.Input(4)
	if order == nil {
		return true
	}
	groups, known := order.ints()
	if order.Const == nil || !known || int64(len(groups)) < w.columns {
		return false
	}
	groups = groups[:w.columns]
	count, inOrder := make([]int64, w.blocks), true
	for k, g := range groups {
		if g < 0 || g >= w.blocks {
			return false
		}
		count[g]++
		inOrder = inOrder && g == int64(k)/w.size
	}
	if inOrder {
		return true
	}
	short := 0
	for _, n := range count {
		if n != w.size {
			short++
		}
		if n > w.size {
			return false
		}
	}
	w.groups = groups
	return short <= 1
}

// whole reports whether blocks of the packed weight are removed as they are; if not, the columns
// that are kept are packed anew.
func (w *packedWeight) whole() bool { return w.groups == nil && w.blocks > 1 }

// block is the block of a column.
func (w *packedWeight) block(column int) int64 {
	if w.groups != nil {
		return w.groups[column]
	}
	return int64(column) / w.size
}

// matMulNBits is A [.., K] times a packed weight: B [N, blocks, bytes], scales [N*blocks] or [N,
// blocks], zero points, the block of every column, bias [N].
func matMulNBits(c *Call) {
	w, ok := c.packedWeight()
	if !ok {
		c.unknown("its inputs do not fit N, K, bits and block_size")
		return
	}
	a, b := c.In[0], c.In[1]
	last := len(a.Shape) - 1
	in, out := c.packedColumns(&w), c.axis(b, 0)
	if w.whole() {
		c.join(b, 1, in)
	} else {
		c.freeze(b, 1, "holds packed integers")
	}
	c.freeze(b, 2, "holds packed integers")
	c.role(c.In[2], 0, Output)
	c.perBlock(c.In[2], &w, out, in)
	switch p := c.Input(3); {
	case p == nil:
	case p.Type == onnxio.Uint8 && w.bits < 8:
		c.packedPoints(p, &w, out, in)
	default:
		c.perBlock(p, &w, out, in)
	}
	if g := c.Input(4); g != nil && g.Const != nil {
		g.Const.Packed = true
	}
	bias := c.Input(5)
	if bias != nil && len(bias.Shape) == 1 {
		c.join(bias, 0, out)
	}
	shape, axes := slices.Clone(a.Shape), make([][]label.Label, len(a.Shape))
	for j := range last {
		axes[j] = c.axis(a, j)
	}
	shape[last], axes[last] = dim.Num(w.rows), out
	c.set(0, a.Type, shape, axes...)
	c.cost(dim.Product(a.Shape[:last]).N, axisCost(b, 0, out), axisCost(a, last, c.axis(a, last)))
	c.is(a.Type, nil, (bias == nil || bias.zero == isZero) && !c.aliveBut(a, last))
}

// packedColumns couples the columns of a packed weight as far as its blocks need it, and returns
// one label a block: nil where no block is removed.
func (c *Call) packedColumns(w *packedWeight) []label.Label {
	a, weight := c.In[0], c.In[1].Const
	last := len(a.Shape) - 1
	columns := c.axis(a, last)
	switch {
	case !c.alive(columns):
		return nil
	case w.whole():
		return c.wholeBlocks(columns, int(w.blocks), int(w.size))
	case 8%w.bits != 0:
		c.freeze(a, last, "reads integers of %d bits, whose columns cannot be removed one by one", w.bits)
		return nil
	case w.groups != nil:
		in := c.Labels.Fresh(int(w.blocks))
		whole := make([]label.Label, w.columns)
		for k, g := range w.groups {
			whole[k] = in[g]
		}
		weight.Packed = true
		c.joinLabels(columns, whole)
		return in
	case a.zero != isZero:
		c.freeze(a, last, "sums over channels that would not be zero when removed")
		return nil
	}
	weight.Packed = true
	return nil
}

// perBlock joins a tensor that holds a number for every block: [N, blocks] or [N*blocks].
func (c *Call) perBlock(p *Value, w *packedWeight, out, in []label.Label) {
	switch {
	case len(p.Shape) == 2 && p.Shape[0] == dim.Num(w.rows) && p.Shape[1] == dim.Num(w.blocks):
		c.join(p, 0, out)
		c.join(p, 1, in)
	case len(p.Shape) == 1 && p.Shape[0] == dim.Num(w.rows*w.blocks):
		c.join(p, 0, c.Labels.Merge([][]label.Label{out, in}, []int{int(w.rows), int(w.blocks)}))
	default:
		c.apart(p, out, in)
	}
}

// apart keeps rows and blocks of a weight whose scales or zero points do not fit it.
func (c *Call) apart(p *Value, out, in []label.Label) {
	why := c.because("the shape of %q does not fit its weight", p.Name)
	c.Labels.FreezeAll(out, why)
	c.Labels.FreezeAll(in, why)
	c.freezeValue(p, "does not fit its weight")
}

// packedPoints joins zero points with several in a byte: every row starts with a new byte, and the
// blocks that are kept are packed anew.
func (c *Call) packedPoints(p *Value, w *packedWeight, out, in []label.Label) {
	bytes := (w.blocks*w.bits + 7) / 8
	if c.alive(in) && (p.Const == nil || 8%w.bits != 0) {
		c.Labels.FreezeAll(in, c.because("the blocks of its zero points cannot be removed one by one"))
	}
	switch {
	case len(p.Shape) == 2 && p.Shape[0] == dim.Num(w.rows) && p.Shape[1] == dim.Num(bytes):
		c.join(p, 0, out)
		c.freeze(p, 1, "holds packed integers")
	case len(p.Shape) == 1 && p.Shape[0] == dim.Num(w.rows*bytes):
		c.join(p, 0, c.Labels.Merge([][]label.Label{out, nil}, []int{int(w.rows), int(bytes)}))
	default:
		c.apart(p, out, in)
		return
	}
	if p.Const != nil {
		p.Const.Packed = p.Const.Packed || c.alive(in)
	}
}

// patchNBits sets N and K, and packs anew what has several columns or blocks in a byte.
func patchNBits(p *Patching) {
	w, ok := p.Old.packedWeight()
	if !ok {
		return
	}
	rows := p.in[1].Shape[0].N
	if rows != w.rows {
		p.setAttr(&onnxio.Attribute{Name: "N", Type: onnxio.AttrInt, I: rows})
	}
	a := p.Old.In[0]
	columns := p.Keep(p.Old.axis(a, len(a.Shape)-1))
	if columns == nil {
		return
	}
	p.setAttr(&onnxio.Attribute{Name: "K", Type: onnxio.AttrInt, I: int64(len(columns))})
	blocks, order := w.keptBlocks(columns)
	left := (int64(len(columns)) + w.size - 1) / w.size
	if !w.whole() {
		width := w.size * w.bits / 8
		p.repack(1, []int64{rows, left, width}, w.blocks*width, w.bits, columns)
	}
	if z := p.Old.Input(3); z != nil && z.Type == onnxio.Uint8 && w.bits < 8 && len(blocks) < int(w.blocks) {
		dims := []int64{rows, (left*w.bits + 7) / 8}
		if len(z.Shape) == 1 {
			dims = []int64{dims[0] * dims[1]}
		}
		p.repack(3, dims, (w.blocks*w.bits+7)/8, w.bits, blocks)
	}
	if g := p.Old.Input(4); g != nil && p.Err == nil {
		t := &onnxio.Tensor{DataType: g.Type, Dims: []int64{int64(len(order))}}
		t.SetInt64s(order)
		p.setInput(4, t)
	}
}

// keptBlocks lists the blocks that kept columns belong to, and the number that each of these
// columns' block has among them.
func (w *packedWeight) keptBlocks(columns []int) (blocks []int, order []int64) {
	for _, k := range columns {
		if b := int(w.block(k)); !slices.Contains(blocks, b) {
			blocks = append(blocks, b)
		}
	}
	slices.Sort(blocks)
	for _, k := range columns {
		i, _ := slices.BinarySearch(blocks, int(w.block(k)))
		order = append(order, int64(i))
	}
	return blocks, order
}

// repack gives the node what is kept of an input whose rows of bytes hold several elements each,
// low bits first; dims are those of the result, whose first axis or elements hold its rows.
func (p *Patching) repack(i int, dims []int64, stride, bits int64, keep []int) {
	if p.Err != nil {
		return
	}
	data, err := p.in[i].Const.Tensor.Bytes()
	if err != nil {
		p.Err = err
		return
	}
	rows, size := int64(len(data))/stride, int64(1)
	for _, d := range dims {
		size *= d
	}
	out := make([]byte, size)
	for r := range rows {
		from, to := data[r*stride:(r+1)*stride], out[r*size/rows:(r+1)*size/rows]
		for at, k := range keep {
			source, target := int64(k)*bits, int64(at)*bits
			to[target/8] |= from[source/8] >> (source % 8) & (1<<bits - 1) << (target % 8)
		}
	}
	t := &onnxio.Tensor{DataType: onnxio.Uint8, Dims: dims}
	t.SetRaw(out)
	p.setInput(i, t)
}

// blockBits is how rows of K numbers are packed; the last block of a row may be filled up.
func blockBits(c *Call, t *onnxio.Tensor, _ int) (num, den int64) {
	n, err := t.NumElements()
	if rows, k := c.Int("N", 0), c.Int("K", 0); err == nil && rows > 0 && k > 0 && n >= rows && len(t.Dims) > 1 {
		return k, n / rows
	}
	return 0, 0
}
