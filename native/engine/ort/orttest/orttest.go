// Package orttest lets tests find ONNX Runtime: the library that METAPRUNE_ORT names, or that of the
// environment that `make venv` makes.
//
// # Limits
//
// Without the library a test is skipped, and in CI it fails.
//
// # Errors
//
// None: tests fail.
//
// # Concurrency
//
// As tests with t.Setenv: none in parallel.
package orttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/internal/judge"
	"github.com/stretchr/testify/require"
)

// Library loads ONNX Runtime, and lets the commands that the test runs find it too.
func Library(t testing.TB) *ort.Library {
	t.Helper()
	if os.Getenv(ort.Variable) == "" && os.Getenv("VIRTUAL_ENV") == "" {
		venv, err := filepath.Abs(filepath.Join(judge.Root(), ".venv"))
		require.NoError(t, err)
		t.Setenv("VIRTUAL_ENV", venv)
	}
	l, err := ort.Find()
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "ONNX Runtime has to be there in CI (make venv): %v", err)
		t.Skipf("ONNX Runtime is not there (make venv): %v", err)
	}
	return l
}
