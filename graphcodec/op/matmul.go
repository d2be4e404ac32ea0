package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
)

func init() {
	register(
		Op{Name: "Gemm", Since: 1, Infer: gemm, Graph: GraphMatrix, Layer: &Layer{Weight: 1, Bias: 2, Out: 1, Channel: -1, Transposed: "transB", Flipped: "transA"}, Multiply: true, Train: "wwv", Sign: ofProduct, Static: Static{Counts: CountsGemm}, Note: "A's columns = B's rows; output axes are A's rows and B's columns"},
		Op{Name: "MatMul", Since: 1, Infer: matMul, Graph: GraphMatrix, Layer: &Layer{Weight: 1, Out: 1, Channel: -1}, Multiply: true, Train: "ww", Sign: ofProduct, Static: Static{Counts: CountsColumns}, Note: "contraction axes join, batch axes join by broadcasting"},
	)
}

func gemm(c *Call) {
	a, b, bias := c.Input(0), c.Input(1), c.Input(2)
	if a == nil || b == nil || len(a.Shape) != 2 || len(b.Shape) != 2 {
		c.unknown("needs two matrices")
		return
	}
	am, ak, bk, bn := 0, 1, 0, 1
	if c.Int("transA", 0) != 0 {
		am, ak = 1, 0
	}
	if c.Int("transB", 0) != 0 {
		bk, bn = 1, 0
	}
	c.contract(a, ak, b, bk)
	if b.Const != nil || c.traces[b] != nil {
		c.role(b, bn, Output)
		c.role(b, bk, Input)
	} else {
		c.role(a, am, Output)
		c.role(a, ak, Input)
	}
	rows, cols := c.axis(a, am), c.axis(b, bn)
	shape := []dim.Dim{a.Shape[am], b.Shape[bn]}
	y := c.set(0, a.Type, shape, rows, cols)
	y.zero = c.contractZero(a, am, b, bn)
	if bias != nil {
		if !bias.Ranked {
			c.unknown("the rank of %q is unknown", bias.Name)
			return
		}
		for k := range bias.Shape {
			j := 2 - len(bias.Shape) + k
			if j >= 0 && bias.Shape[k] != dim.Num(1) {
				c.join(bias, k, c.axis(y, j))
			}
		}
		if bias.zero != isZero || !c.covers(bias, y) {
			y.zero = nonZero
		}
	}
	c.matCost(1, a, am, ak, b, bn)
}

// matCost is rows x columns x contraction, times the fixed number of batches.
func (c *Call) matCost(fixed int64, a *Value, am, ak int, b *Value, bn int, batch ...CostAxis) {
	axes := append(batch, axisCost(a, ak, c.read(a, ak)))
	if am >= 0 {
		axes = append(axes, axisCost(a, am, c.axis(a, am)))
	}
	if bn >= 0 {
		axes = append(axes, axisCost(b, bn, c.axis(b, bn)))
	}
	c.cost(fixed, axes...)
}

// contract joins the axes that a product sums over. At removed positions one side has to be zero,
// which constants are.
func (c *Call) contract(a *Value, ak int, b *Value, bk int) {
	if c.picks(b, bk, a, ak) || c.picks(a, ak, b, bk) {
		return
	}
	c.link(a, ak, b, bk)
	if a.zero != isZero && b.zero != isZero {
		c.freeze(a, ak, "sums over channels that would not be zero when removed")
	}
}

// contractZero is what a product holds at removed rows of a and columns of b.
func (c *Call) contractZero(a *Value, am int, b *Value, bn int) zeroState {
	zeroA, zeroB := a.zero == isZero, b.zero == isZero || b.looseBeside(bn)
	if (zeroA || !c.tracked(a)) && (zeroB || !c.tracked(b)) || b.Const != nil && b.zero == isZero {
		return isZero
	}
	// Removed rows of one side are zero because that side is; the other side's own removed axes
	// need it to be zero too.
	if zeroA && !c.aliveOn(b, bn) || zeroB && !c.aliveOn(a, am) {
		return isZero
	}
	return nonZero
}

// looseBeside reports whether a matrix holds zeros where positions of its axis k are removed,
// because it is loose on its other axis.
func (v *Value) looseBeside(k int) bool {
	other := 2*len(v.Shape) - 3 - k
	return k >= 0 && len(v.Shape) >= 2 && v.loose == other+1
}

// aliveOn reports whether positions of axis k (-1: none) can be removed.
func (c *Call) aliveOn(v *Value, k int) bool { return k >= 0 && v.Axes != nil && c.alive(v.Axes[k]) }

func matMul(c *Call) {
	a, b := c.Input(0), c.Input(1)
	if a == nil || b == nil || !a.Ranked || !b.Ranked || len(a.Shape) == 0 || len(b.Shape) == 0 {
		c.unknown("the rank of an input is unknown")
		return
	}
	c.product(a, b, false, false)
}

// product is a MatMul, of operands whose last two axes may be swapped.
func (c *Call) product(a, b *Value, swapA, swapB bool) {
	ra, rb := len(a.Shape), len(b.Shape)
	am, ak, bk, bn := ra-2, ra-1, max(rb-2, 0), rb-1
	if rb == 1 {
		bn = -1
	}
	if swapA {
		am, ak = ak, am
	}
	if swapB {
		bk, bn = bn, bk
	}
	c.contract(a, ak, b, bk)
	batchRank := max(ra-2, rb-2, 0)
	var shape []dim.Dim
	var axes [][]label.Label
	var costs []CostAxis
	for k := range batchRank {
		d, l := c.batchAxis(a, b, k-batchRank)
		shape, axes, costs = append(shape, d), append(axes, l), append(costs, CostAxis{l, d.N})
	}
	if am >= 0 {
		shape, axes = append(shape, a.Shape[am]), append(axes, c.axis(a, am))
	}
	if bn >= 0 {
		shape, axes = append(shape, b.Shape[bn]), append(axes, c.axis(b, bn))
	}
	if _, viewed := c.traces[b]; b.Const != nil || viewed {
		if bn >= 0 {
			c.role(b, bn, Output)
		}
		c.role(b, bk, Input)
	} else if am >= 0 {
		c.role(a, am, Output)
		c.role(a, ak, Input)
	}
	if !c.origins(a) && !c.origins(b) {
		c.Heads = append(c.Heads, axes[:batchRank]...)
		c.HeadDims = append(append(c.HeadDims, axes[batchRank:]...), c.axis(a, ak))
	}
	y := c.set(0, a.Type, shape, axes...)
	y.zero = c.contractZero(a, am, b, bn)
	c.matCost(1, a, am, ak, b, bn, costs...)
}

// batchAxis joins a batch axis of both operands; k counts from the right of the batch axes.
func (c *Call) batchAxis(a, b *Value, k int) (dim.Dim, []label.Label) {
	var parts []*Value
	for _, v := range []*Value{a, b} {
		if n := len(v.Shape) - 2; n > 0 {
			cut := &Value{Name: v.Name, Ranked: true, Shape: v.Shape[:n], Const: v.Const}
			if v.Const == nil {
				cut.Axes = v.Axes[:n]
			}
			parts = append(parts, cut)
		}
	}
	return c.broadcastAxis(parts, k)
}

// Matrices returns the operands of a product of two matrices with the weight, if there is one, as
// w.
func (c *Call) Matrices() (operands, bool) {
	if c.Node.OpType == "Einsum" {
		return c.einsumMatrices()
	}
	a, w := c.Input(0), c.Input(1)
	if a == nil || w == nil || len(a.Shape) < 2 || len(w.Shape) < 2 || !c.Out[0].Ranked || len(c.Out[0].Shape) < 2 {
		return operands{}, false
	}
	ra, rw, ro := len(a.Shape), len(w.Shape), len(c.Out[0].Shape)
	am, ak, wk, wn := ra-2, ra-1, rw-2, rw-1
	if c.Int("transA", 0) != 0 {
		am, ak = ak, am
	}
	if c.Int("transB", 0) != 0 {
		wk, wn = wn, wk
	}
	if w.Const == nil && c.traces[w] == nil && (a.Const != nil || c.traces[a] != nil) {
		return operands{w, a, wk, ak, am, ro - 2, false}, true
	}
	return operands{a, w, ak, wk, wn, ro - 1, true}, true
}

// einsumMatrices does so for an equation that multiplies with a matrix, or with one for each of
// some positions: one of its letters is summed over, another one is in the result.
func (c *Call) einsumMatrices() (operands, bool) {
	in, out, ok := c.einsumTerms()
	if !ok || len(in) != 2 || !c.Out[0].Ranked {
		return operands{}, false
	}
	x, w, right := in[0], in[1], true
	if w.value.Const == nil && c.traces[w.value] == nil {
		x, w, right = w, x, false
	}
	o := operands{X: x.value, W: w.value, XIn: -1, WOut: -1, weightOnTheRight: right}
	for k, l := range w.letters {
		at, result := slices.Index(x.letters, l), slices.Index(out, l)
		source, _ := c.Origin(w.value, k)
		switch {
		case source == nil && result >= 0: // a matrix for each, picked at run time
		case at >= 0 && result < 0 && o.XIn < 0:
			o.XIn, o.WIn = at, k
		case at < 0 && result >= 0 && o.WOut < 0:
			o.WOut, o.Out = k, result
		case at >= 0 && result >= 0: // a matrix for each
		default:
			return operands{}, false
		}
	}
	return o, o.XIn >= 0 && o.WOut >= 0
}

// product is the operands of a matrix product: which axes are contracted, and which stay.
type operands struct {
	X, W             *Value
	XIn, WIn, WOut   int
	Out              int // axis of the product that w's wOut becomes
	weightOnTheRight bool
}
