// Package session joins reading, analysis, scoring, planning and applying into the steps that every front end offers: open, inspect, plan, apply. The command line, the browser worker and the HTTP
// handler are thin shells over it.
//
// # Limits
//
// Those of onnxio, graphcodec and prune.
//
// # Errors
//
// Those of onnxio, graphcodec and prune, unchanged.
//
// # Concurrency
//
// A Session is used from one goroutine at a time.
package prune
