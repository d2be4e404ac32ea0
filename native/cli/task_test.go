package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/stretchr/testify/require"
)

// standIn is a CIFAR-10 or CIFAR-100 folder of random pictures.
func standIn(t *testing.T, classes int) string {
	t.Helper()
	dir, labels := t.TempDir(), 1
	names := []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}
	if classes == 100 {
		labels, names = 2, []string{"train.bin", "test.bin"}
	}
	for n, name := range names {
		var raw []byte
		for i := range 60 {
			for k := range labels {
				raw = append(raw, byte((i+k)%classes))
			}
			for p := range 3072 {
				raw = append(raw, byte((i*37+p*11+n*5)%251))
			}
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o644))
	}
	return dir
}

// Every task's commands run from end to end on a stand-in, and reach the paper's speed-up. A short run leaves out tasks that have another's commands, with another network.
func TestTasks(t *testing.T) {
	all, err := tasks()
	require.NoError(t, err)
	require.Len(t, all, 5)
	for name, task := range all {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && (name == "resnet110-cifar10" || name == "resnet50-imagenet") {
				t.Skip("as resnet56-cifar10 and vit-b16-imagenet; it runs in make test-long")
			}
			dir := t.TempDir()
			args := []string{"task", name, "--smoke", "--backend", "go", "-o", filepath.Join(dir, "run"), "--json", "-q"}
			data := "cifar10:" + standIn(t, 10)
			if task.Classes == 100 {
				data = "cifar100:" + standIn(t, 100)
			}
			if task.NeedsModel { // small pictures, and a network for them
				ok(t, "new", task.Network, "--input", "3x32x32", "--width", "0.05", "-o", filepath.Join(dir, "m.onnx"), "-q")
				args = append(args, "--model", filepath.Join(dir, "m.onnx"))
			}
			args = append(args, "--data", data)
			got := decode[struct{ Stages []metatrain.Stage }](t, ok(t, args...))
			want := task.Steps[len(task.Steps)-1]
			for i, flag := range want {
				if flag == "--speed-up" {
					require.GreaterOrEqual(t, got.Stages[len(got.Stages)-1].SpeedUp, number(t, want[i+1])-.01)
				}
			}
			if name != "resnet56-cifar10" {
				return
			}
			before := read(t, filepath.Join(dir, "run", "smaller.onnx"))
			ok(t, args...)
			require.Equal(t, before, read(t, filepath.Join(dir, "run", "smaller.onnx")), "it goes on from what is there")
		})
	}
	require.Contains(t, ok(t, "task"), "A100")
	for want, args := range map[string][]string{
		`task "lenet-mnist": want`: {"task", "lenet-mnist"},
		"with --data":              {"task", "resnet50-imagenet", "--model", "x.onnx"},
		"with --model":             {"task", "resnet50-imagenet", "--data", "x"},
		"omit --model":             {"task", "resnet56-cifar10", "--model", "x.onnx"},
	} {
		code, _, message := run(t, args...)
		require.Equal(t, exitInput, code)
		require.Contains(t, message, want)
	}
	for name, task := range all {
		args := []string{"task", name, "--dry-run"}
		if task.NeedsModel {
			args = append(args, "--model", "x.onnx", "--data", "x")
		}
		code, _, printed := run(t, args...)
		require.Equal(t, exitOK, code, name)
		require.Equal(t, len(task.Steps), strings.Count(printed, "metaprune "), name)
		for line := range strings.Lines(printed) {
			if command, found := strings.CutPrefix(line, "metaprune "); found {
				require.NoError(t, exists(strings.Fields(command)), line)
			}
		}
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return v
}
