//go:build !noort && (linux || darwin) && (amd64 || arm64)

package ort

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// open loads a library and returns the address of its entry point.
func open(path string) (uintptr, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(handle, entryPoint)
}

// pathChars is a path as ONNX Runtime takes it: bytes that end with a zero.
func pathChars(path string) (unsafe.Pointer, error) { return unsafe.Pointer(cString(path)), nil }
