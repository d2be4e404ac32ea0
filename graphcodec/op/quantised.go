package op

import (
	"encoding/binary"
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

// quantisation says what a constant's integers stand for: (integer - zero) * scale, by position on an axis or (-1) throughout.
type quantisation struct {
	scale, zero *onnxio.Tensor
	axis        int
}

// Counts reports whether the constant holds numbers that can be scored: floating-point ones, or integers of 8 to 64 bits that are read as a quantised weight.
func (c *Constant) Counts() bool {
	return c.Tensor.DataType.IsFloat() || c.scale != nil && c.Tensor.DataType.IsInteger()
}

// Real returns what the constant stands for: its own tensor where that is floating-point, the dequantised float32 tensor of the same dims where it is quantised.
func (c *Constant) Real() (*onnxio.Tensor, error) {
	if c.Tensor.DataType.IsFloat() || c.scale == nil {
		return c.Tensor, nil
	}
	ints, err := c.Tensor.Int64s()
	if err != nil {
		return nil, err
	}
	scale, err := c.scale.scale.Float64s()
	if err != nil {
		return nil, err
	}
	zero := make([]int64, 1)
	if c.scale.zero != nil {
		if zero, err = c.scale.zero.Int64s(); err != nil {
			return nil, err
		}
	}
	each, inner := 1, 1 // positions on the axis, elements behind it
	if k := c.scale.axis; k >= 0 && len(scale) > 1 {
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
