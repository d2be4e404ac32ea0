// Package graphcodec works out what hangs together in an ONNX model. [Analyze] interprets the graph once, index by index: every axis of every value carries
// one label per position, a label is a set of units, and a position survives while all its units survive. Every operator has a rule that says
// which labels are equal and what the output's shape is; an operator without a rule freezes what it reads, with a reason.
//
// Operators are those of https://github.com/onnx/onnx/blob/main/docs/Operators.md from opset 7 on. The coupling analysis generalises the dependency graph of
// DepGraph (arXiv 2301.12900) from layers to positions.
//
// # Limits
//
// Axes of symbolic length carry no labels. Integer tensors of up to [maxElems] elements are evaluated. Values captured by subgraphs are frozen.
//
// # Errors
//
// onnxio.FormatError for models that contradict themselves: a cycle, a value that nothing produces, a name produced twice, a tensor whose data does not fit its dims. Everything else is analysed
// or frozen.
//
// # Concurrency
//
// An Analysis is not changed after Analyze returns, but its methods share caches: use it from one goroutine at a time.
package graphcodec
