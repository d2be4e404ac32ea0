package gorgo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

func normals(seed uint64, shape []int) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	r, out := rand.New(rand.NewPCG(seed, 0)), make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// TestEveryRunComputesTheSame runs models several times on two inputs: each run gives what GoMLX gives, whatever ran before it.
func TestEveryRunComputesTheSame(t *testing.T) {
	b, err := xla.Open("go")
	require.NoError(t, err)
	defer b.Finalize()
	raw, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	trained, err := onnxio.Decode(raw, nil)
	require.NoError(t, err)
	all := map[string]*onnxio.Model{"trained": trained}
	for name, width := range map[string]float64{"mlp": 0.1, "vgg16": 0.125, "resnet8": 0.5} {
		all[name], err = models.New(name, models.Options{Input: []int{3, 32, 32}, Classes: 7, Width: width, Seed: 3})
		require.NoError(t, err)
	}
	for name, m := range all {
		for _, batch := range []int{1, 3} {
			t.Run(fmt.Sprint(name, " ", batch), func(t *testing.T) { runsAlike(t, b, m, batch) })
		}
	}
}

func runsAlike(t *testing.T, b *xla.Backend, m *onnxio.Model, batch int) {
	e, err := New(m, batch)
	require.NoError(t, err)
	p, err := xla.Load(m)
	require.NoError(t, err)
	input, output := e.Names()
	require.Equal(t, m.Graph.Outputs[0].Name, output)
	for _, seed := range []uint64{1, 2, 1} {
		got, shape, err := e.Run(normals(seed, e.Shape()))
		require.NoError(t, err)
		in := repair.Array{Dims: e.Shape(), Floats: normals(seed, e.Shape()), Type: onnxio.Float}
		want, err := xla.NewEngine(b, p).Run(context.Background(), m, map[string]repair.Array{input: in})
		require.NoError(t, err)
		require.Equal(t, want[0].Dims, shape)
		require.InDeltaSlice(t, want[0].Floats, got, 1e-3)
	}
}
