package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/bucket"
	"github.com/metaprune/metaprune/native/bucket/buckettest"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/stretchr/testify/require"
)

// interruptOnce starts a command in a process of its own and kills it as soon as a file is there.
func interruptOnce(t *testing.T, file string, args ...string) {
	t.Helper()
	killWhen(t, func() bool { _, err := os.Stat(file); return err == nil }, args...)
}

// killWhen starts a command in a process of its own and kills it as soon as something is there.
func killWhen(t *testing.T, there func() bool, args ...string) {
	t.Helper()
	c := program(args...)
	require.NoError(t, c.Start())
	require.Eventually(t, there, time.Minute, time.Millisecond)
	require.NoError(t, c.Process.Signal(syscall.SIGKILL))
	require.Error(t, c.Wait(), "it ended before the signal")
}

func TestDatamodels(t *testing.T) {
	eachBackendAtLength(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		args := func(out string, more ...string) []string {
			a := []string{"datamodels", "resnet8", "mlp", "--widths", "0.25", "--seeds", "0,1", "--epochs", "1", "--finetune-epochs", "1", "--speed-up", "1.1", "--batch", "32", "--limit", "256", "--backend", backend, "-o", at(out), "--json", "-q"}
			return append(append(a, fashionData...), more...)
		}
		whole := decode[[]metatrain.JobResult](t, ok(t, args("whole")...))
		require.Len(t, whole, 4)
		for _, r := range whole {
			require.FileExists(t, filepath.Join(at("whole"), r.Name(), "model.onnx"))
			require.GreaterOrEqual(t, float64(r.MACs[0])/float64(r.MACs[1]), 1.1, r.Name())
		}
		require.NotEqual(t, read(t, at("whole/mlp-w0.25-s0/model.onnx")), read(t, at("whole/mlp-w0.25-s1/model.onnx")))

		interruptOnce(t, at("parts/resnet8-w0.25-s0/train/checkpoint.safetensors"), args("parts")...)
		// Two shards, one of them twice: what is done is left alone.
		t.Setenv("JOB_COMPLETION_INDEX", "1")
		second := decode[[]metatrain.JobResult](t, ok(t, args("parts", "--shard", "/2")...))
		first := decode[[]metatrain.JobResult](t, ok(t, args("parts", "--shard", "0/2")...))
		require.Len(t, first, 2)
		require.Len(t, second, 2)
		before, err := os.Stat(at("parts/mlp-w0.25-s1/model.onnx"))
		require.NoError(t, err)
		require.Equal(t, second, decode[[]metatrain.JobResult](t, ok(t, args("parts", "--shard", "1/2")...)))
		after, err := os.Stat(at("parts/mlp-w0.25-s1/model.onnx"))
		require.NoError(t, err)
		require.Equal(t, before.ModTime(), after.ModTime())
		for _, r := range whole {
			require.Equal(t, read(t, filepath.Join(at("whole"), r.Name(), "model.onnx")), read(t, filepath.Join(at("parts"), r.Name(), "model.onnx")), r.Name())
		}
		code, _, message := run(t, args("parts", "--speed-up", "1.3")...)
		require.Equal(t, exitInput, code)
		require.Contains(t, message, "speed_up was 1.1, is 1.3")
	})
}

// Several processes make data models in one bucket; one of them is lost, and another machine goes on. What lies there then is what one process makes in a folder, and metatrain takes it from there.
func TestDatamodelsInABucket(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	url := "file://" + at("bucket")
	args := func(out string, more ...string) []string {
		a := []string{"datamodels", "mlp", "--widths", "0.1", "--seeds", "0,1,2", "--epochs", "3", "--finetune-epochs", "1", "--batch", "32", "--limit", "256", "--backend", "go", "--checkpoint-every", "20ms", "-o", out, "--json", "-q"}
		return append(append(a, fashionData...), more...)
	}
	ok(t, args(at("folder"))...)
	interruptOnce(t, at("bucket/mlp-w0.1-s0/train/checkpoint.safetensors"), args(url)...)
	require.NoFileExists(t, at("bucket/mlp-w0.1-s0/job.json"), "it had ended before")
	wrongClock(t, at("bucket"), 2099)
	together(t, func(shard string) []string { return args(url, "--shard", shard) })
	for _, n := range []string{"mlp-w0.1-s0", "mlp-w0.1-s1", "mlp-w0.1-s2"} {
		require.Equal(t, read(t, filepath.Join(at("folder"), n, "model.onnx")), read(t, filepath.Join(at("bucket"), n, "model.onnx")), n)
	}
	again := decode[[]metatrain.JobResult](t, ok(t, args(url)...))
	require.Len(t, again, 3)
	out := at("b.safetensors")
	require.Contains(t, metatrained(t, url, out), url+"/mlp-w0.1-s0/model.onnx")
	require.Equal(t, metatrained(t, url, out), metatrained(t, url, out), "it goes on")
}

// The same where the bucket speaks S3's protocol.
func TestDatamodelsInS3(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	url := buckettest.S3(t, "run/datamodels")
	args := func(out string, more ...string) []string {
		a := []string{"datamodels", "mlp", "--widths", "0.1", "--seeds", "0,1", "--epochs", "4", "--finetune-epochs", "1", "--batch", "32", "--limit", "512", "--backend", "go", "--checkpoint-every", "20ms", "-o", out, "--json", "-q"}
		return append(append(a, fashionData...), more...)
	}
	ok(t, args(at("folder"))...)
	b, err := bucket.Open(ctx, url)
	require.NoError(t, err)
	defer b.Close()
	has := func(name string) bool {
		names, err := b.List(ctx, "")
		return err == nil && slices.Contains(names, name)
	}
	killWhen(t, func() bool { return has("mlp-w0.1-s0/train/checkpoint.safetensors") }, args(url)...)
	require.True(t, has("mlp-w0.1-s0/train/checkpoint.safetensors"))
	require.False(t, has("mlp-w0.1-s0/job.json"), "it had ended before")
	together(t, func(shard string) []string { return args(url, "--shard", shard) })
	require.NoError(t, b.Fetch(ctx, at("fetched"), func(string) bool { return true }))
	for _, n := range []string{"mlp-w0.1-s0", "mlp-w0.1-s1"} {
		require.Equal(t, read(t, filepath.Join(at("folder"), n, "model.onnx")), read(t, filepath.Join(at("fetched"), n, "model.onnx")), n)
	}
	require.Contains(t, metatrained(t, url, at("s3.safetensors")), `"s3://jobs/run/datamodels/mlp-w0.1-s0/model.onnx"`, "models are called the same wherever the server is")
}

// together runs a command as three processes at a time, the first part twice, which does no harm.
func together(t *testing.T, args func(shard string) []string) {
	t.Helper()
	var running []*exec.Cmd
	for _, shard := range []string{"0/2", "1/2", "0/2"} {
		c := program(args(shard)...)
		require.NoError(t, c.Start())
		running = append(running, c)
	}
	for _, c := range running {
		require.NoError(t, c.Wait())
	}
}

// metatrained trains a tiny metanetwork on data models and returns its run's configuration.
func metatrained(t *testing.T, from, out string) string {
	t.Helper()
	ok(t, append([]string{"metatrain", from, "--steps", "2", "--images-per-step", "32", "--hidden", "4", "--layers", "1", "--backend", "go", "--batch", "32", "-o", out, "-q"}, fashionData...)...)
	return string(read(t, strings.TrimSuffix(out, ".safetensors")+".run/config.json"))
}

// A short run trains once on XLA, which compiles anew in every process; that a run resumes and goes on from another metanetwork is the same code on each backend.
func TestMetatrain(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		ok(t, "new", "resnet8", "--width", "0.25", "--input", "1x28x28", "-o", at("a.onnx"), "-q")
		ok(t, "new", "mlp", "--widths", "12,8", "--input", "1x28x28", "-o", at("b.onnx"), "-q")
		args := func(out string, more ...string) []string {
			a := []string{"metatrain", at("a.onnx"), at("b.onnx"), "--steps", "16", "--images-per-step", "32", "--hidden", "6", "--layers", "2", "--lr", "0.02", "--checkpoint-every", "3", "--seed", "5", "--backend", backend, "-o", at(out), "-q"}
			return append(append(a, fashionData...), more...)
		}
		ok(t, args("whole.safetensors")...)
		inFull := !testing.Short() || backend == "go"
		if inFull {
			interruptOnce(t, at("parts.run/checkpoint.safetensors"), args("parts.safetensors")...)
			ok(t, args("parts.safetensors")...)
			require.Equal(t, read(t, at("whole.safetensors")), read(t, at("parts.safetensors")))
			require.Equal(t, read(t, at("whole.run/metrics.jsonl")), read(t, at("parts.run/metrics.jsonl")))
		}
		require.Equal(t, 16, strings.Count(string(read(t, at("whole.run/metrics.jsonl"))), "\n"))
		require.Contains(t, ok(t, "metanet", "info", at("whole.safetensors")), "universal-1")

		// What comes out is a metanetwork: it prunes, and training goes on from it.
		ok(t, "prune", at("a.onnx"), "--speed-up", "1.5", "--criterion", "metanet", "--metanet", at("whole.safetensors"), "--weights", "metanet", "-o", at("small.onnx"), "-q")
		if !inFull {
			return
		}
		more := args("more.safetensors", "--metanet", at("whole.safetensors"), "--steps", "1")
		i := slices.Index(more, "--hidden") // and --layers: of a new one
		ok(t, slices.Delete(more, i, i+4)...)

		code, _, message := run(t, args("parts.safetensors", "--lr", "0.5")...)
		require.Equal(t, exitInput, code)
		require.Contains(t, message, "another configuration")
	})
}

func TestMetatrainFlags(t *testing.T) {
	dir := t.TempDir()
	ok(t, "new", "mlp", "--widths", "4", "--input", "1x28x28", "-o", filepath.Join(dir, "m.onnx"), "-q")
	for want, args := range map[string][]string{
		"no model.onnx in it":    {"metatrain", dir},
		"--steps 0":              {"metatrain", filepath.Join(dir, "m.onnx"), "--steps", "0"},
		"--lr -1: want":          {"metatrain", filepath.Join(dir, "m.onnx"), "--lr", "-1"},
		"--hidden 1":             {"metatrain", filepath.Join(dir, "m.onnx"), "--hidden", "1"},
		"no such file":           {"metatrain", filepath.Join(dir, "none.onnx")},
		"--data is missing":      {"metatrain", filepath.Join(dir, "m.onnx"), "--backend", "go", "-o", filepath.Join(dir, "x.safetensors")},
		`--shard "4/4"`:          {"datamodels", "mlp", "--shard", "4/4"},
		"SLURM_ARRAY_TASK_ID is": {"datamodels", "mlp", "--shard", "/4"},
		`network "lenet": want`:  {"datamodels", "lenet", "--backend", "go"},
		"--speed-up 0.5: want":   {"datamodels", "mlp", "--speed-up", "0.5", "--backend", "go"},
	} {
		code, _, message := run(t, args...)
		require.Equal(t, exitInput, code, args)
		require.Contains(t, message, want)
	}
}

// Stages of a pipeline are where they should be; killed in the middle and started again it ends with the bytes of an undisturbed run.
func TestPipeline(t *testing.T) {
	eachBackendAtLength(t, func(t *testing.T, backend string) {
		dir := t.TempDir()
		at := func(n string) string { return filepath.Join(dir, n) }
		ok(t, "new", "resnet8", "--width", "0.5", "--input", "1x28x28", "--classes", "10", "-o", at("m.onnx"), "-q")
		args := func(out string, more ...string) []string {
			a := []string{"pipeline", at("m.onnx"), "--batch", "32", "--limit", "256", "--backend", backend, "-o", at(out), "--json", "-q"}
			return append(append(a, fashionData...), more...)
		}
		steps := []string{"--own-weights", "--speed-up", "3", "--steps", "2", "--between-epochs", "1", "--last-epochs", "1"}
		type result struct{ Stages []metatrain.Stage }
		whole := decode[result](t, ok(t, args("whole.onnx", steps...)...)).Stages
		var names []string
		for _, s := range whole {
			names = append(names, s.Name)
		}
		require.Equal(t, []string{"prune1", "finetune1", "prune2", "finetune2"}, names)
		require.InDelta(t, 1.73, whole[0].SpeedUp, .15)
		require.GreaterOrEqual(t, whole[3].SpeedUp, 2.999)
		require.NotNil(t, whole[3].Valid)
		interruptOnce(t, at("part.pipeline/02-finetune1/run/config.json"), args("part.onnx", steps...)...)
		ok(t, args("part.onnx", steps...)...)
		require.Equal(t, read(t, at("whole.onnx")), read(t, at("part.onnx")))
		code, _, message := run(t, args("part.onnx", append(steps, "--seed", "3")...)...)
		require.Equal(t, exitInput, code)
		require.Contains(t, message, "train.seed was 0, is 3")

		ok(t, "metanet", "new", "-o", at("mn.safetensors"), "-q")
		rewritten := decode[result](t, ok(t, args("meta.onnx", "--metanet", at("mn.safetensors"), "--speed-up", "2", "--first-epochs", "1", "--last-epochs", "0")...)).Stages
		require.Len(t, rewritten, 3)
		require.Equal(t, "metanet", rewritten[0].Name)
		sparse := decode[result](t, ok(t, args("sparse.onnx", "--own-weights", "--pattern", "2:4", "--last-epochs", "1")...)).Stages
		require.Len(t, sparse, 2)
	})
	for want, more := range map[string][]string{"give a trained metanetwork": nil, "exclude each other": {"--own-weights", "--metanet", "x"}, "in one step": {"--own-weights", "--pattern", "2:4", "--steps", "2"}, "--speed-up 0.5: want a number such as 2 or 2x, at least 1": {"--own-weights", "--speed-up", "0.5"}} {
		code, _, message := run(t, append([]string{"pipeline", fashion}, more...)...)
		require.Equal(t, exitInput, code)
		require.Contains(t, message, want)
	}
}
