package xla

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend" // registers "go"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// Names of the backends, best first.
const (
	CUDA = "xla:cuda"
	CPU  = "xla:cpu"
	Go   = "go"
)

// Backends are the names that Open knows, best first.
var Backends = []string{CUDA, CPU, Go}

// Backend is where graphs are compiled and run.
type Backend struct {
	compute.Backend
	Kind string // one of Backends
}

// Open returns the named backend; "" is the best one that works here.
func Open(kind string) (*Backend, error) {
	switch kind {
	case "":
		for _, k := range Backends {
			if b, err := Open(k); err == nil {
				return b, nil
			}
		}
		return nil, errors.New("no backend works")
	case Go:
		// One operator after the other, each on all cores: operators that run side by side can wait for each other's workers for ever.
		return start(kind, "go:ops_sequential")
	case CPU, CUDA:
		if err := pluginProblem(kind); err != nil {
			return nil, err
		}
		return start(kind, kind)
	}
	return nil, planner.OneOf("backend", kind, Backends...)
}

func start(kind, config string) (b *Backend, err error) {
	defer Caught(&err)
	c, err := compute.NewWithConfig(config)
	if err != nil {
		return nil, fmt.Errorf("backend %s: %s", kind, firstLine(err))
	}
	return &Backend{c, kind}, nil
}

// patches reports whether convolutions are better taken as patches times a matrix.
func (b *Backend) patches() bool { return b.Kind == Go }

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// recovered is the error that a panic stands for. An error of this package keeps its type.
func recovered(p any) error {
	e, ok := p.(error)
	if !ok {
		e = fmt.Errorf("%v", p)
	}
	return Wrap(e)
}

// located says of a panic that is not this package's own at which node the engine failed: defer it where a node is built.
func located(at string) {
	p := recover()
	if p == nil {
		return
	}
	e, ok := p.(error)
	if !ok {
		e = fmt.Errorf("%v", p)
	}
	var f *failure
	if errors.As(e, &f) {
		panic(f)
	}
	panic(&failure{&onnxio.UnsupportedError{Path: at, What: "running this operator with these inputs (GoMLX: " + firstLine(e) + ")"}})
}

// failure carries an error of this package through GoMLX's graph building.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Wrap finds an error of this package in what GoMLX made of it; other errors are cut to their first line.
func Wrap(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return f.err
	}
	if err != nil {
		return fmt.Errorf("the engine failed (GoMLX: %s); another backend may run it: give option \"backend\"", firstLine(err))
	}
	return nil
}

func init() {
	// GoMLX's own switch: a program never downloads by itself.
	if os.Getenv("GOMLX_NO_AUTO_INSTALL") == "" {
		_ = os.Setenv("GOMLX_NO_AUTO_INSTALL", "1")
	}
}

// Caught turns a panic of GoMLX into an error: defer it where a graph is built or run.
func Caught(err *error) {
	if p := recover(); p != nil {
		*err = recovered(p)
	}
}
