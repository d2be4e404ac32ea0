package meta

import (
	"os"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

// BenchmarkGradient times forward and backward on ResNet-56's parameter graph: METAPRUNE_FIXTURES is the folder of the paper's numbers, METAPRUNE_BACKEND the backend. The peak of resident memory is the whole process'.
func BenchmarkGradient(b *testing.B) {
	dir := os.Getenv("METAPRUNE_FIXTURES")
	if dir == "" {
		b.Skip("METAPRUNE_FIXTURES names no folder")
	}
	backend, err := xla.Open(os.Getenv("METAPRUNE_BACKEND"))
	require.NoError(b, err)
	defer backend.Finalize()
	c := load(b, dir, "resnet56")
	n, err := New(backend, c.net, Options{})
	require.NoError(b, err)
	defer n.Close()
	r, err := n.Forward(c.graph)
	require.NoError(b, err)
	cot := squares(r)
	_, err = n.Gradient(c.graph, cot) // compiles
	require.NoError(b, err)
	for b.Loop() {
		_, err := n.Gradient(c.graph, cot)
		require.NoError(b, err)
	}
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			b.Logf("%s: peak of resident memory %s", backend.Kind, strings.TrimSpace(rest))
		}
	}
}
