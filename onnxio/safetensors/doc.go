// Package safetensors reads and writes safetensors files (https://huggingface.co/docs/safetensors): named tensors of floats and integers with text metadata.
//
// # Limits
//
// Element types F32, F64 and I32. Data offsets are contiguous, complete and in order, and keys are unique, as the format demands.
//
// # Errors
//
// [FormatError] for bytes that are no such file. Nothing is allocated that the file's own length does not cover.
//
// # Concurrency
//
// A File is read by any number of goroutines while none changes it.
package safetensors
