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

// killedWriting starts the program and kills it a while after it has begun to write a data file beside out; it reports whether the program had ended before.
func killedWriting(t *testing.T, out string, after time.Duration, args ...string) bool {
	t.Helper()
	before, err := filepath.Glob(out + ".data.*")
	require.NoError(t, err)
	c := program(args...)
	require.NoError(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		drafts, err := filepath.Glob(out + ".data.*")
		require.NoError(t, err)
		select {
		case err := <-ended:
			return err == nil
		default:
		}
		if len(drafts) > len(before) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(after)
	_ = c.Process.Kill()
	return <-ended == nil
}

// Killed at any moment, a model with external data is the old one with the old data or the new one with the new, and the next run overwrites it.
func TestPairKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	ok(t, "new", "resnet18", "--input", "3x64x64", "-o", at("whole.onnx"), "-q")
	f, err := onnxio.Open(at("whole.onnx"))
	require.NoError(t, err)
	require.NoError(t, f.SaveExternal(at("m.onnx"), false))
	require.NoError(t, f.Close())
	loaded := func(path string) string {
		f, err := onnxio.Open(path)
		require.NoError(t, err)
		defer f.Close()
		require.True(t, f.HasExternal())
		whole, err := f.Inline()
		require.NoError(t, err)
		raw, err := whole.Marshal()
		require.NoError(t, err)
		return string(raw)
	}
	versions := map[string]string{}
	for _, ratio := range []string{"0.2", "0.3"} {
		ok(t, "prune", at("m.onnx"), "--ratio", ratio, "-o", at(ratio+".onnx"), "-q")
		versions[loaded(at(ratio+".onnx"))] = ratio
	}
	require.Len(t, versions, 2)
	ok(t, "prune", at("m.onnx"), "--ratio", "0.2", "-o", at("o.onnx"), "-q")
	seen := map[string]int{}
	for i := range 30 {
		old := versions[loaded(at("o.onnx"))]
		other := map[string]string{"0.2": "0.3", "0.3": "0.2"}[old]
		ended := killedWriting(t, at("o.onnx"), time.Duration(i*i)*300*time.Microsecond, "prune", at("m.onnx"), "--ratio", other, "-o", at("o.onnx"), "-q")
		version, isOne := versions[loaded(at("o.onnx"))]
		require.True(t, isOne, "neither the old model nor the new one, killed in run %d", i)
		seen[fmt.Sprintf("the new one %t, ended %t", version == other, ended)]++
		drafts, err := filepath.Glob(at("o.onnx.data.*"))
		require.NoError(t, err)
		for _, d := range drafts { // of killed runs, unless the model names it
			f, err := onnxio.Open(at("o.onnx"))
			require.NoError(t, err)
			if f.DataFiles()[0] != filepath.Base(d) {
				require.NoError(t, os.Remove(d))
			}
			require.NoError(t, f.Close())
		}
	}
	require.Positive(t, seen["the new one false, ended false"], "%v", seen)
	ok(t, "prune", at("m.onnx"), "--ratio", "0.3", "-o", at("o.onnx"), "-q")
	require.Equal(t, "0.3", versions[loaded(at("o.onnx"))])
	t.Log(seen)
}

// The plan does not fit on the disk any more, and so the model is not written either.
func TestModelAndPlanAreWrittenTogether(t *testing.T) {
	dir := t.TempDir()
	model, out, plan := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "o.onnx"), filepath.Join(dir, "p.json")
	ok(t, "new", "mlp", "--widths", "4000", "--input", "1x1x2", "--classes", "2", "-o", model, "-q")
	args := []string{"prune", model, "--ratio", "0.9", "-o", out, "--plan", plan, "-q"}
	ok(t, args...)
	require.Less(t, len(read(t, out)), 32<<10)
	require.Greater(t, len(read(t, plan)), 16<<10)
	require.NoError(t, os.Remove(out))
	require.NoError(t, os.Remove(plan))
	c := exec.Command("bash", append([]string{"-c", `ulimit -f 16; exec "$0" "$@"`, os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), "METAPRUNE_TEST_MAIN=1")
	said, err := c.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), plan+": file too large; nothing was changed")
	require.Equal(t, []string{"m.onnx"}, filesIn(t, dir))
}

// Process substitution of a shell: what it names is written to and read as a pipe.
func TestProcessSubstitution(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	ok(t, "prune", fashion, "--speed-up", "1.5", "-o", at("want.onnx"), "--plan", at("want.json"), "-q")
	c := exec.Command("bash", "-c", `set -o pipefail; "$0" prune <(cat "$1") --speed-up 1.5 -o >(cat >"$2/o.onnx") --plan >(cat >"$2/p.json") -q; status=$?; sleep 0.5; exit $status`, os.Args[0], fashion, dir)
	c.Env = append(os.Environ(), "METAPRUNE_TEST_MAIN=1")
	said, err := c.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Equal(t, string(read(t, at("want.onnx"))), string(read(t, at("o.onnx"))))
	require.Equal(t, string(read(t, at("want.json"))), string(read(t, at("p.json"))))
	c = exec.Command("bash", "-c", `"$0" prune "$1" --from-plan <(cat "$2/want.json") -o /dev/stdout | cat >"$2/again.onnx"`, os.Args[0], fashion, dir)
	c.Env = append(os.Environ(), "METAPRUNE_TEST_MAIN=1")
	said, err = c.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), "MACs", "the tables are on standard error")
	require.Equal(t, string(read(t, at("want.onnx"))), string(read(t, at("again.onnx"))))
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
	require.Contains(t, said, "needs about 200 MB of memory for the analysis, but 134 MB are available")
	require.Equal(t, []string{"long.onnx"}, filesIn(t, dir))
	ok(t, "inspect", fashion, "-q")
	memoryOf = func() uint64 { return 0 }
	ok(t, "inspect", path, "-q")
}
