package verify

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// fixed is an engine with one answer.
type fixed struct {
	worst float64
	err   error
}

func (fixed) Name() string { return "a test" }
func (f fixed) Compare(context.Context, *onnxio.Model, *onnxio.Model, int64) (float64, error) {
	return f.worst, f.err
}

func opened(t *testing.T) Side {
	t.Helper()
	data, err := os.ReadFile("../../testdata/models/mlp_bn.ts.onnx")
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	return Side{m, a}
}

// pruned plans and cuts the model of opened.
func pruned(t *testing.T, before Side) (Side, *planner.Plan) {
	t.Helper()
	p, err := planner.MakePlan(t.Context(), before.Analysis, planner.Options{Target: planner.Target{SpeedUp: 1.5}})
	require.NoError(t, err)
	m, err := planner.Apply(before.Analysis, p)
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	return Side{m, a}, p
}

func TestCheckHasThreeVerdicts(t *testing.T) {
	before := opened(t)
	after, p := pruned(t, before)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		after   Side
		plan    *planner.Plan
		o       Options
		verdict string
		ok      bool
	}{
		"equal":                   {after, p, Options{Engines: []Engine{fixed{1e-4, nil}}, Bound: -1}, Equal, true},
		"the second engine":       {after, p, Options{Engines: []Engine{fixed{0, broken}, fixed{1e-4, nil}}, Bound: -1}, Equal, true},
		"beyond the bound":        {after, p, Options{Engines: []Engine{fixed{1e-2, nil}}, Bound: -1}, Different, false},
		"within a larger bound":   {after, p, Options{Engines: []Engine{fixed{1e-2, nil}}, Bound: .1}, Equal, true},
		"no number":               {after, p, Options{Engines: []Engine{fixed{math.NaN(), nil}}, Bound: 1, AllowUncompared: true}, Different, false},
		"other slices":            {before, p, Options{Engines: []Engine{fixed{}}, AllowUncompared: true}, Different, false},
		"no engine runs it":       {after, p, Options{Engines: []Engine{fixed{0, broken}}}, NotCompared, false},
		"no engine":               {after, p, Options{}, NotCompared, false},
		"no plan":                 {after, nil, Options{}, NotCompared, false},
		"no plan, which is right": {after, nil, Options{AllowUncompared: true}, NotCompared, true},
	} {
		v, err := Check(t.Context(), before, c.after, c.plan, c.o)
		require.NoError(t, err, name)
		require.Equal(t, c.verdict, v.Verdict, "%s: %s", name, v)
		require.Equal(t, c.ok, v.OK, name)
		require.Equal(t, c.ok, v.Err() == nil, name)
	}
}

// scaled returns its inputs, times a factor for each model.
type scaled map[*onnxio.Model]float32

func (s scaled) Run(_ context.Context, m *onnxio.Model, in map[string]engine.Array) ([]engine.Array, error) {
	var out []engine.Array
	for _, a := range in {
		for i := range a.Floats {
			a.Floats[i] *= s[m]
		}
		out = append(out, a)
	}
	return out, nil
}

func TestOutputsAreComparedOnTheSameInputs(t *testing.T) {
	m := opened(t).Model
	other := *m
	worst, err := Outputs(t.Context(), scaled{m: 2, &other: 2}, m, &other, 1)
	require.NoError(t, err)
	require.Zero(t, worst)
	worst, err = Outputs(t.Context(), scaled{m: 2, &other: 3}, m, &other, 1)
	require.NoError(t, err)
	require.InDelta(t, .5, worst, 1e-6)
}

func TestDifference(t *testing.T) {
	nan := float32(math.NaN())
	require.Zero(t, Difference([]float32{1, 2}, []float32{1, 2}))
	require.InDelta(t, .25, Difference([]float32{1, -4}, []float32{2, -4}), 1e-9)
	require.True(t, math.IsInf(Difference([]float32{1}, []float32{1, 2}), 1))
	require.True(t, math.IsInf(Difference([]float32{1}, []float32{nan}), 1))
}
