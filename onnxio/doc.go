// Package onnxio reads and writes ONNX models without loss: what a caller does not change is written back byte for byte, unknown
// fields and field order included. Tensor data aliases the input and is never copied to be read.
//
// It implements the protobuf messages of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 on
// google.golang.org/protobuf/encoding/protowire.
//
// The data model (model.go) is plain structs. Every decoded message remembers the bytes it came from; [Model.Encode] compares the struct with
// them, field by field, so that callers change fields directly and nothing has to be marked as changed.
//
// # Limits
//
// Messages nest at most [MaxDepth] deep. A model file holds at most [MaxProtoSize] bytes, a limit of protobuf itself; larger models keep their
// weights in external data. Tensor sizes are products by checked multiplication and are compared with the bytes that are there before
// anything is allocated.
//
// # Errors
//
// [FormatError] for bytes that are no ONNX model, with path and byte offset; [UnsupportedError] for valid models with a feature that is not
// handled. No input makes the package panic.
//
// # Concurrency
//
// A Model may be read from several goroutines; changes need the caller's own locking.
package onnxio
