// Package engine says what runs a model: the interface between everything that looks at a model's
// values (calibration, repair, verify) and the runtimes that compute them, and the arrays that go in
// and come out.
//
// # Limits
//
// An [Array] holds float32 or integers. Doubles and half precision are widened or narrowed by engines.
//
// # Errors
//
// Engines return [onnxio.UnsupportedError] for what they do not run.
//
// # Concurrency
//
// A [Session] is used from one goroutine at a time.
package engine
