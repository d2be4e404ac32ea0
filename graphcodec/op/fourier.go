package op

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
)

func init() {
	family(Op{Since: 17, Infer: fourier, Note: "cannot be pruned on the axis that it transforms and on the last one; the others pass through"}, "DFT")
	family(Op{Since: 17, Infer: shortFourier, Note: "cannot be pruned; its shape is known"}, "STFT")
}

// scalarLength returns the number in input i, which may be an expression of free sizes; def where
// the input is left out.
func (c *Call) scalarLength(i int, def dim.Dim) (dim.Dim, bool) {
	v := c.Input(i)
	if v == nil {
		return def, true
	}
	c.shapeIn.set(i, true)
	if len(v.Elements) != 1 || v.Elements[0].IsFloat {
		return dim.Dim{}, false
	}
	return v.Elements[0].Int, true
}

// halfSpectrum is how many frequencies of a real signal of that length are different.
func halfSpectrum(length dim.Dim) dim.Dim { return length.FloorDiv(dim.Num(2)).Add(dim.Num(1)) }

// fourierAxis returns the axis that is transformed: an attribute, and an input from operator set 20
// on.
func (c *Call) fourierAxis(rank int) (int, bool) {
	axis := c.Int("axis", 1)
	if c.Version >= 20 {
		d, ok := c.scalarLength(2, dim.Num(-2))
		if !ok || !d.IsNum() {
			return 0, false
		}
		axis = d.N
	}
	k, ok := NormAxis(axis, rank)
	return k, ok && k < rank-1
}

func fourier(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return
	}
	last := len(x.Shape) - 1
	k, ok := c.fourierAxis(len(x.Shape))
	if !ok {
		c.unknown("the axis of the transform is not known or out of range")
		return
	}
	oneSided, inverse := c.Int("onesided", 0) != 0, c.Int("inverse", 0) != 0
	def := x.Shape[k]
	if oneSided && inverse {
		def = def.Add(dim.Num(-1)).Mul(dim.Num(2))
	}
	length, ok := c.scalarLength(1, def)
	if !ok {
		c.unknown("the length of the transform is not known")
		return
	}
	shape, axes := append([]dim.Dim(nil), x.Shape...), make([][]label.Label, len(x.Shape))
	shape[k], shape[last] = length, dim.Num(2)
	switch {
	case oneSided && inverse:
		shape[last] = dim.Num(1)
	case oneSided:
		shape[k] = halfSpectrum(length)
	}
	c.freeze(x, k, "transforms along this axis")
	c.freeze(x, last, "holds real and imaginary parts")
	for i := range axes {
		if i != k && i != last {
			axes[i] = c.axis(x, i)
		}
	}
	c.set(0, x.Type, shape, axes...).zero = x.zero
}

func shortFourier(c *Call) {
	c.unknown("transforms along its axes")
	x := c.Input(0)
	if x == nil || len(x.Shape) != 3 {
		return
	}
	def := x.Shape[1]
	if w := c.Input(2); w != nil && len(w.Shape) == 1 {
		def = w.Shape[0]
	}
	step, stepKnown := c.scalarLength(1, dim.Num(1))
	length, lengthKnown := c.scalarLength(3, def)
	if !stepKnown || !lengthKnown || step == dim.Num(0) {
		return
	}
	bins := length
	if c.Int("onesided", 1) != 0 {
		bins = halfSpectrum(length)
	}
	frames := x.Shape[1].Add(length.Neg()).FloorDiv(step).Add(dim.Num(1))
	c.set(0, x.Type, []dim.Dim{x.Shape[0], frames, bins, dim.Num(2)}).zero = nonZero
}
