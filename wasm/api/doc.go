// Package api is metaprune over HTTP: one http.Handler for `metaprune serve`, for an edge worker and for tests. Requests carry a model, answers are what the command line writes: reports and plans as JSON,
// models as ONNX.
//
// Errors are problem details (RFC 9457) whose detail names the place, preconditions follow RFC 9110, digests RFC 9530. GET /openapi.json describes every operation; the document is made from the same tables
// as the handler.
//
// # Limits
//
// A model is one file: external data is not taken. Size, time and memory are bounded by Config; what is above a bound is refused with 413, 408 or 429 and the bound's value.
//
// # Errors
//
// 400 for options and bodies that cannot be read, 401 without the token, 404 and 405 for what is not there, 408 where time ran out, 409 for a plan of another model, 412 for a failed precondition, 413 above the size, 415 for an
// encoding or a type that is not known, 422 for a model or a target that cannot be handled, 429 where too much is under way, 500 for faults of the program, 501 where an engine that runs models is wanted and there is none.
//
// # Concurrency
//
// The handler is used by any number of goroutines. Config is not changed after New.
package api
