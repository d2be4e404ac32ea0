package cli

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/metaprune/metaprune/wasm/gorgo"
	"github.com/metaprune/metaprune/xla"
)

// engines are what verify can compare outputs in, in the order in which they are tried.
var engines = []string{"gorgonia", "go", "xla", "xla:cpu", "xla:cuda", "ort"}

// enginesOf are those of a name; for auto both in pure Go: onnx-go with Gorgonia, else GoMLX.
func enginesOf(name string) []verify.Engine {
	switch name {
	case "auto":
		return []verify.Engine{gorgonia{}, gomlx{engines[1]}}
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

//go:embed compare.py
var compareScript string

// onnxRuntime is ONNX Runtime's Python package.
type onnxRuntime struct{}

func (onnxRuntime) Name() string { return "ONNX Runtime" }

func (onnxRuntime) Compare(ctx context.Context, want, got *onnxio.Model, seed int64) (float64, error) {
	dir, remove, err := endingOf(ctx).tempDir("metaprune-verify")
	if err != nil {
		return 0, err
	}
	defer remove()
	var files [2]string
	for i, m := range []*onnxio.Model{want, got} {
		files[i] = filepath.Join(dir, fmt.Sprintf("%d.onnx", i))
		data, err := m.Marshal()
		if err == nil {
			err = os.WriteFile(files[i], data, 0o600)
		}
		if err != nil {
			return 0, err
		}
	}
	out, err := runPython(ctx, compareScript, files[0], files[1], fmt.Sprint(seed))
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

// runPython runs a script with ONNX Runtime's Python package: of METAPRUNE_PYTHON, else of python3.
func runPython(ctx context.Context, script string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, cmp.Or(os.Getenv("METAPRUNE_PYTHON"), "python3"), append([]string{"-c", script}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		return "", fmt.Errorf("ONNX Runtime: %s (METAPRUNE_PYTHON names a Python that has onnxruntime)", lines[len(lines)-1])
	}
	if err != nil {
		return "", fmt.Errorf("ONNX Runtime: %w", err)
	}
	return string(out), nil
}
