package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// A plan says which external data it was made for: with other data beside the same model file it is
// refused by prune and by verify, and nothing is written. Plans before version 3 do not say it.
func TestPlanOfOtherExternalData(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	f, err := onnxio.Open(fashion)
	require.NoError(t, err)
	require.NoError(t, f.Model.SaveExternal(at("m.onnx"), false))
	require.NoError(t, f.Close())
	ok(t, "prune", at("m.onnx"), "--speed-up", "1.5", "-o", at("a.onnx"), "--plan", at("p.json"), "-q")
	ok(t, "prune", at("m.onnx"), "--from-plan", at("p.json"), "-o", at("b.onnx"), "-q")
	once, err := os.ReadFile(at("a.onnx.data"))
	require.NoError(t, err)
	again, err := os.ReadFile(at("b.onnx.data"))
	require.NoError(t, err)
	require.Equal(t, once, again)
	raw, err := os.ReadFile(at("p.json"))
	require.NoError(t, err)
	p, err := planner.ParsePlan(raw)
	require.NoError(t, err)
	require.Len(t, p.DataSHA256, 64)

	data, err := os.ReadFile(at("m.onnx.data"))
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(at("m.onnx.data"), data, 0o644))
	for _, args := range [][]string{{"prune", at("m.onnx"), "--from-plan", at("p.json"), "-o", at("c.onnx"), "-q"}, {"verify", at("m.onnx"), at("a.onnx"), "--plan", at("p.json")}} {
		code, _, said := run(t, args...)
		require.Equal(t, exitInput, code, said)
		require.Contains(t, said, "it was made for the same model file with other external data (SHA-256 "+p.DataSHA256[:12])
		require.Contains(t, said, "give the data file that the plan was made with, or make a new plan")
	}
	require.NoFileExists(t, at("c.onnx"))

	var old map[string]any
	require.NoError(t, json.Unmarshal(raw, &old))
	old["version"] = 2
	delete(old, "data_sha256")
	delete(old["achieved"].(map[string]any), "seen_macs_ignored")
	raw, err = json.Marshal(old)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("old.json"), raw, 0o644))
	ok(t, "prune", at("m.onnx"), "--from-plan", at("old.json"), "-o", at("c.onnx"), "-q")
}
