package metanet

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/stretchr/testify/require"
)

func parse(t testing.TB, path string) *safetensors.File {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	return f
}

// reference is one case of the paper's code: a network, its input, its output and the residual ratio.
type reference struct {
	net   *Network
	graph *Graph
	out   *safetensors.File
	ratio float64
}

func loadCase(t testing.TB, dir, name string) reference {
	t.Helper()
	at := func(part string) string { return filepath.Join(dir, name+"_"+part+".safetensors") }
	in := parse(t, at("in"))
	net, err := Load(parse(t, at("metanet")))
	require.NoError(t, err)
	g, err := GraphFromFile(in)
	require.NoError(t, err)
	r := reference{net, g, parse(t, at("out")), DefaultRatio}
	if s := in.Metadata["node_res_ratio"]; s != "" {
		r.ratio, err = strconv.ParseFloat(s, 64)
		require.NoError(t, err)
	}
	return r
}

// worst returns the largest differences of the residuals (out - in) / ratio, of nodes and of edges.
func (r reference) worst(t testing.TB, got *Graph) (node, edge float64) {
	t.Helper()
	diff := func(want, in, got []float32) float64 {
		d := 0.0
		for i := range want {
			a := (float64(want[i]) - float64(in[i])) / r.ratio
			b := (float64(got[i]) - float64(in[i])) / r.ratio
			d = max(d, math.Abs(a-b))
		}
		return d
	}
	want, err := r.out.Tensors["node_out"].Floats()
	require.NoError(t, err)
	node = diff(want, r.graph.Nodes, got.Nodes)
	first := make([]int, len(r.net.EdgeIn)+1)
	for i, b := range r.graph.Blocks {
		first[b.Type+1] = max(first[b.Type+1], b.First+b.Edges())
		name := "edge_out"
		if len(r.net.EdgeIn) > 1 {
			name = fmt.Sprintf("edge_out_%d", b.Type)
		}
		want, err := r.out.Tensors[name].Floats()
		require.NoError(t, err)
		k := r.net.EdgeIn[b.Type]
		at := (b.First - first[b.Type]) * k
		edge = max(edge, diff(want[at:at+len(b.Features)], b.Features, got.Blocks[i].Features))
	}
	return node, edge
}

func (r reference) forward(t testing.TB, memory int64) *Graph {
	t.Helper()
	got, err := r.net.Forward(context.Background(), r.graph, Options{NodeRatio: r.ratio, EdgeRatio: r.ratio, Memory: memory})
	require.NoError(t, err)
	return got
}

func TestReference(t *testing.T) {
	dirs := map[string]string{"tiny": "../testdata/metanet", "multi": "../testdata/metanet"}
	if _, err := os.Stat("../../shared/fixtures/metanet/resnet56_in.safetensors"); err == nil {
		dirs["resnet56"] = "../../shared/fixtures/metanet"
	}
	for name, dir := range dirs {
		r := loadCase(t, dir, name)
		for _, memory := range []int64{0, -1} {
			node, edge := r.worst(t, r.forward(t, memory))
			t.Logf("%s memory %d: node %.2g edge %.2g, %d blocks", name, memory, node, edge, len(r.graph.Blocks))
			require.Less(t, node, 1e-4, name)
			require.Less(t, edge, 1e-4, name)
		}
	}
}
