//go:build !amd64

package kernel

func supported() map[string]tiler { return map[string]tiler{} }
