// Package data reads labelled and unlabelled images for training, measuring and repair.
//
// Formats: IDX (https://yann.lecun.com/exdb/mnist/), CIFAR's binary files (https://www.cs.toronto.edu/~kriz/cifar.html), folders of JPEG and PNG files in ImageNet's
// layout, and NPZ. Named sets are looked for on disk and downloaded once, with their SHA-256 compared. Augmentation is drawn per image from seed, epoch and index, so
// that a batch holds the same on every run.
//
// # Limits
//
// Files of up to 1 GiB unpacked; pictures of a folder are read when they are needed.
//
// # Errors
//
// Errors name the file and what is wrong with it.
//
// # Concurrency
//
// Sets may be read from any number of goroutines.
package data
