// Package metanet runs graph metanetworks: networks that read a neural network as a graph and rewrite its weights in one forward pass.
//
// It implements the architecture of "Meta Pruning via Graph Metanetworks" (arXiv 2506.12041, section 3) and reads the parameter names of its public PyTorch code. A graph's edges
// come in dense blocks `[rows, cols, features]` between two ranges of nodes; edge states are never gathered or scattered.
//
// # Limits
//
// Sizes are checked before anything is allocated; node and edge counts fit int32. Edge states are cached where [Options].Memory allows and recomputed
// from the node states otherwise.
//
// # Errors
//
// [FormatError] for files that are no safetensors; errors that name the parameter or tensor otherwise. NaN and Inf in a graph pass through arithmetic.
//
// # Concurrency
//
// A Network and a Graph may be used from several goroutines; Forward uses all cores and gives the same bits on any number of them.
package metanet
