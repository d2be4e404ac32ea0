package cli

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Sizes of inputs are those that explain counts at, and that verify draws random inputs of; eval checks
// them, and graph, which counts nothing, refuses them.
func TestSizesOfInputs(t *testing.T) {
	const model = "../../testdata/models/gnfree.ts.onnx" // batch, height and width are free
	dir := t.TempDir()
	small, plan := filepath.Join(dir, "small.onnx"), filepath.Join(dir, "plan.json")
	ok(t, "prune", model, "--ratio", "0.3", "-o", small, "--plan", plan, "-q")

	macs := func(args ...string) int64 {
		return decode[[]explanation](t, ok(t, append([]string{"explain", model, "g1", "--json"}, args...)...))[0].MACs
	}
	require.Equal(t, macs("--input", "1x3x224x224"), macs(), "the assumed sizes")
	require.Equal(t, macs("--input", "1x3x64x32"), 8*macs("--input", "input=1x3x16x16"))
	require.Contains(t, ok(t, "explain", model, "g1", "--input", "1x3x32x32"), "counted at input = 1x3x32x32")

	for _, size := range []string{"2x3x24x40", "input=1x3x32x32"} {
		require.Contains(t, ok(t, "verify", model, small, "--plan", plan, "--engine", "go", "--input", size), "verdict: equal")
	}
	for _, args := range [][]string{{"explain", model, "g1"}, {"verify", model, small, "--plan", plan}, {"eval", model, "--data", "fashion-mnist"}} {
		code, _, said := run(t, append(args, "--input", "1x4x32x32")...)
		require.Equal(t, exitInput, code, said)
		require.Contains(t, said, `dimension 1 is fixed at 3`)
	}
	code, _, said := run(t, "verify", model, small, "--input", "1x3x32x32")
	require.Equal(t, exitInput, code, said)
	require.Contains(t, said, "--plan, which names the removed slices")
	code, _, said = run(t, "graph", model, "--input", "1x3x32x32", "-o", filepath.Join(dir, "g.svg"))
	require.Equal(t, exitInput, code, said)
	require.Contains(t, said, "a graph holds no MACs")
	require.NoFileExists(t, filepath.Join(dir, "g.svg"))
}
