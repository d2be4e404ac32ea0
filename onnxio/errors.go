package onnxio

import (
	"errors"
	"fmt"
)

// FormatError reports bytes that are not a valid ONNX model.
type FormatError struct {
	Path   string // where in the model, such as `graph.node[12] "conv1" (Conv).attribute[0]`
	Offset int64  // byte offset in the file, -1 where the place has none
	Want   string // what would have been right, where one thing would
	Got    string // what was there instead
	Err    error
}

func (e *FormatError) Error() string {
	s := ""
	if e.Path != "" {
		s = e.Path + ": "
	}
	s += e.Err.Error()
	if e.Offset >= 0 {
		s += fmt.Sprintf(" (byte %d)", e.Offset)
	}
	return s
}

func (e *FormatError) Unwrap() error { return e.Err }

// UnsupportedError reports a valid model that uses something this package does not handle.
type UnsupportedError struct {
	Path string
	What string
}

func (e *UnsupportedError) Error() string {
	if e.Path == "" {
		return "unsupported: " + e.What
	}
	return e.Path + ": unsupported: " + e.What
}

// errorAt returns a FormatError at a path without a byte offset.
func errorAt(path, format string, args ...any) error {
	return &FormatError{Path: path, Offset: -1, Err: fmt.Errorf(format, args...)}
}

// within adds one step to the front of a FormatError's path.
func within(step string, err error) error {
	var f *FormatError
	if !errors.As(err, &f) {
		return fmt.Errorf("%s: %w", step, err)
	}
	path := step
	if f.Path != "" {
		path += "." + f.Path
	}
	return &FormatError{Path: path, Offset: f.Offset, Want: f.Want, Got: f.Got, Err: f.Err}
}
