package cli

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// Layers that an exporter (jax2onnx) has put into functions of the model, weights and all, are pruned behind inline; what is written computes the same, and is the model of testdata that TestJudge has judged.
func TestInline(t *testing.T) {
	dir := t.TempDir()
	model, flat, out := filepath.Join("..", "..", "testdata", "functions", "experts.onnx"), filepath.Join(dir, "flat.onnx"), filepath.Join(dir, "out.onnx")
	code, _, said := run(t, "prune", model, "--speed-up", "1.5", "-o", out)
	require.Equal(t, exitTarget, code)
	require.Contains(t, said, "cannot be reached")
	require.Contains(t, ok(t, "inspect", model, "--json"), "metaprune inline")
	require.Contains(t, ok(t, "inline", model, "-o", flat), "nodes, before 1")
	require.Equal(t, read(t, filepath.Join("..", "..", "testdata", "models", "experts.onnx")), read(t, flat))
	ok(t, "prune", flat, "--speed-up", "1.5", "-o", out, "-q")
	again := filepath.Join(dir, "again.onnx")
	require.Zero(t, decode[inlined](t, ok(t, "inline", flat, "-o", again, "--json")).Stay)
	require.Equal(t, read(t, flat), read(t, again))
	require.Equal(t, read(t, flat), []byte(ok(t, "inline", model, "-o", "-", "-q")))
	for want, args := range map[string][]string{"would be overwritten": {"inline", flat, "-o", flat}, "no such file": {"inline", filepath.Join(dir, "none.onnx"), "-o", out}} {
		code, _, said := run(t, args...)
		require.Equal(t, exitInput, code, args)
		require.Contains(t, strings.ToLower(said), want)
	}
}

// Weights inside the branches of an If whose condition is an input are moved out and pruned; what is written is the model of testdata that TestJudge has judged.
func TestInlineMovesWeightsOutOfBranches(t *testing.T) {
	dir := t.TempDir()
	model, flat, out := filepath.Join("..", "..", "testdata", "functions", "if_in.onnx"), filepath.Join(dir, "flat.onnx"), filepath.Join(dir, "out.onnx")
	code, _, _ := run(t, "prune", model, "--speed-up", "1.5", "-o", out)
	require.Equal(t, exitTarget, code)
	require.Contains(t, ok(t, "inspect", model, "--json"), "metaprune inline")
	require.Contains(t, ok(t, "inline", model, "-o", flat), "6 weights were moved out of the branches of Ifs")
	require.Equal(t, read(t, filepath.Join("..", "..", "testdata", "models", "if_in.onnx")), read(t, flat))
	ok(t, "prune", flat, "--speed-up", "1.5", "-o", out, "-q")
}

func TestInlinedComputesTheSame(t *testing.T) {
	orttest.Library(t)
	for _, name := range []string{"functions/experts", "models/functions", "models/branches"} {
		model, flat := filepath.Join("..", "..", "testdata", name+".onnx"), filepath.Join(t.TempDir(), "flat.onnx")
		ok(t, "inline", model, "-o", flat, "-q")
		before, err := onnxio.Decode(read(t, model), nil)
		require.NoError(t, err)
		after, err := onnxio.Decode(read(t, flat), nil)
		require.NoError(t, err)
		require.Empty(t, after.Functions, name)
		require.Greater(t, len(after.Graph.Nodes), len(before.Graph.Nodes), name)
		worst, err := onnxRuntime{}.Compare(context.Background(), before, after, 0)
		require.NoError(t, err, name)
		require.Less(t, worst, 1e-6, name)
	}
}
