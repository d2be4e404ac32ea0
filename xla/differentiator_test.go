package xla

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// Devices that share batches add up to what one device finds.
func TestDevicesShareBatches(t *testing.T) {
	b := backendUnderTest(t)
	have := int(b.Backend.NumDevices())
	f, err := onnxio.Open("../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	defer f.Close()
	p, err := Load(f.Model)
	require.NoError(t, err)
	_, err = NewDifferentiator(b, p, false, have+1)
	require.ErrorContains(t, err, "devices")
	if have == 1 {
		require.False(t, os.Getenv("CI") != "" && b.Kind != Go, "devices have to share batches in CI, and %s has one", b.Kind)
		t.Skip("the backend has one device")
	}
	r := rand.New(rand.NewPCG(1, 9))
	const n = 8
	x, labels := Array{Dims: []int{n, 1, 28, 28}, Type: onnxio.Float}, make([]int32, n)
	for range n * 784 {
		x.Floats = append(x.Floats, float32(r.NormFloat64()))
	}
	for i := range labels {
		labels[i] = int32(r.IntN(10))
	}
	run := func(devices int) (float64, [][]float32) {
		d, err := NewDifferentiator(b, p, false, devices)
		require.NoError(t, err)
		defer d.Close()
		for range 2 { // sums go on from one batch to the next
			require.NoError(t, d.Add(x, labels))
		}
		if devices == 2 {
			require.ErrorContains(t, d.Add(Array{Dims: []int{1, 1, 28, 28}, Floats: x.Floats[:784], Type: onnxio.Float}, labels[:1]), "same number for each device")
		}
		loss, gradient, _, err := d.Means()
		require.NoError(t, err)
		return loss, gradient
	}
	loss, want := run(1)
	for devices := 2; devices <= min(have, 4); devices *= 2 {
		other, got := run(devices)
		require.InEpsilon(t, loss, other, 1e-5)
		for i := range want {
			size := 0.0
			for _, v := range want[i] {
				size = math.Max(size, math.Abs(float64(v)))
			}
			for k := range want[i] {
				require.InDelta(t, want[i][k], got[i][k], 1e-4*size+1e-7, "%d devices, %s", devices, p.Params[i].Name)
			}
		}
	}
}
