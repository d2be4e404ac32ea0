// Package metatrain trains graph metanetworks on data models: networks that were trained and pruned a little (https://arxiv.org/abs/2506.12041, section 4).
//
// A step takes one data model with weights theta, whichever architecture it has:
//  1. theta' = what the metanetwork makes of theta;
//  2. the gradient by theta' of the mean cross-entropy over images, with the model's own running statistics;
//  3. plus the gradient of DepGraph's group sparsity, brought to a share of the other's norm;
//  4. one vector-Jacobian product through the metanetwork and one step of AdamW.
//
// # Limits
//
// Classifiers with one image input, whose parameter graph's edge states fit in memory (package xla/meta).
//
// # Errors
//
// Errors name the data model.
//
// # Concurrency
//
// A Trainer is used by one goroutine.
package metatrain
