package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/metaprune/metaprune/wasm/gorgo"
	"github.com/metaprune/metaprune/xla"
)

// compareEngines are what verify can compare outputs in.
var compareEngines = []string{"gorgonia", "go", "xla", "xla:cpu", "xla:cuda", "ort"}

// enginesOf are those of a name. For auto they are ONNX Runtime where it is found, then those in pure Go: onnx-go with Gorgonia, then GoMLX.
func enginesOf(name string) []verify.Engine {
	switch name {
	case "auto":
		own := []verify.Engine{gorgonia{}, gomlx{xla.Go}}
		if _, err := ort.Find(); err == nil {
			return append([]verify.Engine{onnxRuntime{}}, own...)
		}
		return own
	case "xla": // whichever of them works here
		return []verify.Engine{gomlx{xla.CUDA}, gomlx{xla.CPU}}
	case "gorgonia":
		return []verify.Engine{gorgonia{}}
	case "ort":
		return []verify.Engine{onnxRuntime{}}
	}
	return []verify.Engine{gomlx{name}}
}

// gorgonia is onnx-go with Gorgonia.
type gorgonia struct{}

func (gorgonia) Name() string { return gorgo.Name }

func (gorgonia) Compare(_ context.Context, want, got *onnxio.Model, seed int64) (float64, error) {
	x, err := gorgo.New(want, 1)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", gorgo.Name, err)
	}
	y, err := gorgo.New(got, 1)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", gorgo.Name, err)
	}
	n := 1
	for _, d := range x.Shape() {
		n *= d
	}
	input := verify.Normals(verify.Random(seed), n)
	a, _, errX := x.Run(slices.Clone(input))
	b, _, errY := y.Run(input)
	if err := errors.Join(errX, errY); err != nil {
		return 0, fmt.Errorf("%s: %w", gorgo.Name, err)
	}
	return verify.Difference(a, b), nil
}

// gomlx is GoMLX on a backend.
type gomlx struct{ backend string }

func (g gomlx) Name() string { return "GoMLX, backend " + g.backend }

func (g gomlx) Compare(ctx context.Context, want, got *onnxio.Model, seed int64) (float64, error) {
	b, err := xla.Open(g.backend)
	if err != nil {
		return 0, err
	}
	defer b.Finalize()
	worst, err := verify.Outputs(ctx, xla.NewEngine(b, &xla.Program{}), want, got, seed)
	if err != nil {
		return 0, fmt.Errorf("GoMLX: %w", err)
	}
	return worst, nil
}

// onnxRuntime is ONNX Runtime in this process.
type onnxRuntime struct{}

func (onnxRuntime) Name() string { return "ONNX Runtime" }

func (onnxRuntime) Compare(ctx context.Context, want, got *onnxio.Model, seed int64) (float64, error) {
	l, err := ort.Find()
	if err != nil {
		return 0, err
	}
	return verify.Outputs(ctx, ort.NewEngine(l, ort.Options{}), want, got, seed)
}
