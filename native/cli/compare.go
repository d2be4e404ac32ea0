package cli

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/wasm/gorgo"
	"github.com/metaprune/metaprune/xla"
)

// engines are what verify can compare outputs in, in the order in which they are tried.
var engines = []string{"gorgonia", "go", "xla", "xla:cpu", "xla:cuda", "ort"}

// pair are two models that have to give the same outputs.
type pair struct{ want, got *onnxio.Model }

// pairs are what has to be equal: the masked original and the pruned model; under a repair, which changes the outputs by intention, the cut without it, and the pruned model and what the plan makes of the original.
// Where there is nothing to compare, why says so.
func pairs(before, after *prune.Session, p *planner.Plan) (out []pair, note, why string, err error) {
	if len(p.Zeroed) == 0 {
		if node := renormalised(before, after); node != "" {
			return nil, "", fmt.Sprintf("%s computes over the channels that are kept, which zeros in place of the removed ones do not show", node), nil
		}
		masked, err := planner.Masked(before.Analysis, p)
		if err != nil {
			return nil, "", err.Error(), nil
		}
		if p.Repaired == nil {
			return []pair{{masked, after.Model}}, "", "", nil
		}
		cut, err := planner.Apply(before.Analysis, p.Cut())
		if err != nil {
			return nil, "", "", err
		}
		out, note = append(out, pair{masked, cut}), " (the cut without its repair)"
	} else {
		note = " (with the planned zeros in the original)"
	}
	planned, err := planner.Apply(before.Analysis, p)
	return append(out, pair{planned, after.Model}), note, "", err
}

// compareOutputs runs what has to be equal on the same random inputs, in the engine of that name or, for auto, in pure Go: on onnx-go with Gorgonia, else on GoMLX.
func compareOutputs(ctx context.Context, v *verdict, before, after *prune.Session, p *planner.Plan, seed int64, engine string) error {
	models, note, why, err := pairs(before, after, p)
	if err != nil || why != "" {
		v.Engine = why
		return err
	}
	tried := engines[:2]
	switch engine {
	case "auto":
	case "xla": // whichever of them works here
		tried = []string{xla.CUDA, xla.CPU}
	default:
		tried = []string{engine}
	}
	var failed []string
	for _, e := range tried {
		worst, name, err := compareAll(ctx, e, models, seed)
		if err == nil {
			v.measured(name+note, worst)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, err.Error())
	}
	v.Engine = strings.Join(failed, "; ")
	if engine != "auto" {
		return fmt.Errorf("--engine %s: %s", engine, v.Engine)
	}
	return nil
}

// compareAll returns the largest difference of all pairs in one engine.
func compareAll(ctx context.Context, engine string, models []pair, seed int64) (worst float64, name string, err error) {
	for _, m := range models {
		var d float64
		if d, name, err = compareIn(ctx, engine, m.want, m.got, seed); err != nil {
			return 0, name, err
		}
		if !(d <= worst) {
			worst = d
		}
	}
	return worst, name, nil
}

// compareIn returns the largest difference of the outputs in one engine, and the engine's name.
func compareIn(ctx context.Context, engine string, masked, smaller *onnxio.Model, seed int64) (worst float64, name string, err error) {
	switch engine {
	case "gorgonia":
		worst, err = compareGorgonia(masked, smaller, seed)
		return worst, gorgo.Name, err
	case "ort":
		worst, err = compareORT(ctx, masked, smaller, seed)
		return worst, "ONNX Runtime", err
	}
	b, err := xla.Open(engine)
	if err != nil {
		return 0, "", err
	}
	defer b.Finalize()
	worst, err = compareGoMLX(b, masked, smaller, seed)
	return worst, "GoMLX, backend " + engine, err
}

func compareGorgonia(masked, smaller *onnxio.Model, seed int64) (float64, error) {
	x, err := gorgo.New(masked, 1)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", gorgo.Name, err)
	}
	y, err := gorgo.New(smaller, 1)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", gorgo.Name, err)
	}
	input := normals(rand.New(rand.NewPCG(uint64(seed), 1)), product(x.Shape()))
	want, _, errX := x.Run(slices.Clone(input))
	got, _, errY := y.Run(input)
	if err := errors.Join(errX, errY); err != nil {
		return 0, fmt.Errorf("%s: %w", gorgo.Name, err)
	}
	return relativeError(want, got), nil
}

func normals(r *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// compareGoMLX draws normal numbers for inputs of real numbers and zeros and ones for the others; dims that are free are 2.
func compareGoMLX(b *xla.Backend, masked, smaller *onnxio.Model, seed int64) (float64, error) {
	var outs [2][]xla.Array
	for i, m := range []*onnxio.Model{masked, smaller} {
		p, err := xla.Load(m)
		if err != nil {
			return 0, fmt.Errorf("GoMLX: %w", err)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		var in []xla.Array
		for k := range p.Inputs {
			in = append(in, drawn(r, &p.Inputs[k]))
		}
		run, err := xla.NewRunner(b, p)
		if err != nil {
			return 0, fmt.Errorf("GoMLX: %w", err)
		}
		outs[i], err = run.Run(in...)
		run.Close()
		if err != nil {
			return 0, fmt.Errorf("GoMLX: %w", err)
		}
	}
	worst, compared := 0.0, 0
	if len(outs[0]) != len(outs[1]) {
		return math.Inf(1), nil
	}
	for k := range outs[0] {
		compared += len(outs[0][k].Floats) + len(outs[0][k].Ints)
		if len(outs[0][k].Floats) > 0 {
			worst = max(worst, relativeError(outs[0][k].Floats, outs[1][k].Floats))
		} else if !slices.Equal(outs[0][k].Ints, outs[1][k].Ints) {
			worst = math.Inf(1)
		}
	}
	if compared == 0 {
		return 0, errors.New("GoMLX: the outputs have no elements that could be compared")
	}
	return worst, nil
}

func drawn(r *rand.Rand, in *xla.Input) xla.Array {
	a := xla.Array{Type: in.Type, Dims: slices.Clone(in.Dims)}
	for i, d := range a.Dims {
		if d < 0 {
			a.Dims[i] = 2
		}
	}
	if in.Type.IsFloat() {
		a.Floats = normals(r, product(a.Dims))
		return a
	}
	a.Ints = make([]int64, product(a.Dims))
	for i := range a.Ints {
		a.Ints[i] = r.Int64N(2)
	}
	return a
}

//go:embed compare.py
var compareScript string

// compareORT runs both models in ONNX Runtime's Python package: of METAPRUNE_PYTHON, else of python3.
func compareORT(ctx context.Context, masked, smaller *onnxio.Model, seed int64) (float64, error) {
	dir, remove, err := endingOf(ctx).tempDir("metaprune-verify")
	if err != nil {
		return 0, err
	}
	defer remove()
	var files [2]string
	for i, m := range []*onnxio.Model{masked, smaller} {
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

// renormalised names a node that takes means over an axis that has become shorter; zeros in the original do not show what it gives then.
func renormalised(before, after *prune.Session) string {
	for _, n := range after.Analysis.Model.Graph.Nodes {
		if len(n.Inputs) == 0 || len(n.Outputs) == 0 {
			continue
		}
		x, y, z := before.Analysis.Value(n.Inputs[0]), after.Analysis.Value(n.Inputs[0]), after.Analysis.Value(n.Outputs[0])
		if x == nil || y == nil || z == nil || x.Rank() != y.Rank() {
			continue
		}
		for k := range x.Shape {
			shorter := x.Shape[k] != y.Shape[k]
			switch n.OpType {
			case "LayerNormalization":
				shorter = shorter && k == len(x.Shape)-1
			case "ReduceMean":
				shorter = shorter && reduces(n, x, y, before.Analysis.Value(n.Outputs[0]), z, k)
			case "InstanceNormalization":
				shorter = shorter && k > 1
			default:
				shorter = false
			}
			if shorter {
				return fmt.Sprintf("%s %q", n.OpType, cmp.Or(n.Name, n.Outputs[0]))
			}
		}
	}
	return ""
}

// reduces reports whether a mean that makes x0 and x1 to y0 and y1 is taken over axis k; where the node does not say so itself, dims are dropped and it cannot be told, it is.
func reduces(n *onnxio.Node, x0, x1, y0, y1 *graphcodec.Value, k int) bool {
	for _, a := range n.Attributes {
		if a.Name == "axes" {
			return slices.Contains(a.Ints, int64(k)) || slices.Contains(a.Ints, int64(k-x1.Rank()))
		}
	}
	if y0 == nil || y1.Rank() == x1.Rank() {
		return y0 == nil || y1.Shape[k] != x1.Shape[k]
	}
	if y1.Rank() != x1.Rank()-1 || y0.Rank() != y1.Rank() {
		return true
	}
	for r := range x1.Shape {
		without := func(v *graphcodec.Value) []graphcodec.Dim { return slices.Delete(slices.Clone(v.Shape), r, r+1) }
		if r != k && slices.Equal(without(x0), y0.Shape) && slices.Equal(without(x1), y1.Shape) {
			return false
		}
	}
	return true
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func relativeError(want, got []float32) float64 {
	if len(want) != len(got) {
		return math.Inf(1)
	}
	top, worst := 1e-6, 0.0
	for i := range want {
		top = max(top, math.Abs(float64(want[i])))
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst / top
}

// checkSlices says whether the pruned model's constants are the original's without the planned slices.
func checkSlices(before, after *prune.Session, p *planner.Plan) (string, error) {
	want, err := planner.Expected(before.Analysis, p)
	if err != nil {
		return "", err
	}
	have, named := map[string]*graphcodec.Constant{}, map[string]bool{}
	for _, c := range after.Analysis.Constants() {
		have[c.Name] = c
	}
	for _, t := range want {
		named[t.Name] = true
		switch c := have[t.Name]; {
		case c == nil:
			return fmt.Sprintf("%q is missing", t.Name), nil
		case !sameElements(t, c.Tensor):
			return fmt.Sprintf("%q has other elements than planned", t.Name), nil
		}
	}
	if len(p.Zeroed) > 0 {
		return checkZeros(before, have, p)
	}
	for _, c := range before.Analysis.Constants() {
		if now := have[c.Name]; !named[c.Name] && now != nil && c.Tensor.DataType.IsFloat() && slices.Equal(c.Tensor.Dims, now.Tensor.Dims) && !sameElements(c.Tensor, now.Tensor) {
			return fmt.Sprintf("%q has other elements than the original's, and the plan does not name it", c.Name), nil
		}
	}
	return exact, nil
}

func sameElements(want, got *onnxio.Tensor) bool {
	x, errX := want.Bytes()
	y, errY := got.Bytes()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// checkZeros says whether every constant is what the plan's zeros make of the original's.
func checkZeros(before *prune.Session, have map[string]*graphcodec.Constant, p *planner.Plan) (string, error) {
	m, err := planner.Apply(before.Analysis, p)
	if err != nil {
		return "", err
	}
	planned, err := prune.FromModel(m, nil)
	if err != nil {
		return "", err
	}
	for _, c := range planned.Analysis.Constants() {
		switch now := have[c.Name]; {
		case now == nil:
			return fmt.Sprintf("%q is missing", c.Name), nil
		case !sameElements(c.Tensor, now.Tensor):
			return fmt.Sprintf("%q has other elements than planned", c.Name), nil
		}
	}
	return exact, nil
}
