package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/experiment"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

var fashionData = []string{"--images", "../../testdata/fashion-test-1000-images-idx3-ubyte.gz", "--labels", "../../testdata/fashion-test-1000-labels-idx1-ubyte.gz"}

// eachBackend runs a test on every backend of this machine.
func eachBackend(t *testing.T, f func(t *testing.T, backend string)) {
	t.Helper()
	onBackends(t, []string{"go", "xla:cpu"}, f)
}

// eachBackendAtLength is eachBackend in a long run. A short one takes the backend go alone, for tests of what is around a backend: that XLA trains, repairs, evaluates and
// resumes is what TestTrainPruneFinetune, TestKeepZeros, TestKilledRunsResume, TestRepairOnSamples and TestMetatrain show in a short run too.
func eachBackendAtLength(t *testing.T, f func(t *testing.T, backend string)) {
	t.Helper()
	if testing.Short() {
		onBackends(t, []string{"go"}, f)
		return
	}
	eachBackend(t, f)
}

func onBackends(t *testing.T, kinds []string, f func(t *testing.T, backend string)) {
	t.Helper()
	for _, kind := range kinds {
		b, err := xla.Open(kind)
		if err != nil {
			t.Logf("%s is skipped: %v", kind, err)
			continue
		}
		b.Finalize()
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

func decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

func tinyNet(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tiny.onnx")
	ok(t, "new", "resnet8", "--width", "0.25", "--input", "1x28x28", "-o", path, "-q")
	return path
}

// From new weights to a pruned and finetuned model, with every command in between.
func TestTrainPruneFinetune(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		common := append([]string{"--backend", backend, "--json"}, fashionData...)
		trained := decode[train.Result](t, ok(t, append([]string{"train", tinyNet(t, dir), "--epochs", "6", "--batch", "32", "--lr", "0.2", "-o", at("trained.onnx")}, common...)...))
		require.Greater(t, trained.Last.Accuracy, .5, "chance is 0.1")
		for _, f := range []string{"config.json", "metrics.jsonl", "curves.svg", "report.html", "result.json", "model.onnx", "best.onnx"} {
			require.FileExists(t, filepath.Join(at("trained.run"), f))
		}
		require.Equal(t, 6, strings.Count(string(read(t, at("trained.run/metrics.jsonl"))), "\n"))
		require.NotRegexp(t, `(src|href)="?http`, string(read(t, at("trained.run/report.html"))), "the report needs no network")

		e := decode[evaluation](t, ok(t, append([]string{"eval", at("trained.onnx")}, common...)...))
		require.Equal(t, backend, e.Engine)
		require.Greater(t, e.Accuracy, .5)
		independent := decode[evaluation](t, ok(t, append([]string{"eval", at("trained.onnx"), "--backend", "onnx-go", "--json"}, fashionData...)...))
		require.InDelta(t, e.Accuracy, independent.Accuracy, .0021)
		require.InDelta(t, e.Loss, independent.Loss, 1e-3)

		ok(t, "prune", at("trained.onnx"), "--speed-up", "2", "-o", at("small.onnx"), "-q")
		before := decode[evaluation](t, ok(t, append([]string{"eval", at("small.onnx")}, common...)...))
		tuned := decode[train.Result](t, ok(t, append([]string{"finetune", at("small.onnx"), "--epochs", "3", "--batch", "32", "--teacher", at("trained.onnx"), "-o", at("tuned.onnx")}, common...)...))
		require.Greater(t, tuned.Last.Accuracy, before.Accuracy)
		require.Nil(t, tuned.Test, "files that are named are for training")

		points := decode[[]experiment.Point](t, ok(t, append([]string{"curve", at("trained.onnx"), "--speed-up", "1.5,2", "--criterion", "l2,random", "--repair", "noise", "--samples", "20", "--limit", "200", "--csv", at("c.csv"), "--plot", at("c.svg") + "," + at("c.png")}, common...)...))
		require.Len(t, points, 5)
		require.Equal(t, 6, strings.Count(string(read(t, at("c.csv"))), "\n"))
		require.Contains(t, string(read(t, at("c.svg"))), "speed-up")
		require.True(t, bytes.HasPrefix(read(t, at("c.png")), []byte("\x89PNG")))
	})
}

// Weights that are zero stay zero, and everything else learns.
func TestKeepZeros(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		ok(t, "prune", tinyNet(t, dir), "--pattern", "2:4", "-o", at("sparse.onnx"), "-q")
		ok(t, append([]string{"finetune", at("sparse.onnx"), "--epochs", "1", "--batch", "32", "--limit", "400", "--keep-zeros", "--backend", backend, "-o", at("tuned.onnx"), "-q"}, fashionData...)...)
		before, after := zeros(t, at("sparse.onnx")), zeros(t, at("tuned.onnx"))
		require.NotEmpty(t, before)
		for name, z := range before {
			for i := range z {
				require.True(t, !z[i] || after[name][i], "%s[%d]", name, i)
			}
		}
		require.NotEqual(t, read(t, at("sparse.onnx")), read(t, at("tuned.onnx")))
	})
}

func zeros(t *testing.T, path string) map[string][]bool {
	t.Helper()
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	defer f.Close()
	out := map[string][]bool{}
	for _, x := range f.Graph.Initializers {
		if v, err := x.Float32s(); err == nil && len(x.Dims) == 4 {
			for _, w := range v {
				out[x.Name] = append(out[x.Name], w == 0)
			}
		}
	}
	return out
}

// program is the command line in a process of its own.
func program(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "METAPRUNE_TEST_MAIN=1")
	return c
}

// wrongClock dates everything in a folder to some year, as a machine whose clock is wrong does.
func wrongClock(t *testing.T, dir string, year int) {
	t.Helper()
	at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	}))
}

// A run that is killed, or interrupted, and started again, on a machine with another clock too, ends with the bytes of one that was left alone.
func TestKilledRunsResume(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		ways := map[string]syscall.Signal{"killed": syscall.SIGKILL, "interrupted": syscall.SIGINT, "finetuned": syscall.SIGKILL}
		if testing.Short() && backend != "go" { // how it ends has nothing to do with the backend, and every run compiles anew
			ways = map[string]syscall.Signal{"finetuned": syscall.SIGKILL}
		}
		for name, signal := range ways {
			dir := t.TempDir()
			command := "train"
			if name == "finetuned" {
				command = "finetune"
			}
			args := func(out string) []string {
				a := []string{command, tinyNet(t, dir), "--epochs", "3", "--batch", "16", "--limit", "400", "--crop", "1", "--checkpoint-every", "1ms", "--seed", "7", "--backend", backend, "-o", filepath.Join(dir, out), "--json", "-q"}
				return append(a, fashionData...)
			}
			whole := decode[train.Result](t, ok(t, args("whole.onnx")...))
			c := program(args("parts.onnx")...)
			require.NoError(t, c.Start())
			checkpoint := filepath.Join(dir, "parts.run", "checkpoint.safetensors")
			require.Eventually(t, func() bool { _, err := os.Stat(checkpoint); return err == nil }, time.Minute, time.Millisecond)
			require.NoError(t, c.Process.Signal(signal))
			require.Error(t, c.Wait())
			if signal == syscall.SIGINT {
				require.Equal(t, exitSignal+2, c.ProcessState.ExitCode())
			}
			require.NoFileExists(t, filepath.Join(dir, "parts.onnx"), "%s: the run ended before the signal", name)
			wrongClock(t, filepath.Join(dir, "parts.run"), map[string]int{"killed": 1971, "interrupted": 2099, "finetuned": 1990}[name])
			parts := decode[train.Result](t, ok(t, args("parts.onnx")...))
			require.Equal(t, read(t, filepath.Join(dir, "whole.onnx")), read(t, filepath.Join(dir, "parts.onnx")), name)
			require.Equal(t, whole.Last, parts.Last)
			require.Equal(t, whole.Best, parts.Best)

			code, _, message := run(t, append(args("parts.onnx"), "--lr", "0.5")...)
			require.Equal(t, exitInput, code)
			require.Contains(t, message, "learning_rate was")
		}
	})
}

// Plans carry their repair: replayed to the same bytes, checked by verify, refused without its file.
func TestRepairIsPartOfThePlan(t *testing.T) {
	eachBackendAtLength(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		r := decode[result](t, ok(t, "prune", fashion, "--speed-up", "1.2", "--repair", "noise", "--samples", "40", "--backend", backend, "-o", at("a.onnx"), "--plan", at("a.json"), "--json"))
		require.Equal(t, "noise", r.Repair.Mode)
		require.NotEqual(t, "none", r.Repair.Method)
		require.Greater(t, r.Repair.After.Cosine, r.Repair.Before.Cosine)
		require.FileExists(t, at("a.repaired.safetensors"))
		ok(t, "prune", fashion, "--from-plan", at("a.json"), "-o", at("b.onnx"), "-q")
		require.Equal(t, read(t, at("a.onnx")), read(t, at("b.onnx")))
		v := decode[verify.Verdict](t, ok(t, "verify", fashion, at("a.onnx"), "--plan", at("a.json"), "--json"))
		require.True(t, v.OK && v.Compared && v.Slices == "exact", "%+v", v)
		e := decode[evaluation](t, ok(t, append([]string{"eval", at("a.onnx"), "--backend", backend, "--limit", "300", "--json"}, fashionData...)...))
		require.GreaterOrEqual(t, e.Accuracy, .84, "34 %% without repair")

		ok(t, "prune", fashion, "--speed-up", "1.2", "-o", at("plain.onnx"), "--plan", at("plain.json"), "-q")
		code, _, _ := run(t, "verify", fashion, at("plain.onnx"), "--plan", at("a.json"))
		require.Equal(t, exitTarget, code, "a model without the plan's repair")
		sums := read(t, at("a.repaired.safetensors"))
		sums[len(sums)-1] ^= 1
		require.NoError(t, os.WriteFile(at("a.repaired.safetensors"), sums, 0o644))
		code, _, message := run(t, "prune", fashion, "--from-plan", at("a.json"), "-o", at("c.onnx"))
		require.Equal(t, exitInput, code)
		require.Contains(t, message, "is not the hash in the plan")
		require.NoError(t, os.Remove(at("a.repaired.safetensors")))
		for _, args := range [][]string{{"prune", fashion, "--from-plan", at("a.json"), "-o", at("c.onnx")}, {"verify", fashion, at("a.onnx"), "--plan", at("a.json")}} {
			code, _, message = run(t, args...)
			require.Equal(t, exitInput, code)
			require.Contains(t, message, "the repaired tensors are missing")
		}
		require.NoFileExists(t, at("c.onnx"))
	})
}

func TestRepairOnSamples(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		out := filepath.Join(t.TempDir(), "a.onnx")
		r := decode[result](t, ok(t, "prune", fashion, "--speed-up", "1.5", "--calibrate", fashionData[1], "--samples", "60", "--backend", backend, "-o", out, "--json"))
		require.Equal(t, "data", r.Repair.Mode)
		require.Equal(t, 12, r.Repair.After.N)
		e := decode[evaluation](t, ok(t, append([]string{"eval", out, "--backend", backend, "--limit", "300", "--json"}, fashionData...)...))
		require.GreaterOrEqual(t, e.Accuracy, .8, "24 %% without repair, 60 %% with moments alone")
	})
}

func TestAccuracyIsATarget(t *testing.T) {
	eachBackendAtLength(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		ok(t, append([]string{"train", tinyNet(t, dir), "--epochs", "4", "--batch", "32", "--lr", "0.2", "--backend", backend, "-o", at("t.onnx"), "-q"}, fashionData...)...)
		search := func(accuracy string) (int, string, string) {
			return run(t, append([]string{"prune", at("t.onnx"), "--accuracy", accuracy, "--limit", "300", "--backend", backend, "-o", at("s.onnx"), "--plan", at("s.json"), "--json"}, fashionData...)...)
		}
		code, out, message := search("0.3")
		require.Equal(t, 0, code, message)
		r := decode[result](t, out)
		require.GreaterOrEqual(t, r.Search.Accuracy, .3)
		require.Greater(t, r.SpeedUp, 1.02)
		for _, x := range r.Search.Tried {
			require.True(t, x.Accuracy < .3 || x.SpeedUp <= r.SpeedUp, "%+v", r.Search)
		}
		ok(t, "prune", at("t.onnx"), "--from-plan", at("s.json"), "-o", at("again.onnx"), "-q")
		require.Equal(t, read(t, at("s.onnx")), read(t, at("again.onnx")))
		code, _, message = search("0.999")
		require.Equal(t, exitTarget, code)
		require.Contains(t, message, "the model itself has")
	})
}

func TestDoctor(t *testing.T) {
	require.Contains(t, ok(t, "doctor"), "go")
	r := decode[[]xla.Diagnosis](t, ok(t, "doctor", "--json"))
	require.Equal(t, "go", r[len(r)-1].Backend)
	require.True(t, r[len(r)-1].Works)
	for _, f := range r {
		require.True(t, f.Works || f.Install != "", "%+v", f)
	}
}

// What does not go together, or is not there, is told in a sentence, and nothing is written.
func TestTrainingFlags(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	net := tinyNet(t, dir)
	plan := at("p.json")
	ok(t, "prune", fashion, "--speed-up", "2", "-o", at("ok.onnx"), "--plan", plan, "-q")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"train", net}, "--data is missing"},
		{[]string{"train", net, "--data", at("none")}, "want a file, a folder, or one of the sets"},
		{[]string{"train", net, "--images", fashionData[1]}, "no labelled training images"},
		{[]string{"train", net, "--backend", "tpu", "--images", fashionData[1], "--labels", fashionData[3]}, "tpu"},
		{[]string{"train", net, "--epochs", "-1", "--images", fashionData[1], "--labels", fashionData[3]}, "--epochs -1: want a whole number, at least 0"},
		{[]string{"train", net, "--lr", "0", "--images", fashionData[1], "--labels", fashionData[3]}, "--lr 0: want a number above 0"},
		{[]string{"train", net, "--schedule", "up", "--images", fashionData[1], "--labels", fashionData[3]}, `--schedule "up": want cosine`},
		{[]string{"train", net, "--optimizer", "lion", "--images", fashionData[1], "--labels", fashionData[3]}, `--optimizer "lion": want sgd or adamw`},
		{[]string{"train", net, "--batch", "5000", "--images", fashionData[1], "--labels", fashionData[3]}, "do not fill a batch"},
		{[]string{"train", net, "-o", net, "--images", fashionData[1], "--labels", fashionData[3]}, "overwritten"},
		{[]string{"train", "../../testdata/models/gnnet.ts.onnx", "--images", fashionData[1], "--labels", fashionData[3]}, "the model needs inputs"},
		{[]string{"eval", net, "--images", fashionData[1]}, "no labels"},
		{[]string{"new", "resnet21"}, "did you mean resnet20?"},
		{[]string{"new", "resnet20", "--input", "28x28"}, "three numbers"},
		{[]string{"prune", fashion, "--speed-up", "2", "-o", at("x.onnx"), "--repair", "data"}, "--calibrate"},
		{[]string{"prune", fashion, "--speed-up", "2", "-o", at("x.onnx"), "--repair", "magic"}, "none, noise or data"},
		{[]string{"prune", fashion, "--speed-up", "2", "-o", at("x.onnx"), "--repair", "noise", "--calibrate", fashionData[1]}, "needs --repair data"},
		{[]string{"prune", fashion, "--speed-up", "2", "--dry-run", "--repair", "noise"}, "--dry-run"},
		{[]string{"prune", fashion, "--pattern", "2:4", "-o", at("x.onnx"), "--repair", "noise"}, "--keep-zeros"},
		{[]string{"prune", fashion, "--from-plan", plan, "-o", at("x.onnx"), "--repair", "noise"}, "--from-plan"},
		{[]string{"prune", fashion, "--speed-up", "2", "-o", at("x.onnx"), "--calibrate", at("none")}, "--calibrate"},
		{[]string{"prune", fashion, "--accuracy", "1.5", "-o", at("x.onnx")}, "--accuracy 1.5: want a share such as 0.3 or 30%, above 0 and below 1"},
		{[]string{"prune", fashion, "--accuracy", "0.9", "-o", at("x.onnx")}, "--data"},
		{[]string{"prune", fashion, "--accuracy", "0.9", "--speed-up", "2", "-o", at("x.onnx"), "--images", fashionData[1]}, " is a target: omit "},
	} {
		code, _, message := run(t, c.args...)
		require.Equal(t, exitInput, code, "%v: %s", c.args, message)
		require.Contains(t, message, c.want, "%v", c.args)
	}
	require.NoFileExists(t, at("x.onnx"))
	_, err := planner.ParsePlan(read(t, plan))
	require.NoError(t, err)
}
