package ort_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/stretchr/testify/require"
)

// managers makes a folder of programs the only one on PATH and lets the cache be a new folder.
func managers(t *testing.T) (programs string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("programs are shell scripts, and the names those of Linux")
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv("METAPRUNE_PYTHON", "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	return dir
}

// manager writes a program that puts a package into the folder that it runs in.
func manager(t *testing.T, dir, name, fetched, as string) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\n/bin/cp %s %s\n", fetched, as)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
}

func wheel(t *testing.T, dir, entry string, contents []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"onnxruntime/capi/libonnxruntime_providers_shared.so", entry} {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write(contents)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return written(t, dir, "wheel", b.Bytes())
}

func nodePackage(t *testing.T, dir string, contents []byte) string {
	t.Helper()
	machine := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, name := range []string{"package/bin/napi-v6/win32/x64/libonnxruntime.so.1", "package/bin/napi-v6/linux/" + machine + "/libonnxruntime.so.1"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(contents)), Mode: 0o644, Typeflag: tar.TypeReg}))
		_, err := w.Write(contents)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, g.Close())
	return written(t, dir, "node", b.Bytes())
}

func written(t *testing.T, dir, name string, contents []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, contents, 0o644))
	return file
}

// What pip fetches is loaded from the user's cache, and so is what npm fetches where pip fails.
func TestInstall(t *testing.T) {
	l := orttest.Library(t)
	contents, err := os.ReadFile(l.Path)
	require.NoError(t, err)
	dir := managers(t)
	var log bytes.Buffer

	manager(t, dir, "npm", nodePackage(t, dir, contents), "onnxruntime-node-1.0.0.tgz")
	got, err := ort.Install(t.Context(), &log)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "cache/metaprune/onnxruntime/libonnxruntime.so.1"), got.Path)
	require.Contains(t, log.String(), "running npm pack")

	manager(t, dir, "python3", wheel(t, dir, "onnxruntime/capi/libonnxruntime.so.1.2.3", contents), "onnxruntime-1.0.0-py3-none-any.whl")
	got, err = ort.Install(t.Context(), &log)
	require.NoError(t, err)
	require.Equal(t, l.Version, got.Version)
	require.Equal(t, filepath.Join(dir, "cache/metaprune/onnxruntime/libonnxruntime.so.1.2.3"), got.Path)
	require.Contains(t, log.String(), "running python3 -m pip download")
	require.Contains(t, log.String(), "installed ONNX Runtime "+l.Version+" as "+got.Path)
}

// Errors say what each package manager said; a library that cannot be loaded does not stay.
func TestInstallSaysWhy(t *testing.T) {
	orttest.Library(t)
	dir := managers(t)
	var log bytes.Buffer
	_, err := ort.Install(t.Context(), &log)
	var install *ort.InstallError
	require.ErrorAs(t, err, &install)
	require.ErrorContains(t, err, "python3 is not installed; npm is not installed")
	require.Empty(t, log.String())

	require.NoError(t, os.WriteFile(filepath.Join(dir, "python3"), []byte("#!/bin/sh\necho trying\necho no network >&2\nexit 1\n"), 0o755))
	_, err = ort.Install(t.Context(), &log)
	require.ErrorContains(t, err, "python3 fetched no package: no network; npm is not installed")

	manager(t, dir, "python3", wheel(t, dir, "onnxruntime/other.so", nil), "onnxruntime-1.whl")
	_, err = ort.Install(t.Context(), &log)
	var none *ort.NoLibraryError
	require.ErrorAs(t, err, &none)

	manager(t, dir, "python3", wheel(t, dir, "onnxruntime/capi/libonnxruntime.so.1", []byte("no library")), "onnxruntime-1.whl")
	_, err = ort.Install(t.Context(), &log)
	var load *ort.LoadError
	require.ErrorAs(t, err, &load)
	left, err := os.ReadDir(filepath.Join(dir, "cache/metaprune/onnxruntime"))
	require.NoError(t, err)
	require.Empty(t, left)
}
