//go:build noort || !(linux || darwin || windows) || !(amd64 || arm64)

package ort

import (
	"context"
	"runtime"

	"github.com/metaprune/metaprune/onnxio"
)

// supported says whether this build can load the library.
const supported = false

// Library is ONNX Runtime in this process. This build cannot load it.
type Library struct{ Path, Version string }

// Session is a model that ONNX Runtime has prepared.
type Session struct{ Inputs, Outputs []Info }

func unsupported() error {
	return &onnxio.UnsupportedError{What: "ONNX Runtime in this build of the program (for " + runtime.GOOS + "/" + runtime.GOARCH + "); on Linux take the archive whose name holds glibc"}
}

// Load returns an UnsupportedError.
func Load(string) (*Library, error) { return nil, unsupported() }

// NewSession returns an UnsupportedError.
func (l *Library) NewSession([]byte, Options) (*Session, error) { return nil, unsupported() }

// OpenSession returns an UnsupportedError.
func (l *Library) OpenSession(string, Options) (*Session, error) { return nil, unsupported() }

// Run returns an UnsupportedError.
func (s *Session) Run(context.Context, map[string]Tensor, ...string) ([]Tensor, error) {
	return nil, unsupported()
}

// Close does nothing.
func (s *Session) Close() {}
