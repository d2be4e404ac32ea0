package cli

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	all := decode[[]explanation](t, ok(t, "explain", fashion, "conv1.weight", "--json", "--draw", filepath.Join(dir, "a.svg")+","+filepath.Join(dir, "a.dot")))
	require.Len(t, all, 1)
	require.Equal(t, "conv1.weight", all[0].Group)
	require.Empty(t, all[0].Frozen)
	require.Contains(t, all[0].Members, explainedMember{"layers.0.conv1.weight", 1, "input"})
	require.FileExists(t, filepath.Join(dir, "a.svg"))
	require.Contains(t, string(read(t, filepath.Join(dir, "a.dot"))), "digraph")
	require.Contains(t, ok(t, "explain", fashion, "layers.1.conv1.weight"), "one by one")
	require.Greater(t, len(decode[[]explanation](t, ok(t, "explain", fashion, "layers.*.conv1.weight", "--json"))), 3)
	frozen := decode[[]explanation](t, ok(t, "explain", filepath.Join("..", "..", "testdata", "models", "unknown.onnx"), "*", "--json"))
	named := 0
	for _, e := range frozen {
		if e.Frozen != "" && e.Node != "" {
			named++
		}
	}
	require.Positive(t, named)
	for want, args := range map[string][]string{
		"is no tensor": {"explain", fashion, "no.such.layer"},
		"ends in .svg": {"explain", fashion, "conv1.weight", "--draw", filepath.Join(dir, "a.gif")},
		"groups fit":   {"explain", fashion, "layers.*", "--draw", filepath.Join(dir, "b.svg")},
	} {
		code, _, message := run(t, args...)
		require.Equal(t, exitInput, code, args)
		require.Contains(t, message, want)
	}
}
