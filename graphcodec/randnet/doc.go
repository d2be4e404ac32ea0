// Package randnet draws random networks as ONNX models: images, tokens and features, joined by
// residuals, concatenations, gates, shuffles and attention in any order. Tests prune them and
// compare; nothing in the program itself uses it.
//
// The same seed draws the same network in every operator set and style, with the same names of
// weights, so that what is pruned can be compared (metamorphic testing,
// https://en.wikipedia.org/wiki/Metamorphic_testing).
//
// # Limits
//
// Float32, a few dozen nodes, channels of one or two digits.
//
// # Errors
//
// None: every draw is a valid model.
//
// # Concurrency
//
// New is independent of other calls.
package randnet
