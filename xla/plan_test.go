package xla

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// onBoth runs a model on kernels and on GoMLX alone. It returns false where no node of it is on a kernel.
func onBoth(t *testing.T, m *onnxio.Model, in []Array, taps ...string) bool {
	t.Helper()
	p, err := Load(m)
	require.NoError(t, err)
	b, err := Open(Go)
	require.NoError(t, err)
	defer b.Finalize()
	var outs [2][]Array
	planned := false
	for i := range outs {
		r, err := NewRunner(b, p, taps...)
		require.NoError(t, err)
		defer r.Close()
		r.graphs = i == 1
		planned = planned || r.planned(in) != nil
		for range 2 { // memory is used again
			outs[i], err = r.Run(in...)
			require.NoError(t, err)
		}
	}
	for k := range outs[0] {
		require.NoError(t, same(outs[1][k], outs[0][k], 1e-4), "output %d", k)
	}
	return planned
}

func picture(n int, dims ...int) Array {
	a := Array{Dims: append([]int{n}, dims...), Type: onnxio.Float}
	for i := range product(a.Dims) {
		a.Floats = append(a.Floats, float32(i*7919%997)/500-1)
	}
	return a
}

// TestKernelsAgreeWithGraphs holds package kernel to GoMLX.
func TestKernelsAgreeWithGraphs(t *testing.T) {
	for _, name := range []string{"fashion-resnet20", "fashion-vit"} {
		f, err := onnxio.Open(filepath.Join("..", "testdata", name+".onnx"))
		require.NoError(t, err)
		for _, n := range []int{1, 5} {
			planned := onBoth(t, f.Model, []Array{picture(n, 1, 28, 28)})
			require.Equal(t, name == "fashion-resnet20", planned, "%s %d", name, n)
		}
		var taps []string
		for i, node := range f.Model.Graph.Nodes {
			if i%5 == 2 && key(node) != "Constant" {
				taps = append(taps, node.Outputs[0])
			}
		}
		p, err := Load(f.Model)
		require.NoError(t, err)
		b, err := Open(Go)
		require.NoError(t, err)
		r, err := NewRunner(b, p, taps...)
		require.NoError(t, err)
		if _, err := r.Run(picture(1, 1, 28, 28)); err == nil {
			onBoth(t, f.Model, []Array{picture(2, 1, 28, 28)}, taps...)
		}
		r.Close()
		b.Finalize()
		require.NoError(t, f.Close())
	}
}

// New values are used from the next run on.
func TestKernelsUseNewValues(t *testing.T) {
	f, err := onnxio.Open(filepath.Join("..", "testdata", "fashion-resnet20.onnx"))
	require.NoError(t, err)
	defer f.Close()
	p, err := Load(f.Model)
	require.NoError(t, err)
	b, err := Open(Go)
	require.NoError(t, err)
	defer b.Finalize()
	r, err := NewRunner(b, p)
	require.NoError(t, err)
	defer r.Close()
	before, err := r.Run(picture(1, 1, 28, 28))
	require.NoError(t, err)
	values := make([][]float32, len(p.Params))
	for i, c := range p.Params {
		if c.Kind == Weight {
			values[i] = make([]float32, c.Size())
		}
	}
	r.SetValues(values)
	after, err := r.Run(picture(1, 1, 28, 28))
	require.NoError(t, err)
	require.NotEqual(t, fmt.Sprint(before[0].Floats), fmt.Sprint(after[0].Floats))
	r.graphs = true
	want, err := r.Run(picture(1, 1, 28, 28))
	require.NoError(t, err)
	require.NoError(t, same(want[0], after[0], 1e-5))
}
