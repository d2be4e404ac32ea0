//go:build unix

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// limited is the command line in a process whose files may not grow beyond 64 kB, which is what a disk that is full looks like in the middle of a file.
func limited(args ...string) *exec.Cmd {
	c := exec.Command("bash", append([]string{"-c", `ulimit -f 64; exec "$0" "$@"`, os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), "METAPRUNE_TEST_MAIN=1")
	return c
}

func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A disk that is full or may not be written to: exit code 2, the file's name, nothing left, and what was there before is still there.
func TestFullAndReadOnlyDisks(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.onnx")
	require.NoError(t, os.WriteFile(out, []byte("what was there"), 0o600))
	for _, args := range [][]string{{"prune", fashion, "--speed-up", "1.2", "--plan", filepath.Join(dir, "p.json"), "-o", out}, {"new", "vgg16", "-o", out}, {"graph", fashion, "-o", filepath.Join(dir, "out.json")}} {
		c := limited(append(args, "-q")...)
		said, err := c.CombinedOutput()
		require.Error(t, err, args)
		require.Equal(t, exitInput, c.ProcessState.ExitCode(), "%s: %s", args, said)
		require.Contains(t, string(said), args[len(args)-1], args)
		require.Contains(t, string(said), "file too large", args)
		require.Equal(t, "what was there", string(read(t, out)))
		require.Equal(t, []string{"out.onnx"}, filesIn(t, dir), args)
	}
	c := program("prune", fashion, "--speed-up", "1.2", "-o", "/proc/out.onnx")
	said, err := c.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, exitInput, c.ProcessState.ExitCode(), "%s", said)
	require.Contains(t, string(said), "/proc/out.onnx")
}

// Killed at any moment: the output is what it was or what it should be, and the model is untouched.
func TestKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	model, out, want := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "o.onnx"), filepath.Join(dir, "want.onnx")
	ok(t, "new", "resnet18", "--input", "3x64x64", "-o", model, "-q")
	before := read(t, model)
	start := time.Now()
	require.NoError(t, program("prune", model, "--ratio", "0.2", "-o", want, "-q").Run())
	whole := time.Since(start)
	good, killed, finished := read(t, want), 0, 0
	for i := range 24 {
		require.NoError(t, os.WriteFile(out, []byte("old"), 0o600))
		c := program("prune", model, "--ratio", "0.2", "-o", out, "-q")
		require.NoError(t, c.Start())
		time.Sleep(whole * time.Duration(i) / 20)
		_ = c.Process.Kill()
		if c.Wait() != nil {
			killed++
		}
		got := read(t, out)
		if string(got) == "old" {
			continue
		}
		require.Equal(t, len(good), len(got), "half written after %d/20 of the time", i)
		require.True(t, string(good) == string(got))
		finished++
	}
	require.Positive(t, killed)
	require.True(t, string(before) == string(read(t, model)))
	t.Logf("%d killed, %d had the new file", killed, finished)
}

// Out of memory at any moment: the output is what it was or what it should be.
func TestOutOfMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux bounds a process's address space")
	}
	dir := t.TempDir()
	model, out, want := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "o.onnx"), filepath.Join(dir, "want.onnx")
	ok(t, "new", "resnet18", "--input", "3x64x64", "-o", model, "-q")
	ok(t, "prune", model, "--ratio", "0.2", "-o", want, "-q")
	good, failed, finished := read(t, want), 0, 0
	for _, megabytes := range []int{500, 700, 900, 1100, 1300, 1500, 2000, 3000} {
		require.NoError(t, os.WriteFile(out, []byte("old"), 0o600))
		c := exec.Command("bash", "-c", fmt.Sprintf(`ulimit -v %d; exec "$0" "$@"`, megabytes<<10), os.Args[0], "prune", model, "--ratio", "0.2", "-o", out, "-q")
		c.Env = append(os.Environ(), "METAPRUNE_TEST_MAIN=1")
		said, err := c.CombinedOutput()
		got := read(t, out)
		if err != nil {
			require.Equal(t, "old", string(got), "%d MB", megabytes)
			failed++
			t.Logf("%d MB: %.80q", megabytes, said)
			continue
		}
		require.True(t, string(good) == string(got), "%d MB", megabytes)
		finished++
	}
	require.Positive(t, finished)
	t.Logf("%d ran out of memory, %d finished", failed, finished)
}

// A graph that would not fit into memory is refused before the system ends the program.
func TestTooLittleMemory(t *testing.T) {
	dir := t.TempDir()
	path, out := filepath.Join(dir, "long.onnx"), filepath.Join(dir, "out.onnx")
	g := &onnxio.Graph{Name: "long", Inputs: []*onnxio.ValueInfo{{Name: "x0", Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float}}}}}
	for i := range manyNodes {
		g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "Relu", Inputs: []string{fmt.Sprint("x", i)}, Outputs: []string{fmt.Sprint("x", i+1)}})
	}
	g.Outputs = []*onnxio.ValueInfo{{Name: fmt.Sprint("x", manyNodes)}}
	raw, err := (&onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: g}).Marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	has := memoryOf
	defer func() { memoryOf = has }()
	require.Greater(t, has(), uint64(1<<28), "what this machine has")
	memoryOf = func() uint64 { return 128 << 20 }
	code, _, said := run(t, "prune", path, "--ratio", "0.5", "-o", out)
	require.Equal(t, 2, code)
	require.Contains(t, said, "take about 200 MB of memory to work out, and here are 134 MB")
	require.Equal(t, []string{"long.onnx"}, filesIn(t, dir))
	ok(t, "inspect", fashion, "-q")
	memoryOf = func() uint64 { return 0 }
	ok(t, "inspect", path, "-q")
}
