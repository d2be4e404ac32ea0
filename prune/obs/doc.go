// Package obs ranks channels by what a model loses when they leave and least squares redistribute what they did: Optimal Brain Surgeon (Hassibi and Stork 1993,
// https://papers.nips.cc/paper/1992/hash/303ed4c69846ab36c2904d3ba8573050) for whole channels, with the second moments of each layer's inputs on unlabelled samples in the place of the Hessian. It is the
// selection that goes with the repair of prune/repair, which fits the same least squares.
//
// Within a group, channels leave one by one, the cheapest first. The cost of a channel is summed over all layers that read it, each relative to the variance of that layer's outputs; with each that leaves, the weights of
// the others take over and their costs are worked out anew. Spatial positions of a kernel count as outputs of their own.
//
// Places in this order and in that of group L2 are averaged, three to one: L2 also knows what produces a channel.
//
// The order says nothing about how groups compare, which L2 knows: a group's units get the L2 scores of the group in the order of their leaving.
//
// Two criteria score channels one by one instead, Wanda and Hessian: the sum over all layers that read the channel, as a share of its group's sum.
//
// # Limits
//
// Layers are Conv, Gemm and MatMul whose weight is a constant that is read directly. Above MaxInputs inputs, and for what reads a channel otherwise, correlations are left out. Samples run in chunks, more than once where the second moments of all layers do not fit into memory. A group without such a layer keeps its L2 scores.
//
// # Errors
//
// Those of the engine, and onnxio's for constants that cannot be read.
//
// # Concurrency
//
// Scores does not change the model and is independent of other calls, as far as the engine is.
package obs
