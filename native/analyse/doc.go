// Package analyse describes a network's weights for pruning: the norms of channels and how they spread, how much the filters of a layer resemble each other, how many directions its matrix really uses,
// and how much the loss depends on each channel (Taylor). Two versions of a network, before and after a metanetwork, can be held side by side.
//
//   - Spread: standard deviation of the channels' group L2 importance over its mean. Zero is a group in which nothing can be told apart.
//   - Correlation: mean absolute cosine between the filters of a layer, pair by pair.
//   - Effective rank: the exponential of the entropy of the singular values' shares (Roy and Vetterli 2007, https://ieeexplore.ieee.org/document/7098875), as a share of the largest rank that is possible.
//   - Taylor: root mean square over batches of the loss's derivative by a channel's gate (Molchanov et al. 2019, https://arxiv.org/abs/1906.10771), and its rank correlation (Spearman) with L2.
//
// # Errors
//
// onnxio's for constants that cannot be read, and those of the backend.
//
// # Concurrency
//
// Functions do not change the model and are independent of other calls.
package analyse
