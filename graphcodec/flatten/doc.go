// Package flatten writes functions and branches of an ONNX model out among its other nodes: calls of the model's own functions, the branch of an If whose condition is known, and both branches of other Ifs. The nodes that replace a
// call are noted ([Expanded]), so that the call can be put back where nothing of its body changed. [Lift] moves weights out of branches.
//
// Functions and Ifs are those of https://github.com/onnx/onnx/blob/main/docs/IR.md.
//
// # Limits
//
// About a million nodes and 64 MB of names; above that, and for functions that call themselves or use other operator sets, calls are kept.
//
// # Errors
//
// None: what cannot be written out is kept.
//
// # Concurrency
//
// Models are copied where they change; functions may be called from several goroutines.
package flatten
