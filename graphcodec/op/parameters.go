package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
)

// What counts as a parameter: floating-point constants, and integers that stand for real numbers
// (quantised weights), each as one whatever its width. Scales and zero points do not count: they
// describe weights and are none.

// Reading is how a graph's nodes read the elements of a tensor.
type Reading struct {
	number      bool  // as integers that stand for real numbers
	scale, used bool  // as scale or zero point, and as anything else
	num, den    int64 // a packed tensor holds num numbers in den elements; 0 where it is not packed
}

// readsTensors notes how the node reads constants.
func (c *Call) readsTensors() {
	op, o := c.Node.OpType, c.Like()
	if op == "Identity" || op == "Constant" {
		return
	}
	scales := len(c.scales) > 0 && c.scaleProduct()
	for i, v := range c.In {
		letter, k := o.operand(i), c.ConstantBehind(v)
		if k == nil || k != c.In[i].Const && letter != 'w' {
			continue
		}
		r := c.Readings[k.Tensor]
		switch {
		case letter == 's' || scales:
			r.scale = true
		case letter == 'w':
			r.number = true
			c.unpack(&r, k.Tensor, i)
		}
		r.used = r.used || letter != 's' && !scales
		c.Readings[k.Tensor] = r
	}
	if op == "DynamicQuantizeLinear" && len(c.Out) > 1 && c.Out[1] != nil {
		c.scales[c.Out[1]] = nil
	}
}

// ConstantBehind returns the constant that a value is, or is a view of; nil where there is none.
func (c *Call) ConstantBehind(v *Value) *Constant {
	switch {
	case v == nil:
	case v.Const != nil:
		return v.Const
	case c.traces[v] != nil:
		return c.traces[v].source
	}
	return nil
}

// constant reports whether a value is a constant, as it is or dequantised.
func (c *Call) constant(v *Value) bool {
	return c.ConstantBehind(v) != nil
}

// scaleProduct reports whether the node multiplies the computed scale of an activation with the
// constant scale of a weight.
func (c *Call) scaleProduct() bool {
	if c.Node.OpType != "Mul" || len(c.In) != 2 || len(c.Out) != 1 {
		return false
	}
	i := slices.IndexFunc(c.In, func(v *Value) bool {
		_, computed := c.scales[v]
		return computed
	})
	if i < 0 || c.In[1-i] == nil || c.In[1-i].Const == nil {
		return false
	}
	c.scales[c.Out[0]] = c.In[1-i]
	return true
}

// unpack notes how many numbers a tensor of bytes holds, input i, whose elements are parts of them.
func (c *Call) unpack(r *Reading, t *onnxio.Tensor, i int) {
	if o := c.Like(); o.Packing != nil && t.DataType.Bits() == 8 {
		r.num, r.den = o.Packing(c, t, i)
	}
}

// perByte is the packing of numbers of so many bits.
func perByte(bits int64) (num, den int64) {
	if bits > 0 && bits < 8 {
		return 8 / bits, 1
	}
	return 0, 0
}

// Numbers returns how many parameters n elements of a tensor are.
func (r Reading) Numbers(t *onnxio.Tensor, n int64) int64 {
	switch {
	case r.scale && !r.used, !t.DataType.IsFloat() && !r.number:
		return 0
	case r.den > 0:
		if m, ok := dim.MulOK(n, r.num); ok {
			return m / r.den
		}
	}
	return n
}
