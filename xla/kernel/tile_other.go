//go:build !amd64

package kernel

func bestTiler() tiler { return portable }
