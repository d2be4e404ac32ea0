package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Embeddings of ONNX Runtime's own domain: rows of tables are picked by ids, and the columns of all
// tables
// are the channels of what follows.

func init() {
	register(
		Op{Domain: Microsoft, Name: "EmbedLayerNormalization", Since: 1, Infer: embedNorm, Patch: patchEmbedNorm,
			Note: "columns of all tables = scale and shift, rows are kept; zeros take the place of removed channels in the mean"},
		Op{Domain: Microsoft, Name: "GatherBlockQuantized", Since: 1, Packing: func(c *Call, _ *onnxio.Tensor, _ int) (int64, int64) { return perByte(c.Int("bits", 4)) }, Infer: gatherBlocks, Patch: patchGatherBlocks, Operands: "w.ss",
			Note: "columns are pruned in whole blocks; rows of the table are kept"},
	)
}

// Inputs of EmbedLayerNormalization: three tables, of which the one of segments may be left out,
// scale and shift.
const (
	wordTable    = 2
	segmentTable = 4
	embedScale   = 5
	embedShift   = 6
)

// embedNorm is the sum of up to three embeddings, normalised: ids, segments, word, position and
// segment
// tables, scale, shift, mask, positions. Its outputs are the result, the mask's lengths and the
// sum.
func embedNorm(c *Call) {
	ids, table := c.Input(0), c.Input(wordTable)
	if ids == nil || table == nil || len(ids.Shape) != 2 || len(table.Shape) != 2 {
		c.unknown("needs ids and a table of two axes")
		return
	}
	shape := []dim.Dim{ids.Shape[0], ids.Shape[1], table.Shape[1]}
	axes := make([][]label.Label, len(shape))
	if c.cutsEmbedding() {
		for i, v := range c.In {
			switch {
			case v == nil:
			case i >= wordTable && i <= segmentTable:
				c.freeze(v, 0, "rows of an embedding are kept")
				c.role(v, 1, Output)
				c.link(v, 1, table, 1)
			case i == embedScale || i == embedShift:
				c.link(v, 0, table, 1)
			default:
				c.freezeValue(v, "picks rows of an embedding")
			}
		}
		c.role(c.In[embedScale], 0, Norm)
		axes[2] = c.axis(table, 1)
	} else {
		for _, v := range c.In {
			c.freezeValue(v, "normalises over this axis, with a table, scale or shift that is computed or that a branch reads")
		}
	}
	c.set(0, table.Type, shape, axes...)
	c.set(1, onnxio.Int32, []dim.Dim{ids.Shape[0]}).zero = nonZero
	c.set(2, table.Type, slices.Clone(shape), axes...)
}

// cutsEmbedding reports whether channels of the tables can be removed: tables, scale and shift are
// constants of one width, and the operators that keep the mean as it was can be written.
func (c *Call) cutsEmbedding() bool {
	table := c.Input(wordTable)
	if len(c.Out) == 0 || c.Out[0] == nil || len(c.In) <= embedShift || table == nil || table.Type != onnxio.Float || c.Versions[""] < 11 || c.Concealed[c.Node] || !c.stands(c.Node) {
		return false
	}
	for i := wordTable; i <= embedShift; i++ {
		v, rank := c.In[i], 2
		if i >= embedScale {
			rank = 1
		}
		switch {
		case v == nil && i == segmentTable:
		case v == nil || v.Const == nil || len(v.Shape) != rank || v.Shape[rank-1] != table.Shape[1]:
			return false
		}
	}
	return true
}

// patchEmbedNorm keeps the mean and deviation of the sum. The node gives out the sum of what is
// kept,
// which gets zeros for the removed channels behind it, is normalised, and loses them again. That
// normalisation adds two inputs: each is half of the sum, which is exact.
func patchEmbedNorm(p *Patching) {
	if !p.Old.cutsEmbedding() {
		return
	}
	removed := p.Old.In[wordTable].Shape[1].N - p.in[wordTable].Shape[1].N
	if removed == 0 {
		return
	}
	name := p.Node.Outputs[0]
	sums := *p.Node
	sums.Outputs = append(slices.Clone(p.Node.Outputs), "", "")[:3]
	sums.Name, sums.Outputs[0] = p.fresh(name+"/embeddings"), p.fresh(name+"/unused")
	if sums.Outputs[2] == "" {
		sums.Outputs[2] = p.fresh(name + "/sum")
	}
	p.insert(&sums)
	two := &onnxio.Tensor{Name: p.fresh(name + "/two"), DataType: onnxio.Float}
	if p.Err == nil {
		p.Err = two.SetFloat32s([]float32{2})
	}
	if p.Err != nil {
		return
	}
	p.addConstant(two)
	half := p.fresh(name + "/half")
	p.insert(&onnxio.Node{OpType: "Div", Name: half, Inputs: []string{sums.Outputs[2], two.Name}, Outputs: []string{half}})
	full := &onnxio.Node{OpType: "SkipLayerNormalization", Domain: Microsoft, Name: p.fresh(name + "/full")}
	for _, v := range []struct {
		name string
		rank int
	}{{half, 3}, {sums.Inputs[embedScale], 1}, {sums.Inputs[embedShift], 1}} {
		pads := make([]int64, 2*v.rank)
		pads[len(pads)-1] = removed
		full.Inputs = append(full.Inputs, p.through("Pad", name+"/padded", v.name, pads))
	}
	full.Inputs, full.Outputs = append([]string{full.Inputs[0]}, full.Inputs...), []string{full.Name}
	if a := p.Old.attr("epsilon"); a != nil {
		full.Attributes = []*onnxio.Attribute{a}
	}
	p.insert(full)
	p.Node.OpType, p.Node.Domain, p.Node.Attributes, p.Node.Outputs = "Slice", "", nil, []string{name}
	p.Node.Inputs = []string{full.Name, p.vector(name+"/starts", 0), p.vector(name+"/ends", p.in[wordTable].Shape[1].N), p.vector(name+"/axes", 2)}
	p.Changed = true
}

// blockTable is a table [rows, columns] of integers whose rows are quantised in blocks.
type blockTable struct {
	columns, blocks, size int64
	bits                  int64 // of elements that share a byte; 0 where each is an element of the tensor
}

// blockTable reads the attributes of a table whose rows are picked and whose blocks lie along its
// rows.
func (c *Call) blockTable() (w blockTable, ok bool) {
	data, scales := c.Input(0), c.Input(2)
	if data == nil || scales == nil || data.Const == nil || scales.Const == nil || len(data.Shape) != 2 || len(scales.Shape) != 2 || !slices.Contains([]onnxio.DataType{onnxio.Uint8, onnxio.Int4, onnxio.Uint4}, data.Type) {
		return w, false
	}
	gathered, okG := NormAxis(c.Int("gather_axis", 0), 2)
	quantised, okQ := NormAxis(c.Int("quantize_axis", 1), 2)
	w.size, w.columns, w.blocks = c.Int("block_size", 128), data.Shape[1].N, scales.Shape[1].N
	if bits := c.Int("bits", 4); data.Type == onnxio.Uint8 && (bits == 2 || bits == 4) {
		w.bits, w.columns = bits, w.columns*8/bits
	}
	fits := okG && okQ && gathered == 0 && quantised == 1 && w.size >= 2 && w.size <= MaxAxis && w.columns <= MaxAxis && scales.Shape[0] == data.Shape[0]
	return w, fits && w.columns == w.blocks*w.size && c.blockPoints(&w)
}

// blockPoints reports whether the zero points, if there are any, are a constant that holds one for
// each block.
func (c *Call) blockPoints(w *blockTable) bool {
	zero := c.Input(3)
	if zero == nil {
		return true
	}
	each := w.blocks
	if w.bits > 0 {
		each = (w.blocks*w.bits + 7) / 8
	}
	return zero.Const != nil && len(zero.Shape) == 2 && zero.Shape[0] == c.In[0].Shape[0] && zero.Shape[1] == dim.Num(each)
}

// gatherBlocks picks rows of a quantised table: data, ids, scales, zero points.
func gatherBlocks(c *Call) {
	data, ids, scales := c.Input(0), c.Input(1), c.Input(2)
	if data == nil || ids == nil || scales == nil || !data.Ranked || !ids.Ranked {
		c.unknown("the rank of an input is unknown")
		return
	}
	w, ok := c.blockTable()
	if !ok {
		c.unknown("its table is no constant of two axes whose rows are picked and quantised in whole blocks")
		c.ofRank(0, scales.Type, len(data.Shape)+len(ids.Shape)-1)
		return
	}
	columns := c.Labels.Fresh(int(w.columns))
	in := c.wholeBlocks(columns, int(w.blocks), int(w.size))
	if w.blocks == 1 {
		c.Labels.FreezeAll(columns, c.because("a row of its table is one block"))
	}
	c.role(scales, 1, Output)
	each := data.Shape[1].N / w.blocks
	c.join(data, 1, c.Labels.Merge([][]label.Label{in, nil}, []int{int(w.blocks), int(each)}))
	c.join(scales, 1, in)
	for i, v := range c.In {
		switch {
		case v == nil:
		case i == 1:
			c.freezeValue(v, "picks rows of an embedding")
		default:
			c.freeze(v, 0, "rows of an embedding are kept")
		}
	}
	switch zero := c.Input(3); {
	case zero == nil:
	case w.bits == 0:
		c.join(zero, 1, in)
	default:
		c.freeze(zero, 1, "holds packed integers")
		zero.Const.Packed = true
	}
	shape := append(slices.Clone(ids.Shape), dim.Num(w.columns))
	axes := make([][]label.Label, len(shape))
	axes[len(ids.Shape)] = columns
	c.set(0, scales.Type, shape, axes...)
}

// patchGatherBlocks packs the zero points of the blocks that are kept, where several share a byte.
func patchGatherBlocks(p *Patching) {
	w, ok := p.Old.blockTable()
	if !ok || w.bits == 0 || p.Old.Input(3) == nil {
		return
	}
	keep := p.Keep(p.Old.axis(p.Old.In[2], 1))
	if keep == nil {
		return
	}
	bytes := (int64(len(keep))*w.bits + 7) / 8
	p.repack(3, []int64{p.in[3].Shape[0].N, bytes}, (w.blocks*w.bits+7)/8, w.bits, keep)
}
