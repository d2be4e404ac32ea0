//go:build !amd64

package metanet

// bestKernels returns the fastest kernels that the processor runs.
func bestKernels() kernels { return portable }
