package onnxio

import "fmt"

// DataType is TensorProto.DataType.
type DataType int32

// Element types of ONNX tensors.
const (
	Undefined  DataType = 0
	Float      DataType = 1
	Uint8      DataType = 2
	Int8       DataType = 3
	Uint16     DataType = 4
	Int16      DataType = 5
	Int32      DataType = 6
	Int64      DataType = 7
	String     DataType = 8
	Bool       DataType = 9
	Float16    DataType = 10
	Double     DataType = 11
	Uint32     DataType = 12
	Uint64     DataType = 13
	Complex64  DataType = 14
	Complex128 DataType = 15
	BFloat16   DataType = 16
	Uint4      DataType = 21
	Int4       DataType = 22
	Uint2      DataType = 25
	Int2       DataType = 26
)

type typeInfo struct {
	name string
	bits int // of one element; 0 for strings
}

var dataTypes = map[DataType]typeInfo{
	Float: {"float32", 32}, Uint8: {"uint8", 8}, Int8: {"int8", 8}, Uint16: {"uint16", 16}, Int16: {"int16", 16},
	Int32: {"int32", 32}, Int64: {"int64", 64}, String: {"string", 0}, Bool: {"bool", 8}, Float16: {"float16", 16},
	Double: {"float64", 64}, Uint32: {"uint32", 32}, Uint64: {"uint64", 64}, Complex64: {"complex64", 64},
	Complex128: {"complex128", 128}, BFloat16: {"bfloat16", 16}, 17: {"float8e4m3fn", 8}, 18: {"float8e4m3fnuz", 8},
	19: {"float8e5m2", 8}, 20: {"float8e5m2fnuz", 8}, Uint4: {"uint4", 4}, Int4: {"int4", 4}, 23: {"float4e2m1", 4}, 24: {"float8e8m0", 8},
	Uint2: {"uint2", 2}, Int2: {"int2", 2},
}

// String returns the usual name, such as "float32".
func (t DataType) String() string {
	if info, ok := dataTypes[t]; ok {
		return info.name
	}
	return fmt.Sprintf("datatype(%d)", int32(t))
}

// Bits returns the size of one element in bits, 0 for strings and unknown types.
func (t DataType) Bits() int { return dataTypes[t].bits }

// Known reports whether t is an element type of the ONNX specification.
func (t DataType) Known() bool { _, ok := dataTypes[t]; return ok }

// IsFloat reports whether elements are real floating-point numbers of 16 to 64 bits.
func (t DataType) IsFloat() bool {
	return t == Float || t == Float16 || t == BFloat16 || t == Double
}

// IsInteger reports whether elements are integers of 2 to 64 bits or booleans.
func (t DataType) IsInteger() bool {
	switch t {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64, Bool, Uint4, Int4, Uint2, Int2:
		return true
	}
	return false
}
