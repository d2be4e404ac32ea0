package cli

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// free is a small detector whose height and width are free.
const free = "../../testdata/models/gnfree.ts.onnx"

// What is counted at is said in text and JSON, noted in the plan, and the target holds there.
func TestInputSizes(t *testing.T) {
	out, plan := filepath.Join(t.TempDir(), "o.onnx"), filepath.Join(t.TempDir(), "p.json")
	require.Contains(t, ok(t, "inspect", free), "assumed; give the sizes that you use with --input")
	var r struct {
		MACs      int64
		CountedAt struct {
			Inputs  map[string][]int64
			Assumed bool
		} `json:"counted_at"`
	}
	read := func(args ...string) {
		t.Helper()
		r.CountedAt.Inputs = nil
		require.NoError(t, json.Unmarshal([]byte(ok(t, args...)), &r))
	}
	read("inspect", free, "--json")
	require.True(t, r.CountedAt.Assumed)
	require.Len(t, r.CountedAt.Inputs, 1)
	var name string
	var sizes []int64
	for name, sizes = range r.CountedAt.Inputs {
		require.Equal(t, []int64{224, 224}, sizes[2:])
	}
	assumed := r.MACs
	read("inspect", free, "--json", "--input", "3x64x96")
	require.False(t, r.CountedAt.Assumed)
	require.Equal(t, map[string][]int64{name: {1, 3, 64, 96}}, r.CountedAt.Inputs)
	require.Less(t, r.MACs, assumed)

	require.Contains(t, ok(t, "prune", free, "--speed-up", "1.5", "--input", name+"=1x3x64x96", "-o", out, "--plan", plan), "counted at "+name+" = 1x3x64x96\n")
	p, err := readPlan(plan)
	require.NoError(t, err)
	require.Equal(t, map[string][]int64{name: {1, 3, 64, 96}}, p.CountedAt.Inputs)
	require.False(t, p.CountedAt.Assumed)
	require.Equal(t, r.MACs, p.Achieved.MACs[0])
	require.GreaterOrEqual(t, float64(p.Achieved.MACs[0])/float64(p.Achieved.MACs[1]), 1.5)
	again, err := planner.MarshalPlan(p)
	require.NoError(t, err)
	parsed, err := planner.ParsePlan(again)
	require.NoError(t, err)
	require.Equal(t, p.CountedAt.String(), parsed.CountedAt.String())

	read("inspect", out, "--json", "--input", "1x3x64x96")
	require.Equal(t, p.Achieved.MACs[1], r.MACs, "what is left costs what was planned")
	require.Contains(t, ok(t, "prune", free, "--from-plan", plan, "-o", out), "counted at "+name+" = 1x3x64x96\n")
}

func TestInputSizesThatDoNotFit(t *testing.T) {
	for want, input := range map[string]string{
		"--input: the model has no input": "nothing=1x3x64x64",
		"dimension 1 is fixed at 3":       "1x4x64x64",
		"want 4 sizes, got 2":             "64x64",
		"want sizes from 1 to":            "1x3xax64",
	} {
		code, _, errOut := run(t, "inspect", free, "--input", input)
		require.Equal(t, 2, code)
		require.Contains(t, errOut, want)
	}
}
