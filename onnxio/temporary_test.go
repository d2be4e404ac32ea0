package onnxio

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that is being written when the process ends is removed, and what was there before is still there.
func TestRemoveTemporary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.onnx")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	err := WriteFile(path, func(w io.Writer) error {
		_, err := w.Write([]byte("half"))
		require.NoError(t, err)
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 2)
		removeNoted()
		files, err = os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 1)
		return nil
	})
	require.Error(t, err)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	require.Empty(t, temporary.paths)
}
