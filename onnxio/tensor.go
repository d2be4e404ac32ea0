package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxAxes bounds the axes of a tensor: runtimes take 8 to 64, and every shape that a file declares is worked with.
const MaxAxes = 256

// NumElements returns the product of Dims. It fails on more than MaxAxes dims, on negative ones and on products above 2^62.
func (t *Tensor) NumElements() (int64, error) {
	if len(t.Dims) > MaxAxes {
		return 0, errorAt(fmt.Sprintf("tensor %q", t.Name), "%d axes, want at most %d", len(t.Dims), MaxAxes)
	}
	n, err := checkedProduct(t.Dims)
	if err != nil {
		return 0, errorAt(fmt.Sprintf("tensor %q", t.Name), "dims %v: %w", t.Dims, err)
	}
	return n, nil
}

func checkedProduct(dims []int64) (int64, error) {
	n := uint64(1)
	for _, d := range dims {
		if d < 0 {
			return 0, errors.New("negative dimension")
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return 0, errors.New("the number of elements overflows")
		}
		n = lo
	}
	return int64(n), nil
}

// ByteSize returns the size of the elements in raw form, in bytes.
func (t *Tensor) ByteSize() (int64, error) {
	n, err := t.NumElements()
	if err != nil {
		return 0, err
	}
	if t.DataType.Bits() == 0 {
		return 0, &UnsupportedError{Path: fmt.Sprintf("tensor %q", t.Name), What: fmt.Sprintf("raw bytes of element type %s", t.DataType)}
	}
	hi, lo := bits.Mul64(uint64(n), uint64(t.DataType.Bits()))
	if hi != 0 || lo > 1<<62 {
		return 0, errorAt(fmt.Sprintf("tensor %q", t.Name), "dims %v: the size overflows", t.Dims)
	}
	return int64((lo + 7) / 8), nil
}

// IsExternal reports whether the elements are in external data.
func (t *Tensor) IsExternal() bool { return t.DataLocation == 1 }

// Bytes returns the elements in raw form (little-endian, row-major), whichever way they are stored. The result aliases the model where it can and must
// not be changed. It fails with a FormatError where the stored length does not fit Dims.
func (t *Tensor) Bytes() ([]byte, error) {
	size, err := t.ByteSize()
	if err != nil {
		return nil, err
	}
	b, err := t.stored()
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if int64(len(b)) != size {
		return nil, &FormatError{Path: fmt.Sprintf("tensor %q", t.Name), Offset: -1,
			Err: fmt.Errorf("holds %d bytes, but %s%v takes %d", len(b), t.DataType, t.Dims, size)}
	}
	return b, nil
}

func (t *Tensor) stored() ([]byte, error) {
	switch {
	case t.IsExternal():
		return t.external()
	case t.Lazy != nil:
		w := &growing{b: make([]byte, 0, t.Lazy.Size())}
		_, err := t.Lazy.WriteTo(w)
		return w.b, err
	case t.RawData != nil:
		return t.RawData, nil
	}
	return t.typed()
}

type growing struct{ b []byte }

func (w *growing) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// typed converts the typed repeated fields to raw form.
func (t *Tensor) typed() ([]byte, error) {
	switch t.DataType {
	case Float, Complex64:
		return t.FloatData, nil
	case Double, Complex128:
		return t.DoubleData, nil
	case Int64:
		return unpackVarints(t.Int64Data, 8)
	case Uint32:
		return unpackVarints(t.Uint64Data, 4)
	case Uint64:
		return unpackVarints(t.Uint64Data, 8)
	case Int32:
		return unpackVarints(t.Int32Data, 4)
	case Uint16, Int16, Float16, BFloat16:
		return unpackVarints(t.Int32Data, 2)
	}
	return unpackVarints(t.Int32Data, 1)
}

func unpackVarints(b []byte, width int) ([]byte, error) {
	out := make([]byte, 0, len(b)*width/2)
	for len(b) > 0 {
		u, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, errors.New("damaged packed integers")
		}
		b = b[n:]
		for i := range width {
			out = append(out, byte(u>>(8*i)))
		}
	}
	return out, nil
}

// Int64s returns the elements of an integer or boolean tensor.
func (t *Tensor) Int64s() ([]int64, error) {
	if !t.DataType.IsInteger() {
		return nil, fmt.Errorf("tensor %q: element type %s, want integers", t.Name, t.DataType)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	if bits := t.DataType.Bits(); bits < 8 {
		return smallInts(unpackBits(b, bits, t.Dims), bits, t.DataType == Int4 || t.DataType == Int2), nil
	}
	width := t.DataType.Bits() / 8
	out := make([]int64, len(b)/width)
	for i := range out {
		out[i] = intAt(t.DataType, b[i*width:])
	}
	return out, nil
}

// smallInts turns unpacked elements of a few bits into numbers.
func smallInts(v []byte, bits int, signed bool) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
		if signed && x>>(bits-1) != 0 {
			out[i] -= 1 << bits
		}
	}
	return out
}

func intAt(t DataType, b []byte) int64 {
	switch t {
	case Uint8, Bool:
		return int64(b[0])
	case Int8:
		return int64(int8(b[0]))
	case Uint16:
		return int64(binary.LittleEndian.Uint16(b))
	case Int16:
		return int64(int16(binary.LittleEndian.Uint16(b)))
	case Int32:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	case Uint32:
		return int64(binary.LittleEndian.Uint32(b))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

// SetInt64s replaces the elements of an integer tensor, keeping its element type and dims.
func (t *Tensor) SetInt64s(v []int64) {
	if bits := t.DataType.Bits(); bits < 8 {
		small := make([]byte, len(v))
		for i, x := range v {
			small[i] = byte(x) & (1<<bits - 1)
		}
		t.SetRaw(packBits(small, bits))
		return
	}
	width := t.DataType.Bits() / 8
	raw := make([]byte, 0, len(v)*width)
	for _, i := range v {
		for k := range width {
			raw = append(raw, byte(i>>(8*k)))
		}
	}
	t.SetRaw(raw)
}

// SetRaw replaces the elements by raw bytes and drops every other storage form.
func (t *Tensor) SetRaw(raw []byte) {
	t.RawData, t.Lazy = raw, nil
	t.FloatData, t.DoubleData, t.Int32Data, t.Int64Data, t.Uint64Data, t.StringData = nil, nil, nil, nil, nil, nil
	t.External, t.DataLocation = nil, 0
}

// SetLazy replaces the elements by ones that are produced while the model is written.
func (t *Tensor) SetLazy(l Lazy) {
	t.SetRaw(nil)
	t.Lazy = l
}

// Float64s returns the elements of a floating-point tensor of any width.
func (t *Tensor) Float64s() ([]float64, error) {
	read, width, err := FloatReader(t.DataType)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(b)/width)
	for i := range out {
		out[i] = read(b[i*width:])
	}
	return out, nil
}

// FloatReader returns a function that reads one element of type t from raw bytes, and the element's width in bytes.
func FloatReader(t DataType) (func([]byte) float64, int, error) {
	switch t {
	case Float:
		return func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }, 4, nil
	case Double:
		return func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }, 8, nil
	case Float16:
		return func(b []byte) float64 { return float64(Float16To32(binary.LittleEndian.Uint16(b))) }, 2, nil
	case BFloat16:
		return func(b []byte) float64 {
			return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
		}, 2, nil
	}
	return nil, 0, &UnsupportedError{What: fmt.Sprintf("reading element type %s as numbers", t)}
}

// Float16To32 converts IEEE 754 binary16 bits.
func Float16To32(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&0x3ff
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0:
		f := float32(frac) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// Float32To16 converts to IEEE 754 binary16, rounding to nearest even.
func Float32To16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, abs := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00
	case abs >= 0x477ff000:
		return sign | 0x7c00
	case abs < 0x38800000:
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(abs))*(1<<24)))
	}
	abs += 0xfff + (abs>>13)&1
	return sign | uint16((abs-0x38000000)>>13)
}

// Float32ToB16 converts to bfloat16, rounding to nearest even.
func Float32ToB16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b>>16)&1) >> 16)
}

// Float32s returns the elements of a floating-point tensor, rounded to float32.
func (t *Tensor) Float32s() ([]float32, error) {
	v, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out, nil
}

// SetFloat32s replaces the elements of a floating-point tensor, rounding to its element type.
func (t *Tensor) SetFloat32s(v []float32) error {
	width := t.DataType.Bits() / 8
	raw := make([]byte, 0, len(v)*width)
	for _, x := range v {
		switch t.DataType {
		case Float:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		case Double:
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(float64(x)))
		case Float16:
			raw = binary.LittleEndian.AppendUint16(raw, Float32To16(x))
		case BFloat16:
			raw = binary.LittleEndian.AppendUint16(raw, Float32ToB16(x))
		default:
			return &UnsupportedError{What: fmt.Sprintf("writing numbers as element type %s", t.DataType)}
		}
	}
	t.SetRaw(raw)
	return nil
}

// NewInt64s returns a one-dimensional int64 tensor.
func NewInt64s(name string, v []int64) *Tensor {
	t := &Tensor{Name: name, Dims: []int64{int64(len(v))}, DataType: Int64}
	t.SetInt64s(v)
	return t
}
