//go:build !unix

package onnxio

import "os"

// mapOpen reads the file: this platform has no mapping here.
func mapOpen(f *os.File) ([]byte, func() error, error) { return readAll(f) }
