// Package coupling finds which channels of an ONNX model can only be removed together. [Analyze]
// runs the rules of package op over the graph and gathers units into groups; a [State] says what a
// model costs without some of them, and
// [Analysis.Shrink] makes the smaller model.
//
// The analysis generalises the dependency graph of DepGraph (arXiv 2301.12900) from layers to
// positions.
//
// # Limits
//
// Those of package op. Values captured by subgraphs are frozen.
//
// # Errors
//
// onnxio.FormatError for models that contradict themselves: a cycle, a value that nothing produces,
// a name produced twice, a tensor whose data does not fit its dims. An error of Shrink means that
// nothing should be written.
//
// # Concurrency
//
// An Analysis is not changed after Analyze returns, but its methods share caches: use it from one
// goroutine at a time.
package coupling
