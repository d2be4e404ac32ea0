package ort

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// tensorOf is an array as an input takes it: real numbers in the input's own width.
func tensorOf(in Info, a engine.Array) (Tensor, error) {
	t := Tensor{Type: in.Type, Dims: make([]int64, len(a.Dims))}
	for i, d := range a.Dims {
		t.Dims[i] = int64(d)
	}
	if in.Type == onnxio.Undefined {
		return t, &onnxio.UnsupportedError{Path: fmt.Sprintf("input %q", in.Name), What: "feeding a value that is not a tensor"}
	}
	if in.Type == onnxio.Float && a.Ints == nil {
		t.Data = make([]byte, 0, 4*len(a.Floats))
		for _, v := range a.Floats {
			t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
		}
		return t, nil
	}
	own := &onnxio.Tensor{Name: in.Name, DataType: in.Type, Dims: t.Dims}
	if err := fill(own, a); err != nil {
		return t, err
	}
	var err error
	t.Data, err = own.Bytes()
	return t, err
}

// fill writes an array's elements in a tensor's type.
func fill(t *onnxio.Tensor, a engine.Array) error {
	switch {
	case t.DataType.IsFloat() && a.Ints == nil:
		return t.SetFloat32s(a.Floats)
	case t.DataType.IsInteger() && a.Floats == nil:
		size, err := t.ByteSize()
		if err != nil {
			return err
		}
		t.SetRaw(make([]byte, size))
		t.SetInt64s(a.Ints)
		return nil
	}
	kind := "integers"
	if a.Ints == nil {
		kind = "real numbers"
	}
	return fmt.Errorf("input %q: want %s, got %s", t.Name, t.DataType, kind)
}

func arraysOf(tensors []Tensor) ([]engine.Array, error) {
	out := make([]engine.Array, len(tensors))
	for i, t := range tensors {
		var err error
		if out[i], err = arrayOf(t); err != nil {
			return nil, fmt.Errorf("output %d: %w", i, err)
		}
	}
	return out, nil
}

// arrayOf is a tensor as an array, of the tensor's own type; real numbers are rounded to float32.
func arrayOf(t Tensor) (engine.Array, error) {
	a := engine.Array{Type: t.Type, Dims: make([]int, len(t.Dims))}
	for i, d := range t.Dims {
		a.Dims[i] = int(d)
	}
	if t.Type == onnxio.Float {
		a.Floats = make([]float32, len(t.Data)/4)
		for i := range a.Floats {
			a.Floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
		return a, nil
	}
	own := &onnxio.Tensor{DataType: t.Type, Dims: t.Dims}
	own.SetRaw(t.Data)
	if t.Data == nil {
		own.SetRaw([]byte{})
	}
	var err error
	switch {
	case t.Type.IsFloat():
		a.Floats, err = own.Float32s()
	case t.Type.IsInteger():
		a.Ints, err = own.Int64s()
	default:
		err = &onnxio.UnsupportedError{What: fmt.Sprintf("reading elements of %s", t.Type)}
	}
	return a, err
}
