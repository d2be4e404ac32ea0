package cli

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaprune/metaprune/onnxio/hostile"
	"github.com/stretchr/testify/require"
)

// calm checks what may be said about a hostile file: an exit code that means something, no crash, and nothing that a terminal would obey.
func calm(t *testing.T, name string, code int, said string) {
	t.Helper()
	require.Contains(t, []int{0, 1, 2}, code, name)
	for _, bad := range []string{"panic", "goroutine", "please report", "runtime error", "\x1b", "\x00", "\x07", "\r"} {
		require.NotContains(t, said, bad, "%s: %.300s", name, said)
	}
	if code != 0 {
		require.NotEmpty(t, strings.TrimSpace(said), name)
		require.Less(t, len(said), 3000, "%s: an error is a sentence", name)
	}
}

func TestAttacks(t *testing.T) {
	for _, f := range hostile.Files() {
		dir := t.TempDir()
		model, out := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "out.onnx")
		require.NoError(t, os.WriteFile(model, f.Data, 0o600))
		for _, args := range [][]string{{"inspect", model, "--groups"}, {"prune", model, "--ratio", "0.2", "-o", out}, {"graph", model, "-o", filepath.Join(dir, "g.svg")}} {
			start := time.Now()
			code, printed, said := run(t, args...)
			calm(t, f.Name, code, said)
			for _, bad := range []string{"\x1b", "\x00", "\x07"} {
				require.NotContains(t, printed, bad, f.Name)
			}
			require.Less(t, time.Since(start), 20*time.Second, "%s: %v", f.Name, args)
			if args[0] == "prune" {
				if code == 0 {
					code, _, said = run(t, "inspect", out)
					require.Zero(t, code, "%s: %s", f.Name, said)
				} else {
					require.NoFileExists(t, out, f.Name)
				}
				t.Logf("%-45s %d %.160s", f.Name, code, strings.TrimSpace(said))
			}
		}
	}
}

func TestHostilePlans(t *testing.T) {
	data := read(t, fashion)
	dir := t.TempDir()
	plan, out := filepath.Join(dir, "plan.json"), filepath.Join(dir, "out.onnx")
	for _, f := range hostile.Plans(fmt.Sprintf("%x", sha256.Sum256(data)), "layers.0.conv1.weight", 16) {
		require.NoError(t, os.WriteFile(plan, f.Data, 0o600))
		code, _, said := run(t, "prune", fashion, "--from-plan", plan, "-o", out)
		calm(t, f.Name, code, said)
		require.Equal(t, exitInput, code, "%s: %s", f.Name, said)
		require.NoFileExists(t, out, f.Name)
		t.Logf("%-35s %.160s", f.Name, strings.TrimSpace(said))
	}
}

// External data behind a symbolic link that leads out of the model's folder is not read, whatever is there.
func TestSymbolicLinkOutOfTheFolder(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret.bin"), make([]byte, 128), 0o600))
	if err := os.Symlink(filepath.Join(outside, "secret.bin"), filepath.Join(dir, "weights.bin")); err != nil {
		t.Skip("no symbolic links here")
	}
	m := small()
	m.Graph.Initializers[0].SetExternal("weights.bin", 0, 128)
	data, err := m.Marshal()
	require.NoError(t, err)
	model, out := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "out.onnx")
	require.NoError(t, os.WriteFile(model, data, 0o600))
	code, _, said := run(t, "prune", model, "--ratio", "0.2", "-o", out)
	require.Equal(t, exitInput, code)
	require.Contains(t, said, "weights.bin")
	require.Contains(t, said, "escapes")
	require.NoFileExists(t, out)
}
