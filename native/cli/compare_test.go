package cli

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

// verdictOf prunes a model to 1.5x and verifies it in an engine.
func verdictOf(t *testing.T, model, engine string) verify.Verdict {
	t.Helper()
	dir := t.TempDir()
	out, plan := filepath.Join(dir, "o.onnx"), filepath.Join(dir, "p.json")
	ok(t, "prune", model, "--speed-up", "1.5", "-o", out, "--plan", plan, "-q")
	var v verify.Verdict
	require.NoError(t, json.Unmarshal([]byte(ok(t, "verify", model, out, "--plan", plan, "--engine", engine, "--json")), &v))
	return v
}

func TestVerifyEngines(t *testing.T) {
	t.Setenv(ort.Variable, "/nowhere") // auto is one in pure Go
	models := map[string]string{fashion: "onnx-go with Gorgonia", "../../testdata/models/functions.onnx": "GoMLX, backend go"}
	for model, auto := range models {
		for engine, name := range map[string]string{"auto": auto, "go": "GoMLX, backend go"} {
			v := verdictOf(t, model, engine)
			require.True(t, v.Compared, "%s: %s", model, v.Engine)
			require.Equal(t, name, v.Engine)
			require.Less(t, *v.Error, 1e-5, model)
		}
	}
	if b, err := xla.Open(xla.CPU); err == nil {
		b.Finalize()
		v := verdictOf(t, fashion, "xla")
		require.True(t, v.Compared && *v.Error < 1e-5, v)
		require.Contains(t, v.Engine, "GoMLX, backend xla:")
	}
	v := verdictOf(t, "../../testdata/models/mlp_bn.ts.onnx", "go")
	require.True(t, v.OK)
	code, _, said := run(t, "verify", fashion, fashion, "--engine", "abacus")
	require.Equal(t, 2, code)
	require.Contains(t, said, "want auto, gorgonia")
}

func TestVerifyInONNXRuntime(t *testing.T) {
	orttest.Library(t)
	for _, model := range []string{"quantised", "attention", "control"} { // which no other engine runs
		v := verdictOf(t, "../../testdata/models/"+model+".onnx", "ort")
		require.True(t, v.Compared, "%s: %s", model, v.Engine)
		require.Equal(t, "ONNX Runtime", v.Engine)
		require.Less(t, *v.Error, 1e-5, model)
	}
}

// A comparison that cannot fail would be none: two different models differ in every engine.
func TestComparisonSeesADifference(t *testing.T) {
	load := func(name string) *onnxio.Model {
		m, err := onnxio.Decode(read(t, name), nil)
		require.NoError(t, err)
		return m
	}
	a, b := load(fashion), load(fashion)
	w, err := b.Graph.Initializers[0].Float32s()
	require.NoError(t, err)
	for i := range w {
		w[i] = -w[i]
	}
	b.Graph.Initializers[0].SetFloat32s(w)
	for _, engine := range enginesOf("auto") {
		worst, err := engine.Compare(context.Background(), a, b, 0)
		require.NoError(t, err)
		require.Greater(t, worst, 1e-2, engine.Name())
		worst, err = engine.Compare(context.Background(), a, a, 0)
		require.NoError(t, err)
		require.Zero(t, worst, engine.Name())
	}
}

// A plan that is written anew from another one, in another folder, has the tensors of the repair beside it and is replayed with the same bytes.
func TestPlanTakesItsRepairAlong(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	model := "../../testdata/models/mlp_bn.ts.onnx"
	ok(t, "prune", model, "--speed-up", "1.5", "--repair", "noise", "--backend", "go", "-o", filepath.Join(first, "a.onnx"), "--plan", filepath.Join(first, "p.json"), "-q")
	ok(t, "prune", model, "--from-plan", filepath.Join(first, "p.json"), "-o", filepath.Join(second, "b.onnx"), "--plan", filepath.Join(second, "q.json"), "-q")
	ok(t, "prune", model, "--from-plan", filepath.Join(second, "q.json"), "-o", filepath.Join(second, "c.onnx"), "-q")
	want := read(t, filepath.Join(first, "a.onnx"))
	require.Equal(t, want, read(t, filepath.Join(second, "b.onnx")))
	require.Equal(t, want, read(t, filepath.Join(second, "c.onnx")))
	code, _, said := run(t, "prune", model, "--from-plan", filepath.Join(first, "p.json"), "-o", filepath.Join(second, "d.repaired.safetensors"), "--plan", filepath.Join(second, "d.json"))
	require.Equal(t, 2, code)
	require.Contains(t, said, "the repaired tensors of the new plan")
	require.NoFileExists(t, filepath.Join(second, "d.json"))
}
