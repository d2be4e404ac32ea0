package op

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Signs of values. The integer 0 that a plan leaves in a removed slice of an unsigned weight stands
// for a number below zero. Where such a weight multiplies what is never negative, its removed
// channels are at most zero (below), and a
// Relu after it, or a quantisation to integers that start at the zero point, makes them zero.

// signs notes the signs of a node's outputs, once its rule has run.
func (c *Call) signs() {
	if len(c.Out) == 0 || c.Out[0] == nil || len(c.In) == 0 || c.In[0] == nil || c.Derived || c.Node.Domain != "" && c.Node.Domain != Microsoft {
		return
	}
	x, y, op, o := c.In[0], c.Out[0], c.Node.OpType, c.Op()
	switch {
	case o.Sign == neverBelow:
		y.positive = true
		if op == "Relu" && x.below {
			y.zero = isZero
		}
	case op == "Clip":
		if low, ok := c.lowest(); ok && low >= 0 {
			y.positive = true
			if low == 0 && x.below {
				y.zero = isZero
			}
		}
	case o.Sign == keepsSign:
		for _, v := range c.Out {
			if v != nil {
				v.positive, v.below = x.positive, x.below && v.zero == nonZero
			}
		}
		if op == "DynamicQuantizeLinear" && len(c.Out) > 1 && c.Out[1] != nil {
			c.Out[1].positive, c.Out[1].below = true, false
		}
	case o.Sign == gathersSigns:
		y.positive = !slices.ContainsFunc(c.In, func(v *Value) bool { return !c.notNegative(v) })
		c.gatherBelow(op, y)
	case op == "QuantizeLinear" || op == "DequantizeLinear":
		c.quantisedSign(x, y, op == "QuantizeLinear")
	case op == "QLinearAdd":
		c.settle(y, c.Input(7), c.belowAt(c.In[0], c.Input(2), y) && c.belowAt(c.Input(3), c.Input(5), y))
	case op == "QLinearAveragePool" || op == "QLinearGlobalAveragePool":
		c.settle(y, c.Input(4), c.belowAt(x, c.Input(2), y))
	default:
		c.productSign(y)
	}
	if zero := c.points[y]; zero != nil && startsAt(zero, y.Type) {
		y.positive = true
	}
}

// belowAt reports whether an operand of integers stands for at most zero where channels of the
// result are removed.
func (c *Call) belowAt(v, zero, y *Value) bool {
	if v == nil || !v.Ranked || !c.covers(v, y) {
		return false
	}
	return v.below && samePoint(c.points[v], zero) || v.Const != nil && atLeast0(zero) || c.meansZero(v, zero, -1)
}

// settle notes that a result is at most zero where channels are removed: zero, if its integers
// start at its zero point.
func (c *Call) settle(y, zero *Value, below bool) {
	switch {
	case !below || y.zero != nonZero || !c.scalesPositive():
	case zero != nil && startsAt(zero, y.Type):
		y.zero = isZero
	default:
		y.below = true
	}
}

// scalesPositive reports whether no scale that the node reads is negative.
func (c *Call) scalesPositive() bool {
	for i, v := range c.In {
		if v != nil && v.Type.IsFloat() && c.Op().operand(i) == 's' && !c.notNegative(v) {
			return false
		}
	}
	return true
}

// lowest is the lower bound of a Clip.
func (c *Call) lowest() (float64, bool) {
	if a := c.attr("min"); a != nil {
		return float64(a.F), true
	}
	f, ok := c.Input(1).floats()
	return append(f, 0)[0], ok && len(f) == 1
}

// notNegative reports whether a value is known to have no element below zero; long constants are
// not looked at.
func (c *Call) notNegative(v *Value) bool {
	if v == nil || v.Const == nil {
		return v != nil && v.positive
	}
	if n, err := v.Const.Tensor.NumElements(); err != nil || n > maxElems {
		return false
	}
	f, err := v.Const.Tensor.Float64s()
	return err == nil && !slices.ContainsFunc(f, func(x float64) bool { return !(x >= 0) })
}

// gatherBelow is what sums, products and concatenations make of operands that are at most zero
// where channels are removed.
func (c *Call) gatherBelow(op string, y *Value) {
	if y.zero != nonZero || !y.Ranked {
		return
	}
	some, all := false, true
	for i, v := range c.In {
		if v == nil || !v.Ranked {
			return
		}
		some = some || v.below
		switch {
		case op == "Mul":
			all = all && (v.below && c.notNegative(c.In[1-i]) || c.notNegative(v) && c.In[1-i].below)
		default:
			all = all && (v.below || v.zero == isZero) && (op == "Concat" || c.covers(v, y))
		}
	}
	y.below = some && all
}

// quantisedSign is what a quantisation keeps of a sign.
func (c *Call) quantisedSign(x, y *Value, quantises bool) {
	scale, zero := c.Input(1), c.Input(2)
	if !c.notNegative(scale) || scale.Const == nil {
		return
	}
	if x.Const != nil || c.traces[x] != nil {
		y.below = !quantises && y.zero == nonZero && atLeast0(zero)
		return
	}
	if quantises {
		y.positive = x.positive || startsAt(zero, y.Type)
		if x.below && startsAt(zero, y.Type) {
			y.zero = isZero
		}
		y.below = x.below && y.zero == nonZero
		return
	}
	if samePoint(c.points[x], zero) {
		y.positive, y.below = x.positive, x.below && y.zero == nonZero
	}
}

// atLeast0 reports whether a constant zero point has no element below 0.
func atLeast0(zero *Value) bool {
	if zero == nil || zero.Const == nil {
		return zero == nil
	}
	ints, err := zero.Const.Tensor.Int64s()
	return err == nil && !slices.ContainsFunc(ints, func(i int64) bool { return i < 0 })
}

// startsAt reports whether integers of the type start at the zero point, so that nothing they stand
// for is negative.
func startsAt(zero *Value, t onnxio.DataType) bool {
	low := int64(0)
	switch t {
	case onnxio.Int8:
		low = -128
	case onnxio.Int16:
		low = -32768
	case onnxio.Uint8, onnxio.Uint16:
	default:
		return false
	}
	if zero == nil {
		return low == 0
	}
	if zero.Const == nil {
		return false
	}
	ints, err := zero.Const.Tensor.Int64s()
	return err == nil && !slices.ContainsFunc(ints, func(i int64) bool { return i != low })
}

// productSign is the sign of a product at the removed channels of its weight.
func (c *Call) productSign(y *Value) {
	o := c.Op()
	f := o.Layer
	if o.Sign != ofProduct || c.Input(f.Weight) == nil {
		return
	}
	given := func(i int) *Value {
		if i == 0 {
			return nil
		}
		return c.Input(i)
	}
	x, w, bias, yZero := c.In[0], c.In[f.Weight], given(f.Bias), given(f.OutZero)
	negative := w.below // a weight behind a dequantisation
	if f.WeightZero > 0 {
		negative = w.Const != nil && given(f.WeightZero) != nil && atLeast0(given(f.WeightZero))
	}
	channels := f.Channel
	if channels < 0 {
		channels += len(x.Shape)
	}
	transposed := c.Int("transA", 0) != 0 || c.float("alpha", 1) < 0 || c.float("beta", 1) < 0
	if y.zero != nonZero || !negative || !x.positive || f.XZero > 0 && !samePoint(c.points[x], given(f.XZero)) || transposed || c.aliveBut(x, channels) || bias != nil && bias.zero != isZero && !bias.below {
		return
	}
	c.settle(y, yZero, true)
}
