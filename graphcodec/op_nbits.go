package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(Op{Domain: microsoft, Name: "MatMulNBits", Since: 1, Infer: matMulNBits, Patch: patchNBits, Multiply: true, Operands: "wwss.w", Layer: &Layer{Weight: 1, Bias: 5, In: 1, Channel: -1, Unfit: unfitPacked},
		Note: "rows of the packed weight = output channels; input channels are removed in whole blocks, or one by one where a row is one block"})
}

// packedWeight is the weight of a MatMulNBits: rows of blocks of integers with few bits.
type packedWeight struct {
	rows, columns, size, bits, blocks int64
	groups                            []int64 // the block of every column, where blocks are not in order
}

// packedWeight reads the node's attributes and compares them with its inputs.
func (c *call) packedWeight() (w packedWeight, ok bool) {
	a, b, scales := c.input(0), c.input(1), c.input(2)
	w = packedWeight{rows: c.int("N", 0), columns: c.int("K", 0), size: c.int("block_size", 0), bits: c.int("bits", 4)}
	if a == nil || b == nil || scales == nil || b.Const == nil || !a.Ranked || !scales.Ranked || len(a.Shape) == 0 || len(b.Shape) != 3 {
		return w, false
	}
	if w.rows < 1 || w.columns < 1 || w.size < 1 || w.bits < 1 || w.bits > 8 || w.rows > maxAxis || w.columns > maxAxis || w.size > maxAxis {
		return w, false
	}
	w.blocks = (w.columns + w.size - 1) / w.size
	fits := b.Shape[0] == Num(w.rows) && b.Shape[1] == Num(w.blocks) && b.Shape[2] == Num((w.size*w.bits+7)/8) && w.blocks <= maxAxis/w.rows
	return w, fits && a.Shape[len(a.Shape)-1] == Num(w.columns) && c.int("weight_prepacked", 0) == 0 && c.columnOrder(&w)
}

// columnOrder reads which block every column belongs to; false where that is not known or no row of blocks of one size.
func (c *call) columnOrder(w *packedWeight) bool {
	order := c.input(4)
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

// whole reports whether blocks of the packed weight are removed as they are; if not, the columns that are kept are packed anew.
func (w *packedWeight) whole() bool { return w.groups == nil && w.blocks > 1 }

// block is the block of a column.
func (w *packedWeight) block(column int) int64 {
	if w.groups != nil {
		return w.groups[column]
	}
	return int64(column) / w.size
}

// matMulNBits is A [.., K] times a packed weight: B [N, blocks, bytes], scales [N*blocks] or [N, blocks], zero points, the block of every column, bias [N].
func matMulNBits(c *call) {
	w, ok := c.packedWeight()
	if !ok {
		c.unknown("its inputs do not fit N, K, bits and block_size")
		return
	}
	a, b := c.in[0], c.in[1]
	last := len(a.Shape) - 1
	in, out := c.packedColumns(&w), c.axis(b, 0)
	if w.whole() {
		c.join(b, 1, in)
	} else {
		c.freeze(b, 1, "holds packed integers")
	}
	c.freeze(b, 2, "holds packed integers")
	c.role(c.in[2], 0, Output)
	c.perBlock(c.in[2], &w, out, in)
	switch p := c.input(3); {
	case p == nil:
	case p.Type == onnxio.Uint8 && w.bits < 8:
		c.packedPoints(p, &w, out, in)
	default:
		c.perBlock(p, &w, out, in)
	}
	if g := c.input(4); g != nil && g.Const != nil {
		g.Const.packed = true
	}
	bias := c.input(5)
	if bias != nil && len(bias.Shape) == 1 {
		c.join(bias, 0, out)
	}
	shape, axes := slices.Clone(a.Shape), make([][]label, len(a.Shape))
	for j := range last {
		axes[j] = c.axis(a, j)
	}
	shape[last], axes[last] = Num(w.rows), out
	c.set(0, a.Type, shape, axes...)
	c.cost(product(a.Shape[:last]).N, axisCost(b, 0, out), axisCost(a, last, c.axis(a, last)))
	c.is(a.Type, nil, (bias == nil || bias.zero == isZero) && !c.aliveBut(a, last))
}

// packedColumns couples the columns of a packed weight as far as its blocks need it, and returns one label a block: nil where no block is removed.
func (c *call) packedColumns(w *packedWeight) []label {
	a, weight := c.in[0], c.in[1].Const
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
		in := c.lab.fresh(int(w.blocks))
		whole := make([]label, w.columns)
		for k, g := range w.groups {
			whole[k] = in[g]
		}
		weight.packed = true
		c.joinLabels(columns, whole)
		return in
	case a.zero != isZero:
		c.freeze(a, last, "sums over channels that would not be zero when removed")
		return nil
	}
	weight.packed = true
	return nil
}

// perBlock joins a tensor that holds a number for every block: [N, blocks] or [N*blocks].
func (c *call) perBlock(p *Value, w *packedWeight, out, in []label) {
	switch {
	case len(p.Shape) == 2 && p.Shape[0] == Num(w.rows) && p.Shape[1] == Num(w.blocks):
		c.join(p, 0, out)
		c.join(p, 1, in)
	case len(p.Shape) == 1 && p.Shape[0] == Num(w.rows*w.blocks):
		c.join(p, 0, c.lab.merge([][]label{out, in}, []int{int(w.rows), int(w.blocks)}))
	default:
		c.apart(p, out, in)
	}
}

// apart keeps rows and blocks of a weight whose scales or zero points do not fit it.
func (c *call) apart(p *Value, out, in []label) {
	why := c.because("the shape of %q does not fit its weight", p.Name)
	c.lab.freezeAll(out, why)
	c.lab.freezeAll(in, why)
	c.freezeValue(p, "does not fit its weight")
}

// packedPoints joins zero points with several in a byte: every row starts with a new byte, and the blocks that are kept are packed anew.
func (c *call) packedPoints(p *Value, w *packedWeight, out, in []label) {
	bytes := (w.blocks*w.bits + 7) / 8
	if c.alive(in) && (p.Const == nil || 8%w.bits != 0) {
		c.lab.freezeAll(in, c.because("the blocks of its zero points cannot be removed one by one"))
	}
	switch {
	case len(p.Shape) == 2 && p.Shape[0] == Num(w.rows) && p.Shape[1] == Num(bytes):
		c.join(p, 0, out)
		c.freeze(p, 1, "holds packed integers")
	case len(p.Shape) == 1 && p.Shape[0] == Num(w.rows*bytes):
		c.join(p, 0, c.lab.merge([][]label{out, nil}, []int{int(w.rows), int(bytes)}))
	default:
		c.apart(p, out, in)
		return
	}
	if p.Const != nil {
		p.Const.packed = p.Const.packed || c.alive(in)
	}
}

// patchNBits sets N and K, and packs anew what has several columns or blocks in a byte.
func patchNBits(p *patching) {
	w, ok := p.old.packedWeight()
	if !ok {
		return
	}
	rows := p.in[1].Shape[0].N
	if rows != w.rows {
		p.setAttr(&onnxio.Attribute{Name: "N", Type: onnxio.AttrInt, I: rows})
	}
	a := p.old.in[0]
	columns := p.keep(p.old.axis(a, len(a.Shape)-1))
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
	if z := p.old.input(3); z != nil && z.Type == onnxio.Uint8 && w.bits < 8 && len(blocks) < int(w.blocks) {
		dims := []int64{rows, (left*w.bits + 7) / 8}
		if len(z.Shape) == 1 {
			dims = []int64{dims[0] * dims[1]}
		}
		p.repack(3, dims, (w.blocks*w.bits+7)/8, w.bits, blocks)
	}
	if g := p.old.input(4); g != nil && p.err == nil {
		t := &onnxio.Tensor{DataType: g.Type, Dims: []int64{int64(len(order))}}
		t.SetInt64s(order)
		p.setInput(4, t)
	}
}

// keptBlocks lists the blocks that kept columns belong to, and the number that each of these columns' block has among them.
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

// repack gives the node what is kept of an input whose rows of bytes hold several elements each, low bits first; dims are those of the result, whose first axis or elements hold its rows.
func (p *patching) repack(i int, dims []int64, stride, bits int64, keep []int) {
	if p.err != nil {
		return
	}
	data, err := p.in[i].Const.Tensor.Bytes()
	if err != nil {
		p.err = err
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
