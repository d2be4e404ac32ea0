package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(Op{Domain: Microsoft, Name: "MatMulBnb4", Since: 1, Packing: func(*Call, *onnxio.Tensor, int) (int64, int64) { return perByte(4) }, Infer: matMulBnb4, Patch: patchBnb4, Multiply: true, Operands: "wws", Layer: &Layer{Weight: 1, In: 1, Channel: -1, Unfit: unfitPacked},
		Note: "rows of the flattened weight = output channels; input channels are removed in whole blocks, where blocks divide rows"})
}

// bnb4 are the sizes of a flattened weight [N, K] and of its blocks.
type bnb4 struct{ rows, columns, size int64 }

func (c *Call) bnb4() (w bnb4, ok bool) {
	a, b, scales := c.Input(0), c.Input(1), c.Input(2)
	w = bnb4{rows: c.Int("N", 0), columns: c.Int("K", 0), size: c.Int("block_size", 0)}
	if c.Int("transB", 1) == 0 || a == nil || b == nil || scales == nil || b.Const == nil || scales.Const == nil || !a.Ranked || len(a.Shape) == 0 || len(b.Shape) != 1 || len(scales.Shape) != 1 {
		return w, false
	}
	if w.rows < 1 || w.columns < 1 || w.rows > MaxAxis || w.columns > MaxAxis/w.rows || w.size < 2 || w.size > MaxAxis {
		return w, false
	}
	n := w.rows * w.columns
	return w, a.Shape[len(a.Shape)-1] == dim.Num(w.columns) && b.Shape[0] == dim.Num((n+1)/2) && scales.Shape[0] == dim.Num((n+w.size-1)/w.size)
}

// matMulBnb4 is A [.., K] times the transpose of a weight [N, K] that is flattened and cut into
// blocks of 4-bit elements, each with its largest magnitude.
func matMulBnb4(c *Call) {
	w, ok := c.bnb4()
	if !ok {
		c.unknown("its inputs do not fit N, K and block_size, or its weight is not transposed")
		return
	}
	a, scales := c.In[0], c.In[2]
	last := len(a.Shape) - 1
	columns, rows := labelsOr(c.axis(a, last), int(w.columns)), c.Labels.Fresh(int(w.rows))
	c.role(scales, 0, Output)
	c.bnb4Links(&w, rows, columns)
	shape, axes := slices.Clone(a.Shape), make([][]label.Label, len(a.Shape))
	for j := range last {
		axes[j] = c.axis(a, j)
	}
	shape[last], axes[last] = dim.Num(w.rows), rows
	c.set(0, a.Type, shape, axes...)
	c.cost(dim.Product(a.Shape[:last]).N, CostAxis{rows, w.rows}, CostAxis{columns, w.columns})
	c.is(a.Type, nil, !c.aliveBut(a, last))
}

// bnb4Links joins the flattened weight and its scales with whole blocks of columns and rows, or
// with as many rows as whole blocks have.
func (c *Call) bnb4Links(w *bnb4, rows, columns []label.Label) {
	b, scales := c.In[1], c.In[2]
	if w.columns%w.size == 0 && w.size%2 == 0 {
		n := int(w.columns / w.size)
		in := c.wholeBlocks(columns, n, int(w.size))
		c.join(b, 0, c.Labels.Merge([][]label.Label{rows, in, nil}, []int{int(w.rows), n, int(w.size / 2)}))
		c.join(scales, 0, c.Labels.Merge([][]label.Label{rows, in}, []int{int(w.rows), n}))
		return
	}
	c.Labels.FreezeAll(columns, c.because("its blocks of %d continue across rows", w.size))
	each := w.size / gcd(w.size, w.columns) // rows that whole blocks have
	if w.rows%each != 0 || w.columns*each%2 != 0 {
		c.Labels.FreezeAll(rows, c.because("its blocks of %d do not end with its rows", w.size))
		return
	}
	n := int(w.rows / each)
	units := rows
	if each > 1 {
		units = labelsOr(c.wholeBlocks(rows, n, int(each)), n)
	}
	c.join(b, 0, c.Labels.Merge([][]label.Label{units, nil}, []int{n, int(w.columns * each / 2)}))
	c.join(scales, 0, c.Labels.Merge([][]label.Label{units, nil}, []int{n, int(w.columns * each / w.size)}))
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// patchBnb4 sets N and K to what is kept.
func patchBnb4(p *Patching) {
	w, ok := p.Old.bnb4()
	y := p.Old.Result(0)
	if !ok || !y.Ranked {
		return
	}
	last := len(y.Shape) - 1
	if n := p.left(y.Axes[last], y.Shape[last]); n != w.rows {
		p.setAttr(&onnxio.Attribute{Name: "N", Type: onnxio.AttrInt, I: n})
	}
	if k := p.left(p.Old.axis(p.Old.In[0], last), dim.Num(w.columns)); k != w.columns {
		p.setAttr(&onnxio.Attribute{Name: "K", Type: onnxio.AttrInt, I: k})
	}
}
