// Package label has the algebra behind the coupling of channels: every position of an axis carries a label, a label is a set of units, and a position survives while all its units survive. It knows nothing of ONNX.
//
// docs/design/labels.md explains joins, splits and factors with an example.
//
// # Limits
//
// Where a position keeps several units that no factor explains, all factors but the largest are frozen.
//
// # Errors
//
// None: what cannot be kept apart is frozen, with a [Reason].
//
// # Concurrency
//
// Labels belong to one goroutine at a time.
package label
