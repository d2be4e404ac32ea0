// Package ort runs ONNX models with ONNX Runtime (https://onnxruntime.ai), whose shared library it
// loads while the program runs, without cgo.
//
// [Find] looks for the library where package managers put it, [Load] loads a given one. A [Session]
// is a model that ONNX Runtime has prepared; [Engine] runs models for calibration, repair and
// verification.
//
// # Limits
//
// Linux, macOS and Windows on amd64 and arm64. Elsewhere, and in builds with the tag noort, Find and
// Load return an UnsupportedError. Inputs and outputs are dense tensors; strings, sequences and maps
// are not. ONNX Runtime 1.8 or later. The library stays loaded until the program ends, and its
// memory is not counted by Go's runtime.
//
// # Errors
//
// [NotFoundError] where no library is found, [LoadError] for one that cannot be used, [RunError] for
// what ONNX Runtime itself reports, onnxio.UnsupportedError for what this package does not pass on.
// Nothing is printed.
//
// # Concurrency
//
// A Library and a Session may be used from several goroutines at a time; Close only after all runs
// have returned.
package ort
