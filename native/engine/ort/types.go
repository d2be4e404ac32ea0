package ort

import (
	"fmt"

	"github.com/metaprune/metaprune/onnxio"
)

// Optimization is how much ONNX Runtime changes a graph before it runs it (GraphOptimizationLevel).
type Optimization int

// Levels of optimization.
const (
	OptimizeAll      Optimization = 0 // the default
	OptimizeNone     Optimization = 1
	OptimizeBasic    Optimization = 2
	OptimizeExtended Optimization = 3
)

// level is the number in ONNX Runtime's API.
func (o Optimization) level() uintptr {
	switch o {
	case OptimizeNone:
		return 0
	case OptimizeBasic:
		return 1
	case OptimizeExtended:
		return 2
	}
	return 99
}

// Options of a session.
type Options struct {
	Threads      int // 0: as many as Go uses
	Optimization Optimization
	Spinning     bool   // threads wait busily for work: faster by a little, at the cost of other programs
	Folder       string // where the files of external data lie, for a model from memory
}

// Info describes an input or output of a session. Free dims are -1. Type is Undefined for what is not
// a tensor.
type Info struct {
	Name string
	Type onnxio.DataType
	Dims []int64
}

// Tensor is a value that goes into a run or comes out of it: elements in raw form, row-major, in the
// machine's byte order (little-endian on every platform of this package).
type Tensor struct {
	Type onnxio.DataType
	Dims []int64
	Data []byte
}

// checked returns the number of bytes that a tensor's type and dims ask for.
func (t Tensor) checked(what string) error {
	size, err := (&onnxio.Tensor{Name: what, DataType: t.Type, Dims: t.Dims}).ByteSize()
	if err != nil {
		return err
	}
	if size != int64(len(t.Data)) {
		return fmt.Errorf("%s: %s%v takes %d bytes, got %d", what, t.Type, t.Dims, size, len(t.Data))
	}
	return nil
}
