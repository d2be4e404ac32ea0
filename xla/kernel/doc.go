// Package kernel computes the forward pass of the layers that take most of a network's time, in
// float32 on all cores: products, convolutions channels last without patches in memory, means over
// positions, sums and bounds.
//
// On amd64 products use AVX-512 or AVX2, found when the program starts; elsewhere portable code
// does the same. Vector instructions fuse a multiplication with an addition, so the last bits of
// a sum differ between processors. For one processor a result depends on the inputs alone, not on
// the number of cores.
//
// # Errors
//
// Lengths that do not fit are a mistake of the caller and panic.
//
// # Concurrency
//
// Functions may be called from several goroutines. A Conv and a Matrix are not changed by use.
package kernel
