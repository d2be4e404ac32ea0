package metanet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// maxHeader bounds the JSON header of a safetensors file, as the reference implementation does.
const maxHeader = 100 << 20

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

var dtypeSize = map[string]int{"F32": 4, "F64": 8, "I32": 4}

// ParseSafetensors reads a file; its tensors alias data.
func ParseSafetensors(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, &FormatError{"shorter than 8 bytes"}
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader || n > uint64(len(data)-8) {
		return nil, &FormatError{fmt.Sprintf("a header of %d bytes in a file of %d", n, len(data))}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &raw); err != nil {
		return nil, &FormatError{"header: " + err.Error()}
	}
	f := &File{Metadata: map[string]string{}, Tensors: map[string]*Tensor{}}
	body := data[8+n:]
	for name, msg := range raw {
		if name == "__metadata__" {
			if err := json.Unmarshal(msg, &f.Metadata); err != nil {
				return nil, &FormatError{"metadata: " + err.Error()}
			}
			continue
		}
		t, err := parseEntry(msg, body)
		if err != nil {
			return nil, &FormatError{fmt.Sprintf("tensor %q: %v", name, err)}
		}
		f.Tensors[name] = t
	}
	return f, nil
}

func parseEntry(msg json.RawMessage, body []byte) (*Tensor, error) {
	var e headerEntry
	if err := json.Unmarshal(msg, &e); err != nil {
		return nil, err
	}
	size, ok := dtypeSize[e.DType]
	if !ok {
		return nil, fmt.Errorf("element type %q is not supported", e.DType)
	}
	total := int64(size)
	for _, d := range e.Shape {
		if d < 0 || (d > 0 && total > math.MaxInt64/int64(d)) {
			return nil, fmt.Errorf("shape %v", e.Shape)
		}
		total *= int64(d)
	}
	from, to := e.Offsets[0], e.Offsets[1]
	if from < 0 || to < from || to > int64(len(body)) || to-from != total {
		return nil, fmt.Errorf("data offsets %v do not fit shape %v in %d bytes", e.Offsets, e.Shape, len(body))
	}
	return &Tensor{e.DType, e.Shape, body[from:to]}, nil
}

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
		header[n] = headerEntry{t.DType, t.Shape, [2]int64{at, at + int64(len(t.Data))}}
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
