package op

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: pool, MovesElements: true, Sign: keepsSign, Note: "channels pass through, windows are spatial"}, "MaxPool")
	family(Op{Since: 1, Infer: pool, Sign: keepsSign, Note: "channels pass through, windows are spatial"}, "AveragePool")
	family(Op{Since: 1, Infer: pool, Note: "channels pass through, windows are spatial"}, "LpPool")
	family(Op{Since: 1, Infer: globalPool, Sign: keepsSign, Note: "channels pass through"}, "GlobalAveragePool", "GlobalMaxPool")
	family(Op{Since: 1, Infer: globalPool, Note: "channels pass through"}, "GlobalLpPool")
	register(
		Op{Name: "Resize", Since: 10, Infer: resize, Patch: patchResize, Note: "channels pass through; frozen on axes that are resized"},
		Op{Name: "Upsample", Since: 7, Infer: resize, Note: "channels pass through; frozen on axes that are resized"},
	)
}

func pool(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 3 {
		c.unknown("the rank of the input is unknown or below 3")
		return
	}
	n := len(x.Shape) - 2
	w, ok := c.window(c.ints("kernel_shape"), n)
	if !ok {
		c.unknown("its attributes contradict one another")
		return
	}
	shape := append([]dim.Dim(nil), x.Shape[:2]...)
	for i := range n {
		c.freeze(x, i+2, "pools along this axis")
		shape = append(shape, w.out(i, x.Shape[i+2]))
	}
	c.set(0, x.Type, shape, c.axis(x, 0), c.axis(x, 1)).zero = x.zero
	if len(c.Out) > 1 {
		c.freeze(x, 1, "the indices of its maxima are read")
		c.set(1, onnxio.Int64, shape).zero = nonZero
	}
}

func globalPool(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 3 {
		c.unknown("the rank of the input is unknown or below 3")
		return
	}
	shape := append([]dim.Dim(nil), x.Shape[:2]...)
	for k := 2; k < len(x.Shape); k++ {
		c.freeze(x, k, "pools along this axis")
		shape = append(shape, dim.Num(1))
	}
	c.set(0, x.Type, shape, c.axis(x, 0), c.axis(x, 1)).zero = x.zero
}

// resizeInputs returns the indices of the scales and sizes inputs, -1 where the operator has none.
func (c *Call) resizeInputs() (scales, sizes int) {
	switch {
	case c.Node.OpType == "Upsample" || c.Version < 11:
		return 1, -1
	}
	return 2, 3
}

func resize(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	for i := 1; i < len(c.In); i++ {
		c.shapeIn.set(i, true)
	}
	axes, ok := c.resizeAxes(len(x.Shape))
	if !ok {
		c.unknown("axes are out of range")
		return
	}
	shape, changed, ok := c.resized(x, axes)
	if !ok {
		for _, v := range c.In {
			if v != nil {
				c.freezeTaint(v, "the new size is not known")
			}
		}
		c.unknown("the new size is not known")
		c.ofRank(0, x.Type, len(x.Shape))
		return
	}
	labels := make([][]label.Label, len(shape))
	for k := range shape {
		if changed[k] {
			c.freeze(x, k, "resizes this axis")
			continue
		}
		labels[k] = c.axis(x, k)
	}
	c.set(0, x.Type, shape, labels...).zero = x.zero
}

func (c *Call) resizeAxes(rank int) ([]int, bool) {
	given := c.ints("axes")
	var axes []int
	if given == nil {
		for k := range rank {
			axes = append(axes, k)
		}
	}
	for _, a := range given {
		k, ok := NormAxis(a, rank)
		if !ok {
			return nil, false
		}
		axes = append(axes, k)
	}
	return axes, true
}

func (c *Call) resized(x *Value, axes []int) (shape []dim.Dim, changed []bool, ok bool) {
	shape, changed = append([]dim.Dim(nil), x.Shape...), make([]bool, len(x.Shape))
	iScales, iSizes := c.resizeInputs()
	var scales []float64
	if a := c.attr("scales"); a != nil {
		for _, f := range a.Floats {
			scales = append(scales, float64(f))
		}
	} else if v := c.Input(iScales); v != nil {
		scales, _ = v.floats()
	}
	if len(scales) == len(axes) && len(axes) > 0 {
		for i, k := range axes {
			if scales[i] != 1 {
				shape[k], changed[k] = scaled(x.Shape[k], scales[i]), true
			}
		}
		return shape, changed, true
	}
	if iSizes < 0 || c.Input(iSizes) == nil || len(c.Input(iSizes).Elements) != len(axes) {
		return nil, nil, false
	}
	for i, k := range axes {
		e := c.In[iSizes].Elements[i]
		if e.IsFloat {
			return nil, nil, false
		}
		shape[k], changed[k] = e.Int, e.Int != x.Shape[k]
	}
	if c.str("keep_aspect_ratio_policy", "stretch") != "stretch" {
		for i, k := range axes {
			if changed[k] {
				shape[k] = dim.Symbol("?" + c.outName(0) + "." + string(rune('0'+i)))
			}
		}
	}
	return shape, changed, true
}

func scaled(d dim.Dim, s float64) dim.Dim {
	if d.IsNum() {
		return dim.Num(int64(float64(d.N) * s))
	}
	if s == float64(int64(s)) {
		return d.Mul(dim.Num(int64(s)))
	}
	return dim.Expression("floor(" + d.String() + " scaled)")
}
