package outfile

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Files that are being written when the process ends are removed, and what was there before is still there.
func TestRemoveTemporary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	ending := func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		require.NoError(t, err)
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Greater(t, len(files), 1)
		removeNoted()
		files, err = os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 1)
		return nil
	}
	require.Error(t, Write(path, ending))
	require.Error(t, WritePair(path, Pair{Data: func(w io.Writer) error { _, err := io.WriteString(w, "data"); return err }, Model: func(w io.Writer, _ string) error { return ending(w) }}))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	require.Empty(t, temporary.paths)
}
