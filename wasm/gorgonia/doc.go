// Command gorgonia runs models in a page without a native runtime: onnx-go with Gorgonia (native/gorgo), compiled to WebAssembly and loaded when somebody asks for it.
//
// It calls metapruneEngineReady with an object of two functions, both answering {value} or {error}:
//
//	open(file Uint8Array)                     {id, input, output, shape}: a model for batches of one
//	run(id number, numbers Uint8Array)        {data Uint8Array, dims}: the output for one input, float32, row-major
//
// Models that this engine does not compute for certain are refused, see native/gorgo.
package main
