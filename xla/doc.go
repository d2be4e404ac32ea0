// Package xla runs and trains ONNX models on GoMLX (https://github.com/gomlx/gomlx): on its
// pure-Go backend, which is always there, or on XLA for CPU and CUDA through PJRT plugins.
//
// A Program is an ONNX model lowered to a graph builder. Constants fall into weights (what
// training changes), running statistics, and what stays as it is; values that do not depend on
// the input are evaluated while the graph is built, so shape arithmetic leaves nothing behind.
// Convolutions and everything element-wise behind them run channels last on XLA, and as patches
// times a matrix on the pure-Go backend. Operators without a rule here go to
// https://github.com/gomlx/onnx-gomlx, one node at a time; without one there either, Load or the
// first run names the node. In training BatchNormalization uses the batch's statistics and
// returns the new running ones.
//
// A Runner on the pure-Go backend makes a plan for each shape of its inputs: convolutions with the
// normalisation, sum and activation behind them, products and a few more run on package kernel.
// A model with any other operator runs on GoMLX as a whole, and so does training.
//
// # Limits
//
// Loop and Scan are not run; If where its condition is known. float16 and bfloat16 models are
// computed in float32 and written back in their own type. Dropout is the identity.
//
// # Errors
//
// onnxio.UnsupportedError for what is not run, with the node; GoMLX reports by panicking, which
// ends here as an error.
//
// # Concurrency
//
// A Program may build graphs from several goroutines. Runner and Trainer are used from one at a
// time.
package xla
