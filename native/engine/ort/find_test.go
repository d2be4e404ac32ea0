package ort_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// put writes an empty file under a folder and returns its real path.
func put(t *testing.T, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	real, err := filepath.EvalSymlinks(file)
	require.NoError(t, err)
	return real
}

// The environment's library comes before the conda one, node's and the user's own; what node's providers are called is no library.
func TestCandidatesInOrder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the names of Linux")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(ort.Variable, "")
	t.Setenv("METAPRUNE_PYTHON", filepath.Join(dir, "none"))
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("VIRTUAL_ENV", filepath.Join(dir, "venv"))
	t.Setenv("CONDA_PREFIX", filepath.Join(dir, "conda"))
	machine := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	want := []string{
		put(t, dir, "venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0"),
		put(t, dir, "conda/lib/libonnxruntime.so"),
		put(t, dir, "node_modules/onnxruntime-node/bin/napi-v6/linux", machine, "libonnxruntime.so.1"),
		put(t, dir, ".local/lib/onnxruntime/libonnxruntime.so"),
		put(t, dir, "cache/metaprune/onnxruntime/libonnxruntime.so"),
	}
	put(t, dir, "venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime_providers_shared.so")
	require.NoError(t, os.Symlink("libonnxruntime.so", filepath.Join(dir, "conda/lib/libonnxruntime.so.1"))) // the same file again
	var got []string
	for f := range ort.Candidates {
		if rel, err := filepath.Rel(dir, f); err == nil && filepath.IsLocal(rel) {
			got = append(got, f)
		}
	}
	require.Equal(t, want, got)

	t.Setenv(ort.Variable, "/named.so")
	require.Equal(t, []string{"/named.so"}, slices.Collect(ort.Candidates), "what is named is not replaced by another one")
}

func TestLoadSaysWhy(t *testing.T) {
	orttest.Library(t)
	dir := t.TempDir()
	text := put(t, dir, "text.so")
	require.NoError(t, os.WriteFile(text, []byte("no library"), 0o644))
	for _, path := range []string{filepath.Join(dir, "missing.so"), text} {
		t.Setenv(ort.Variable, path)
		_, err := ort.Find()
		var load *ort.LoadError
		require.ErrorAs(t, err, &load)
		require.Equal(t, path, load.Path)
		require.ErrorContains(t, err, "cannot be loaded")
	}
	t.Setenv(ort.Variable, "")
	t.Setenv("VIRTUAL_ENV", dir)
	bad := put(t, dir, "lib/libonnxruntime.so")
	require.NoError(t, os.WriteFile(bad, []byte("no library"), 0o644))
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "CONDA_PREFIX", "METAPRUNE_PYTHON"} {
		t.Setenv(name, filepath.Join(dir, "none"))
	}
	_, err := ort.Find()
	if err == nil {
		return // the system has one
	}
	var missing *ort.NotFoundError
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, bad)
	require.ErrorContains(t, err, "pip install onnxruntime")
	require.NotErrorAs(t, err, new(*onnxio.UnsupportedError))
}
