package cli

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/stretchr/testify/require"
)

func TestLatency(t *testing.T) {
	orttest.Library(t)
	dir := t.TempDir()
	model, out, plan := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "o.onnx"), filepath.Join(dir, "p.json")
	ok(t, "new", "vgg16", "--input", "3x32x32", "--width", "0.5", "-o", model, "-q")
	var r result
	require.NoError(t, json.Unmarshal([]byte(ok(t, "prune", model, "--latency", "1.5", "--round-to", "4", "-o", out, "--plan", plan, "--json")), &r))
	require.GreaterOrEqual(t, r.Latency.Before/r.Latency.After, 1.5)
	require.Greater(t, r.SpeedUp, 1.0)
	require.Greater(t, len(r.Latency.Tried), 2)
	for _, g := range r.Groups {
		require.Zero(t, (g.Size-len(g.Removed))%r.Latency.RoundTo, "%+v in multiples of %d", g, r.Latency.RoundTo)
	}
	ok(t, "prune", model, "--from-plan", plan, "-o", filepath.Join(dir, "again.onnx"), "-q")
	require.Equal(t, read(t, out), read(t, filepath.Join(dir, "again.onnx")))

	code, _, said := run(t, "prune", model, "--latency", "1ns", "--round-to", "16", "-o", out, "-q")
	require.Equal(t, exitTarget, code, said)
	require.Contains(t, said, "not reached")
	for want, args := range map[string][]string{" is a target: omit ": {"--latency", "2", "--speed-up", "2"}, "times as fast": {"--latency", "soon"}} {
		code, _, said := run(t, append([]string{"prune", model, "-o", out}, args...)...)
		require.Equal(t, exitInput, code)
		require.Contains(t, said, want)
	}
	t.Setenv(ort.Variable, "/nowhere")
	code, _, said = run(t, "prune", model, "--latency", "2", "-o", out, "-q")
	require.Equal(t, exitInput, code)
	require.Contains(t, said, "/nowhere: cannot be loaded")
}
