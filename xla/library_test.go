package xla_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program in docs/library.md runs as it stands.
func TestProgramOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/library.md")
	require.NoError(t, err)
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, program)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), program[1], 0o600))
	data, err := os.ReadFile("../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o600))
	built, err := exec.Command("go", "build", "-o", filepath.Join(dir, "program"), filepath.Join(dir, "main.go")).CombinedOutput()
	require.NoError(t, err, "%s", built)
	run := exec.Command(filepath.Join(dir, "program"))
	run.Dir = dir
	said, err := run.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Regexp(t, `^cosine to the original's outputs: 0\.\d\d -> 0\.\d\d\n$`, string(said))
	for _, name := range []string{"small.onnx", "plan.json", "plan.repaired.safetensors"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
}
