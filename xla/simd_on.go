//go:build goexperiment.simd || !amd64

package xla

// simd reports that GoMLX's matrix product is the fastest one that it has for this processor.
const simd = true
