package op

import (
	"encoding/binary"
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

// quantisation says what a constant's integers stand for: (integer - zero) * scale, by position on
// an axis or (-1) throughout.
type quantisation struct {
	scale, zero *onnxio.Tensor // scale nil: it is not known and taken as 1
	axis        int
}

// integerProduct is a product of integers whose scales are multiplied in by later nodes.
type integerProduct struct {
	weight, zero *Value
	axis         int // of the weight's output channels
}

// unscaled notes that a weight's integers are multiplied before a scale is: until a later node
// tells it, they stand for themselves without the zero point.
func (c *Call) unscaled(w, zero *Value, axis int) {
	if w == nil || len(c.Out) == 0 || c.Out[0] == nil {
		return
	}
	c.describe(w, nil, zero, axis)
	c.integers[c.Out[0]] = &integerProduct{w, zero, axis}
}

// followIntegers looks for the scale of the weight in a product of integers: a Cast makes it real,
// and a Mul multiplies it with both scales at once or with one after the other.
func (c *Call) followIntegers() {
	if len(c.integers) == 0 || len(c.Out) == 0 || c.Out[0] == nil {
		return
	}
	for i, v := range c.In {
		p := c.integers[v]
		switch {
		case p == nil:
		case c.Node.OpType == "Cast":
			c.integers[c.Out[0]] = p
		case c.Node.OpType == "Mul" && len(c.In) == 2:
			scale := c.In[1-i]
			if scale == nil || scale.Const == nil {
				scale = c.scales[scale]
			}
			if scale == nil {
				c.integers[c.Out[0]] = p
				continue
			}
			c.describe(p.weight, scale, p.zero, p.axis)
		}
	}
}

// describe notes what a constant's integers stand for: the constant is x, or x is a view of it. A
// scale that is not known is nil.
func (c *Call) describe(x, scale, zero *Value, axis int) {
	k, at := c.ConstantBehind(x), axis
	if k == nil || !k.Tensor.DataType.IsInteger() || k.scale != nil && (k.scale.scale != nil || scale == nil) || scale != nil && scale.Const == nil {
		return
	}
	traced := true
	if axis >= 0 {
		var source *Constant
		source, at = c.Origin(x, axis)
		traced = source != nil
	}
	// A vector lies along the axis; in a product's scale it may have axes of length 1 beside it.
	along := func(p *Value, n int64) bool {
		if axis < 0 {
			return len(p.Shape) == 1
		}
		return traced && n == k.Tensor.Dims[at]
	}
	q := &quantisation{axis: at}
	for _, p := range []*Value{scale, zero} {
		if p == nil || p.Const == nil {
			continue
		}
		n, err := p.Const.Tensor.NumElements()
		switch {
		case err != nil || n < 1 || n > 1 && (!along(p, n) || !p.vector()):
			return
		case p == scale:
			q.scale = p.Const.Tensor
		default:
			q.zero = p.Const.Tensor
		}
	}
	k.scale = q
}

// Counts reports whether the constant holds numbers that can be scored: floating-point ones, or
// integers of 8 to 64 bits that are read as a quantised weight.
func (c *Constant) Counts() bool {
	return c.Tensor.DataType.IsFloat() || c.scale != nil && c.Tensor.DataType.IsInteger()
}

// Real returns the real numbers of the constant: its own tensor where that is floating-point, the
// dequantised float32 tensor of the same dims where it is quantised.
func (c *Constant) Real() (*onnxio.Tensor, error) {
	if c.Tensor.DataType.IsFloat() || c.scale == nil {
		return c.Tensor, nil
	}
	ints, err := c.Tensor.Int64s()
	if err != nil {
		return nil, err
	}
	scale, zero := []float64{1}, make([]int64, 1)
	if c.scale.scale != nil {
		if scale, err = c.scale.scale.Float64s(); err != nil {
			return nil, err
		}
	}
	if c.scale.zero != nil {
		if zero, err = c.scale.zero.Int64s(); err != nil {
			return nil, err
		}
	}
	each, inner := 1, 1 // positions on the axis, elements behind it
	if k := c.scale.axis; k >= 0 && max(len(scale), len(zero)) > 1 {
		each = int(c.Tensor.Dims[k])
		for _, d := range c.Tensor.Dims[k+1:] {
			inner *= int(d)
		}
	}
	raw := make([]byte, 0, 4*len(ints))
	for i, v := range ints {
		k := i / inner % each
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(float64(v-zero[k%len(zero)])*scale[k%len(scale)])))
	}
	return &onnxio.Tensor{Name: c.Name, Dims: c.Tensor.Dims, DataType: onnxio.Float, RawData: raw}, nil
}
