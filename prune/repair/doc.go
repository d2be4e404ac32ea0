// Package repair gives a pruned model back what the cut took from it, without labels and without
// gradients. Original and pruned model run side by side on the same inputs, layer by layer in graph
// order, and each layer of the pruned one is fitted to the original's:
//   - Match: the moments of every channel. Before a BatchNormalization its running statistics are
//     set so that what comes out has the original's mean and variance; where it was folded, the
//     weight's scale and the bias. As only the change from original to pruned counts, inputs may be
//     noise (Noise).
//   - Solve: the weights of every layer, by least squares on the inputs that are left (as in
//     https://arxiv.org/abs/1707.06168), with the original's outputs as targets. Where a layer's
//     output is added to another value, the error of that value is part of the target. Needs samples.
//
// What is kept is judged by fidelity on inputs that were held back: the mean cosine between the
// outputs of original and repaired model. Match is tried where Solve is not better than the cut alone,
// and a repair that is not better either is dropped.
//
// # Limits
//
// Least squares are taken for Conv, Gemm and MatMul whose weight is a constant read directly, with
// up to MaxInputs inputs an output. Samples run in chunks: between two layers the values that later
// nodes read are in memory, or spilled above the bound of Options.Memory.
//
// # Errors
//
// Those of the Engine, and onnxio's for constants that cannot be read.
//
// # Concurrency
//
// Repair is independent of other calls, as far as the Engine is.
package repair
