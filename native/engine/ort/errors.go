package ort

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// NotFoundError says that no library was found.
type NotFoundError struct {
	Tried []error // of libraries that were found and could not be used
}

func (e *NotFoundError) Error() string {
	const advice = "run `pip install onnxruntime` or `npm install onnxruntime-node`, or let " + Variable + " name the library's file"
	if len(e.Tried) == 0 {
		return "ONNX Runtime is not installed: " + advice
	}
	var why []string
	for _, err := range e.Tried {
		why = append(why, err.Error())
	}
	return fmt.Sprintf("no usable ONNX Runtime: %s; %s", strings.Join(why, "; "), advice)
}

func (e *NotFoundError) Unwrap() []error { return e.Tried }

// LoadError says why a library cannot be used.
type LoadError struct {
	Path    string
	Version string // "" where the library did not say one
	Err     error
}

func (e *LoadError) Error() string {
	if e.Version != "" {
		return fmt.Sprintf("%s (ONNX Runtime %s): %v", e.Path, e.Version, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Path, e.Err)
}

func (e *LoadError) Unwrap() error { return e.Err }

// InstallError says why no package manager fetched the library.
type InstallError struct{ Tried []error }

func (e *InstallError) Error() string {
	return fmt.Sprintf("ONNX Runtime was not fetched: %s; see to Python with pip, or npm, and a network, or let "+Variable+" name the library's file", strings.ReplaceAll(errors.Join(e.Tried...).Error(), "\n", "; "))
}

func (e *InstallError) Unwrap() []error { return e.Tried }

// NoLibraryError says that a package holds no library for this platform.
type NoLibraryError struct{ Package string }

func (e *NoLibraryError) Error() string {
	return fmt.Sprintf("%s holds no ONNX Runtime library for %s/%s; let "+Variable+" name the library's file", e.Package, runtime.GOOS, runtime.GOARCH)
}

// Codes of ONNX Runtime (OrtErrorCode) that callers tell apart.
const (
	CodeInvalidArgument = 2
	CodeNotImplemented  = 9
	CodeInvalidGraph    = 10
)

// RunError is an error that ONNX Runtime reports.
type RunError struct {
	Code    int    // OrtErrorCode
	Message string // its first line
}

func (e *RunError) Error() string { return "ONNX Runtime: " + e.Message }
