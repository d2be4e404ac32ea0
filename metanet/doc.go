// Package metanet runs graph metanetworks: networks that read a neural network as a graph and rewrite its weights in one forward pass.
//
// It implements the architecture of "Meta Pruning via Graph Metanetworks" (arXiv 2506.12041, section 3) and reads the parameter names of its public PyTorch code. A graph's edges
// come in dense blocks `[rows, cols, features]` between two ranges of nodes; edge states are never gathered or scattered.
//
// Work is done on tiles with a row per hidden channel and a column per edge or node, by kernels that have one order of operations: portable ones, and AVX2 ones with the same bits (kernel.go, avo/). Edge states are
// cached for small graphs and recomputed from the kernels and the node states otherwise, so memory is O(nodes) and not O(edges).
//
// # Limits
//
// Sizes are checked before anything is allocated; node and edge counts fit int32. Edge states take [Options].Memory at most.
//
// # Errors
//
// [FormatError] for files that are no safetensors; errors that name the parameter or tensor otherwise, and the node or block where a result is not finite.
//
// # Concurrency
//
// A Network and a Graph may be used from several goroutines; Forward uses all cores and gives the same bits on any number of them.
package metanet
