package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(Op{Domain: microsoft, Name: "MatMulBnb4", Since: 1, Infer: matMulBnb4, Patch: patchBnb4, Multiply: true, Operands: "wws", Layer: &Layer{Weight: 1, In: 1, Channel: -1, Unfit: unfitPacked},
		Note: "rows of the flattened weight = output channels; input channels are removed in whole blocks, where blocks divide rows"})
}

// bnb4 are the sizes of a flattened weight [N, K] and of its blocks.
type bnb4 struct{ rows, columns, size int64 }

func (c *call) bnb4() (w bnb4, ok bool) {
	a, b, scales := c.input(0), c.input(1), c.input(2)
	w = bnb4{rows: c.int("N", 0), columns: c.int("K", 0), size: c.int("block_size", 0)}
	if c.int("transB", 1) == 0 || a == nil || b == nil || scales == nil || b.Const == nil || scales.Const == nil || !a.Ranked || len(a.Shape) == 0 || len(b.Shape) != 1 || len(scales.Shape) != 1 {
		return w, false
	}
	if w.rows < 1 || w.columns < 1 || w.rows > maxAxis || w.columns > maxAxis/w.rows || w.size < 2 || w.size > maxAxis {
		return w, false
	}
	n := w.rows * w.columns
	return w, a.Shape[len(a.Shape)-1] == Num(w.columns) && b.Shape[0] == Num((n+1)/2) && scales.Shape[0] == Num((n+w.size-1)/w.size)
}

// matMulBnb4 is A [.., K] times the transpose of a weight [N, K] that is flattened and cut into blocks of 4-bit elements, each with its largest magnitude.
func matMulBnb4(c *call) {
	w, ok := c.bnb4()
	if !ok {
		c.unknown("its inputs do not fit N, K and block_size, or its weight is not transposed")
		return
	}
	a, scales := c.in[0], c.in[2]
	last := len(a.Shape) - 1
	columns, rows := labelsOr(c.axis(a, last), int(w.columns)), c.lab.fresh(int(w.rows))
	c.role(scales, 0, Output)
	c.bnb4Links(&w, rows, columns)
	shape, axes := slices.Clone(a.Shape), make([][]label, len(a.Shape))
	for j := range last {
		axes[j] = c.axis(a, j)
	}
	shape[last], axes[last] = Num(w.rows), rows
	c.set(0, a.Type, shape, axes...)
	c.cost(product(a.Shape[:last]).N, costAxis{rows, w.rows}, costAxis{columns, w.columns})
	c.is(a.Type, nil, !c.aliveBut(a, last))
}

// bnb4Links joins the flattened weight and its scales with whole blocks of columns and rows, or with as many rows as whole blocks have.
func (c *call) bnb4Links(w *bnb4, rows, columns []label) {
	b, scales := c.in[1], c.in[2]
	if w.columns%w.size == 0 && w.size%2 == 0 {
		n := int(w.columns / w.size)
		in := c.wholeBlocks(columns, n, int(w.size))
		c.join(b, 0, c.lab.merge([][]label{rows, in, nil}, []int{int(w.rows), n, int(w.size / 2)}))
		c.join(scales, 0, c.lab.merge([][]label{rows, in}, []int{int(w.rows), n}))
		return
	}
	c.lab.freezeAll(columns, c.because("its blocks of %d continue across rows", w.size))
	each := w.size / gcd(w.size, w.columns) // rows that whole blocks have
	if w.rows%each != 0 || w.columns*each%2 != 0 {
		c.lab.freezeAll(rows, c.because("its blocks of %d do not end with its rows", w.size))
		return
	}
	n := int(w.rows / each)
	units := rows
	if each > 1 {
		units = labelsOr(c.wholeBlocks(rows, n, int(each)), n)
	}
	c.join(b, 0, c.lab.merge([][]label{units, nil}, []int{n, int(w.columns * each / 2)}))
	c.join(scales, 0, c.lab.merge([][]label{units, nil}, []int{n, int(w.columns * each / w.size)}))
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// patchBnb4 sets N and K to what is kept.
func patchBnb4(p *patching) {
	w, ok := p.old.bnb4()
	y := p.old.result(0)
	if !ok || !y.Ranked {
		return
	}
	last := len(y.Shape) - 1
	if n := p.left(y.axes[last], y.Shape[last]); n != w.rows {
		p.setAttr(&onnxio.Attribute{Name: "N", Type: onnxio.AttrInt, I: n})
	}
	if k := p.left(p.old.axis(p.old.in[0], last), Num(w.columns)); k != w.columns {
		p.setAttr(&onnxio.Attribute{Name: "K", Type: onnxio.AttrInt, I: k})
	}
}
