package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// What counts as a parameter: floating-point constants, and integers that stand for real numbers (quantised weights), each as one whatever its width. Scales and zero points do not count: they describe weights and are none.

// reading is how a graph's nodes read the elements of a tensor.
type reading struct {
	number      bool  // as integers that stand for real numbers
	scale, used bool  // as scale or zero point, and as anything else
	num, den    int64 // a packed tensor holds num numbers in den elements; 0 where it is not packed
}

// readsTensors notes how the node reads constants.
func (c *call) readsTensors() {
	op, o := c.node.OpType, c.like()
	if op == "Identity" || op == "Constant" {
		return
	}
	scales := len(c.scales) > 0 && c.scaleProduct()
	for i, v := range c.in {
		letter, k := o.operand(i), c.constantBehind(v)
		if k == nil || k != c.in[i].Const && letter != 'w' {
			continue
		}
		r := c.readings[k.Tensor]
		switch {
		case letter == 's' || scales:
			r.scale = true
		case letter == 'w':
			r.number = true
			c.unpack(&r, k.Tensor, i)
		}
		r.used = r.used || letter != 's' && !scales
		c.readings[k.Tensor] = r
	}
	if op == "DynamicQuantizeLinear" && len(c.out) > 1 && c.out[1] != nil {
		c.scales[c.out[1]] = true
	}
}

// constantBehind returns the constant that a value is, or is a view of; nil where there is none.
func (c *call) constantBehind(v *Value) *Constant {
	switch {
	case v == nil:
	case v.Const != nil:
		return v.Const
	case c.traces[v] != nil:
		return c.traces[v].source
	}
	return nil
}

// scaleProduct reports whether the node multiplies the computed scale of an activation with the constant scale of a weight.
func (c *call) scaleProduct() bool {
	if c.node.OpType != "Mul" || len(c.in) != 2 || len(c.out) != 1 {
		return false
	}
	i := slices.IndexFunc(c.in, func(v *Value) bool { return v != nil && c.scales[v] })
	if i < 0 || c.in[1-i] == nil || c.in[1-i].Const == nil {
		return false
	}
	c.scales[c.out[0]] = true
	return true
}

// unpack notes how many numbers a tensor of bytes holds, input i, whose elements are parts of them.
func (c *call) unpack(r *reading, t *onnxio.Tensor, i int) {
	if t.DataType.Bits() != 8 {
		return
	}
	bits := int64(8)
	switch c.node.OpType {
	case "MatMulNBits":
		n, err := t.NumElements()
		if rows, k := c.int("N", 0), c.int("K", 0); err == nil && rows > 0 && k > 0 && n >= rows && len(t.Dims) > 1 {
			r.num, r.den = k, n/rows // the last block of a row may be filled up
		}
	case "MatMulBnb4":
		bits = 4
	case "GatherBlockQuantized":
		bits = c.int("bits", 4)
	case "QMoE":
		bits = c.int("fc"+Num(int64(i/3+1)).String()+"_expert_weight_bits", c.int("expert_weight_bits", 4))
	}
	if bits > 0 && bits < 8 {
		r.num, r.den = 8/bits, 1
	}
}

// numbers returns how many parameters n elements of a tensor are.
func (r reading) numbers(t *onnxio.Tensor, n int64) int64 {
	switch {
	case r.scale && !r.used, !t.DataType.IsFloat() && !r.number:
		return 0
	case r.den > 0:
		if m, ok := mulOK(n, r.num); ok {
			return m / r.den
		}
	}
	return n
}
