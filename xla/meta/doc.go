// Package meta runs and trains graph metanetworks (arXiv 2506.12041) on GoMLX: the forward pass of package metanet as a differentiable graph, and the step of meta-training,
// which is one vector-Jacobian product through the metanetwork and one step of AdamW.
//
// Edges come in the dense blocks of [metanet.Graph]; a message is a block times two rows of node states, and a node's statistics are put together from the blocks that
// reach it. There are no index lists, no gather and no scatter. A graph is compiled once for each arrangement of blocks.
//
// # Limits
//
// Edge states of all layers are kept for the gradient: 4 * edges * hidden * layers bytes several times over. Graphs that are only run belong to package metanet.
//
// # Errors
//
// Those of GoMLX, and what does not fit between metanetwork and graph.
//
// # Concurrency
//
// A Net is used by one goroutine.
package meta
