// Package engines opens what runs models: ONNX Runtime where its library is found, else GoMLX on XLA or
// in pure Go. What needs gradients runs on GoMLX.
//
// # Limits
//
// Nothing is downloaded, but by [Install].
//
// # Errors
//
// Those of packages ort and xla.
//
// # Concurrency
//
// A Runtime is used from one goroutine at a time.
package engines
