// Package data reads data sets.
//
// The IDX format is that of https://yann.lecun.com/exdb/mnist/ (MNIST and Fashion-MNIST).
//
// # Limits
//
// Files of up to 1 GiB unpacked.
//
// # Errors
//
// Errors name the file and what is wrong with it.
//
// # Concurrency
//
// Functions are independent of one another.
package data
