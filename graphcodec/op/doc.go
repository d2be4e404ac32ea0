// Package op knows operators. One entry ([Op]) of its table says everything that the program knows
// of an operator by its name: how shapes, contents and labels of its outputs follow from its
// inputs, how a node is adapted when channels
// are removed, where a layer's weight and bias are, whether zeros stay zeros. Files are families of
// operators and register their entries; [Describe] finds them.
//
// Operators are those of https://github.com/onnx/onnx/blob/main/docs/Operators.md from operator set
// 7 on, and ONNX Runtime's of com.microsoft.
//
// An [Analyzer] runs the rules over a graph once, node by node; a rule sees one node as a [Call].
// An operator without a rule freezes what it reads, with a reason.
//
// # Limits
//
// Axes of free length carry no labels. Integer tensors of up to a few thousand elements are
// evaluated. The positions of all axes are bounded; above the bound axes are frozen.
//
// # Errors
//
// onnxio.FormatError for models that contradict themselves. Everything else is analysed or frozen.
//
// # Concurrency
//
// The table is read only after init. An Analyzer belongs to one goroutine at a time.
package op
