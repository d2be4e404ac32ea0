package spill

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was put comes back, and the folder goes with the last value.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "values")
	f := New(func() (string, func(), error) {
		return dir, func() { require.NoError(t, os.Remove(dir)) }, os.Mkdir(dir, 0o700)
	})
	require.NoDirExists(t, dir)
	for range 2 {
		require.NoError(t, f.Put("a", []float32{1, -2.5, 3}))
		require.NoError(t, f.Put("b", nil))
		got := make([]float32, 3)
		require.NoError(t, f.Get("a", got))
		require.Equal(t, []float32{1, -2.5, 3}, got)
		require.Error(t, f.Get("a", make([]float32, 4)), "fewer floats were kept")
		require.Error(t, f.Get("c", got))
		require.NoError(t, f.Drop("a"))
		require.NoError(t, f.Drop("b"))
		require.NoDirExists(t, dir)
	}
}

func TestFolderReportsItsOpening(t *testing.T) {
	f := New(func() (string, func(), error) { return "", nil, os.ErrPermission })
	require.ErrorIs(t, f.Put("a", nil), os.ErrPermission)
}
