//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// slowModel is a file whose analysis takes far more than a second and asks no context.
func slowModel(t *testing.T, dir string) string {
	t.Helper()
	float := onnxio.Float
	shape := &onnxio.Shape{Dims: []*onnxio.Dim{{Value: 1, HasValue: true}, {Value: 4, HasValue: true}}}
	w := &onnxio.Tensor{Name: "w", DataType: float, Dims: []int64{4, 4}, RawData: make([]byte, 64)}
	g := &onnxio.Graph{Name: "slow", Initializers: []*onnxio.Tensor{w}, Inputs: []*onnxio.ValueInfo{{Name: "x0", Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: float, Shape: shape}}}}}
	const nodes = 300_000
	for i := range nodes {
		g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "MatMul", Inputs: []string{fmt.Sprint("x", i), "w"}, Outputs: []string{fmt.Sprint("x", i+1)}})
	}
	g.Outputs = []*onnxio.ValueInfo{{Name: fmt.Sprint("x", nodes)}}
	path := filepath.Join(dir, "slow.onnx")
	raw, err := (&onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: g}).Marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	return path
}

// A signal ends a command within a second, also where it computes without asking; a second signal ends it at once. Nothing is written.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	slow, out := slowModel(t, dir), filepath.Join(dir, "out.onnx")
	for _, c := range []struct {
		signal syscall.Signal
		code   int
		twice  bool
		args   string
	}{
		{syscall.SIGTERM, 143, false, "inspect SLOW"},
		{syscall.SIGINT, 130, false, "prune SLOW --ratio 0.2 -o OUT --json"},
		{syscall.SIGTERM, 143, true, "inline SLOW -o OUT"},
		{syscall.SIGINT, 130, true, "graph SLOW -o OUT --format json"},
	} {
		p := program(strings.Fields(strings.NewReplacer("SLOW", slow, "OUT", out).Replace(c.args))...)
		var said bytes.Buffer
		p.Stderr = &said
		require.NoError(t, p.Start())
		time.Sleep(400 * time.Millisecond)
		start := time.Now()
		require.NoError(t, p.Process.Signal(c.signal))
		if c.twice {
			time.Sleep(50 * time.Millisecond)
			require.NoError(t, p.Process.Signal(c.signal))
		}
		require.Error(t, p.Wait(), "%s: %s", c.args, said.String())
		took := time.Since(start)
		require.Equal(t, c.code, p.ProcessState.ExitCode(), "%s: %s", c.args, said.String())
		require.Less(t, took, 1500*time.Millisecond, c.args) // one second, and what a busy machine adds
		if c.twice {
			require.Less(t, took, patience, c.args)
		}
		require.Contains(t, said.String(), "stopped by")
		require.Equal(t, strings.Contains(c.args, "--json"), strings.HasPrefix(said.String(), `{"error":{"kind":"cancelled"`), said.String())
		require.Equal(t, []string{"slow.onnx"}, filesIn(t, dir), c.args)
	}
}

// What is being written when a signal ends the process is removed, and work that ends what has begun is waited for.
func TestEndingRemovesAndWaits(t *testing.T) {
	e := newEnding()
	exited := make(chan os.Signal, 1)
	ctx, stop := e.watch(func(s os.Signal) { exited <- s })
	defer stop()
	dir, remove, err := endingOf(ctx).tempDir("metaprune-test")
	require.NoError(t, err)
	defer remove()
	done := endingOf(ctx).longer()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	<-ctx.Done()
	select {
	case <-exited:
		t.Fatal("it did not wait for what was being saved")
	case <-time.After(2 * patience):
	}
	require.DirExists(t, dir)
	done()
	select {
	case s := <-exited:
		require.Equal(t, syscall.SIGTERM, s)
	case <-time.After(5 * time.Second):
		t.Fatal("it did not end")
	}
	require.NoDirExists(t, dir)
}
