//go:build !noort && (amd64 || arm64)

package ort

import (
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// open loads a library and returns the address of its entry point. The library's own folder is searched
// for what it needs, so that an older onnxruntime.dll of the system is not mixed in.
func open(path string) (uintptr, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	handle, err := windows.LoadLibraryEx(full, 0, windows.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR|windows.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS)
	if err != nil {
		return 0, err
	}
	return windows.GetProcAddress(handle, entryPoint)
}

// pathChars is a path as ONNX Runtime takes it: UTF-16 that ends with a zero.
func pathChars(path string) (unsafe.Pointer, error) {
	p, err := syscall.UTF16PtrFromString(path)
	return unsafe.Pointer(p), err
}
