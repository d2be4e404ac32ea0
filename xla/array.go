package xla

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// Array is a dense row-major array: Floats for real numbers, else Tensor.
type Array struct {
	Dims   []int
	Floats []float32
	Ints   []int64 // of integer types
	Type   onnxio.DataType
}

// readArray reads a tensor; 16-bit floats become float32.
func readArray(t *onnxio.Tensor) (Array, error) {
	a := Array{Dims: dimsOf(t), Type: t.DataType}
	var err error
	switch {
	case t.DataType.IsFloat():
		a.Floats, err = t.Float32s()
	case t.DataType.IsInteger() && t.DataType.Bits() >= 8:
		a.Ints, err = t.Int64s()
	default:
		err = &onnxio.UnsupportedError{What: fmt.Sprintf("running a tensor of %s", t.DataType)}
	}
	return a, err
}

// tensor is the array as GoMLX holds it.
func (a Array) tensor() *tensors.Tensor {
	if a.Floats != nil || a.Type.IsFloat() {
		if a.Type == onnxio.Double {
			return tensors.FromFlatDataAndDimensions(convert[float64](a.Floats), a.Dims...)
		}
		return tensors.FromFlatDataAndDimensions(a.Floats, a.Dims...)
	}
	switch a.Type {
	case onnxio.Int32:
		return tensors.FromFlatDataAndDimensions(convert[int32](a.Ints), a.Dims...)
	case onnxio.Int16:
		return tensors.FromFlatDataAndDimensions(convert[int16](a.Ints), a.Dims...)
	case onnxio.Int8:
		return tensors.FromFlatDataAndDimensions(convert[int8](a.Ints), a.Dims...)
	case onnxio.Uint8:
		return tensors.FromFlatDataAndDimensions(convert[uint8](a.Ints), a.Dims...)
	case onnxio.Uint16:
		return tensors.FromFlatDataAndDimensions(convert[uint16](a.Ints), a.Dims...)
	case onnxio.Uint32:
		return tensors.FromFlatDataAndDimensions(convert[uint32](a.Ints), a.Dims...)
	case onnxio.Uint64:
		return tensors.FromFlatDataAndDimensions(convert[uint64](a.Ints), a.Dims...)
	case onnxio.Bool:
		b := make([]bool, len(a.Ints))
		for i, v := range a.Ints {
			b[i] = v != 0
		}
		return tensors.FromFlatDataAndDimensions(b, a.Dims...)
	}
	return tensors.FromFlatDataAndDimensions(a.Ints, a.Dims...)
}

func convert[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float64 | float32, S int64 | float32](in []S) []T {
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = T(v)
	}
	return out
}

// dtype is the GoMLX type that values of an ONNX type are computed in.
func dtype(t onnxio.DataType) (dtypes.DType, bool) {
	switch t {
	case onnxio.Float, onnxio.Float16, onnxio.BFloat16:
		return dtypes.Float32, true
	case onnxio.Double:
		return dtypes.Float64, true
	case onnxio.Int64:
		return dtypes.Int64, true
	case onnxio.Int32:
		return dtypes.Int32, true
	case onnxio.Int16:
		return dtypes.Int16, true
	case onnxio.Int8:
		return dtypes.Int8, true
	case onnxio.Uint8:
		return dtypes.Uint8, true
	case onnxio.Uint16:
		return dtypes.Uint16, true
	case onnxio.Uint32:
		return dtypes.Uint32, true
	case onnxio.Uint64:
		return dtypes.Uint64, true
	case onnxio.Bool:
		return dtypes.Bool, true
	}
	return dtypes.InvalidDType, false
}

// ints reads integers (or whole floats) out of a tensor that is known.
func ints(t *tensors.Tensor) ([]int, bool) {
	var out []int
	ok := true
	t.MustConstFlatData(func(flat any) {
		switch v := flat.(type) {
		case []int64:
			out = toInts(v)
		case []int32:
			out = toInts(v)
		case []uint8:
			out = toInts(v)
		case []int8:
			out = toInts(v)
		case []float32:
			out = toInts(v)
		case []bool:
			for _, b := range v {
				n := 0
				if b {
					n = 1
				}
				out = append(out, n)
			}
		default:
			ok = false
		}
	})
	return out, ok
}

func toInts[T int64 | int32 | uint8 | int8 | float32](v []T) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// floats reads the numbers of a tensor that is known.
func floats(t *tensors.Tensor) []float64 {
	var out []float64
	t.MustConstFlatData(func(flat any) {
		switch v := flat.(type) {
		case []float32:
			for _, x := range v {
				out = append(out, float64(x))
			}
		case []float64:
			out = append(out, v...)
		}
	})
	if out == nil {
		if n, ok := ints(t); ok {
			for _, x := range n {
				out = append(out, float64(x))
			}
		}
	}
	return out
}

// withFloats returns a tensor like t with other elements, in t's own type, or t itself where they are the same.
func withFloats(t *onnxio.Tensor, name string, v []float32) (*onnxio.Tensor, error) {
	if !finite(v) {
		return nil, fmt.Errorf("a new value is not finite")
	}
	own := &onnxio.Tensor{Name: name, Dims: t.Dims, DataType: t.DataType, DocString: t.DocString}
	return own, own.SetFloat32s(v)
}
