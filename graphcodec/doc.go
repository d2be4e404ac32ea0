// Package graphcodec turns a model into the parameter graph that a metanetwork reads, and back.
//
// [Encode] turns the model into the parameter graph that a metanetwork reads, and a [Decoder] turns a changed graph back into tensors. A node is an output channel of a layer, or an input channel of the model; a layer
// is a dense block of edges from the nodes on its input axis to its own, whose features are the kernels. Blocks alias the weights, index lists are never made. The layers on a value's axes are found by identity:
// positions that live and die with a channel belong to it, so channel shuffles, splits, concatenations and flattened maps need no rule of their own.
//   - An Add is represented by the operand behind most layers; the others reach it by diagonal residual edges. Concat joins node lists.
//   - Gates (a product of two activations) and products of activations as matrices (attention) are diagonal edges of their own types.
//   - A depthwise kernel is the diagonal of a kernel block; of a convolution in groups there is one block a group.
//   - A normalisation's vectors, a bias and a scale are features of the nodes that they act on; where those have such features already (dense blocks), of nodes of their own behind them.
//   - A layer that reads channels of unknown origin gets input nodes for them.
//
// What has no place (embedding tables, positional tables, class tokens, slopes, weights of integers) is carried beside the graph. Decoding an unchanged graph gives the model bit for bit; a change of one edge changes its kernel
// and nothing else. A tensor that several layers share is changed by the first of them.
//
// Features come in named schemes, see [Universal] and [ReferenceCNN]; weights trained for one are refused on another. A scheme is never changed, only followed by one with a higher number. universal-1:
//
//	node  0 norm weight        / RMS over the layer                 default 1
//	      1 norm bias          / the same RMS                       default 0
//	      2 running mean       / sqrt(the layer's mean variance)    default 0, never changed
//	      3 running variance   / the layer's mean variance          default 1, never changed
//	      4 bias               / (RMS(weight) * sqrt(fan-in))       default 0
//	      5 has norm   6 is input   7 is output   8 is depthwise   9 can be removed
//	     10 log(1+fan-in)/8, numbers of a row   11 log(1+fan-out)/8   12 log(RMS(weight) * sqrt(fan-in))/4   13 log2(positions)/16
//	edge  kernel     9 numbers: the kernel / RMS(its tensor) in the orthonormal DCT-II basis over its extents, lowest sum of frequencies first; a 3x3 and a 1x1 kernel whole, of larger ones the
//	                 low frequencies, the rest carried. Positions of a flattened map are part of the kernel, as a square where they can be one.
//	      residual, gate, attention   1 number: 1
//
// # Limits
//
// Those of package coupling, whose Analysis is encoded.
//
// # Errors
//
// onnxio.FormatError where a weight is NaN or infinite.
//
// # Concurrency
//
// A Network shares its Analysis: use both from one goroutine at a time.
package graphcodec
