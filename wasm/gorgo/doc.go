// Package gorgo runs ONNX models in pure Go, on onnx-go with Gorgonia: the portable way to try a pruned model where no native library is at hand. Models are lowered first to the operators, attributes and shapes
// that this engine is known to compute correctly; everything else is refused with an UnsupportedError rather than computed wrongly.
//
// # Limits
//
// Plain two-dimensional convolutional networks and MLPs in float32: convolutions in one group with equal padding, BatchNormalization after a convolution, element-wise
// operators on equal shapes, pooling, Gemm. One input, one output.
//
// # Errors
//
// onnxio.UnsupportedError names the node and what is not supported. Panics of the engine become errors.
//
// # Concurrency
//
// An Engine is used from one goroutine at a time.
package gorgo
