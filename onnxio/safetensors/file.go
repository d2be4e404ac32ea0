package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// FormatError reports bytes that are no safetensors file.
type FormatError struct{ What string }

func (e *FormatError) Error() string { return "not a readable safetensors file: " + e.What }

// Tensor is one tensor of a safetensors file; Data aliases the file.
type Tensor struct {
	DType string // "F32", "F64" or "I32"
	Shape []int
	Data  []byte
}

// File is the contents of a safetensors file (https://huggingface.co/docs/safetensors).
type File struct {
	Metadata map[string]string
	Tensors  map[string]*Tensor
}

type headerEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Len returns the number of elements.
func (t *Tensor) Len() int { return len(t.Data) / max(dtypeSize[t.DType], 1) }

// IsFloat reports whether the elements are floats, which Floats returns.
func (t *Tensor) IsFloat() bool { return t.DType == "F32" || t.DType == "F64" }

// Floats returns a float tensor's elements as float32.
func (t *Tensor) Floats() ([]float32, error) {
	switch t.DType {
	case "F32":
		out := make([]float32, len(t.Data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
		return out, nil
	case "F64":
		out := make([]float32, len(t.Data)/8)
		for i := range out {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
		return out, nil
	}
	return nil, fmt.Errorf("element type %s, want floats", t.DType)
}

// Ints returns an int32 tensor's elements.
func (t *Tensor) Ints() ([]int32, error) {
	if t.DType != "I32" {
		return nil, fmt.Errorf("element type %s, want I32", t.DType)
	}
	out := make([]int32, len(t.Data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return out, nil
}

// IntTensor makes an int32 tensor.
func IntTensor(v []int32, shape ...int) *Tensor {
	data := make([]byte, 0, 4*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, uint32(x))
	}
	return &Tensor{DType: "I32", Shape: shape, Data: data}
}

// FloatTensor makes a float32 tensor.
func FloatTensor(v []float32, shape ...int) *Tensor {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return &Tensor{"F32", shape, b}
}

// WriteTo writes the file, tensors in order of their names.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	names := make([]string, 0, len(f.Tensors))
	for n := range f.Tensors {
		names = append(names, n)
	}
	slices.Sort(names)
	header, at := map[string]any{}, int64(0)
	if len(f.Metadata) > 0 {
		header["__metadata__"] = f.Metadata
	}
	for _, n := range names {
		t := f.Tensors[n]
		header[n] = headerEntry{t.DType, append([]int{}, t.Shape...), [2]int64{at, at + int64(len(t.Data))}}
		at += int64(len(t.Data))
	}
	head, err := json.Marshal(header)
	if err != nil {
		return 0, err
	}
	head = append(head, bytes.Repeat([]byte{' '}, (8-len(head)%8)%8)...)
	written := int64(0)
	parts := [][]byte{binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head}
	for _, n := range names {
		parts = append(parts, f.Tensors[n].Data)
	}
	for _, p := range parts {
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Bytes returns the file as bytes.
func (f *File) Bytes() []byte {
	var b bytes.Buffer
	_, _ = f.WriteTo(&b)
	return b.Bytes()
}
