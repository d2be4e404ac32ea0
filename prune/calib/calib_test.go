package calib

import (
	"context"
	"errors"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
)

var picture = Input{"x", onnxio.Float, []int{-1, 3, 2, -1}}

func floats(dims ...int) repair.Array {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return repair.Array{Dims: dims, Floats: make([]float32, n)}
}

func TestCheck(t *testing.T) {
	ids := Input{"ids", onnxio.Int64, []int{1, 4}}
	whole := repair.Array{Dims: []int{6, 4}, Ints: make([]int64, 24)}
	n, err := Check([]Input{picture, ids}, map[string]repair.Array{"x": floats(6, 3, 2, 5), "ids": whole, "labels": floats(9)})
	require.NoError(t, err)
	require.Equal(t, 6, n)
	for says, c := range map[string]map[string]repair.Array{
		`array "x": want float32 [samples 3 2 any], got only ids, y`: {"y": floats(6), "ids": whole},
		`array "x": want shape [samples 3 2 any], got [6 3 9 5]`:     {"x": floats(6, 3, 9, 5), "ids": whole},
		`array "x": want shape [samples 3 2 any], got [6 3 2]`:       {"x": floats(6, 3, 2), "ids": whole},
		`array "x": want float32, got integers`:                      {"x": whole, "ids": whole},
		`array "x": want float32, got uint8`:                         {"x": {Dims: []int{6, 3, 2, 5}}, "ids": whole},
		`array "ids": want int64, got float32`:                       {"x": floats(6, 3, 2, 5), "ids": floats(6, 4)},
		`array "ids": want 7 samples as in the arrays before, got 6`: {"x": floats(7, 3, 2, 5), "ids": whole},
	} {
		_, err := Check([]Input{picture, ids}, c)
		require.EqualError(t, err, says)
		var e *SampleError
		require.ErrorAs(t, err, &e)
	}
	_, err = Check([]Input{picture}, map[string]repair.Array{"x": floats(4, 3, 2, 5)})
	require.EqualError(t, err, "4 samples; a repair needs at least 5")
}

func TestNoise(t *testing.T) {
	sized := Input{"x", onnxio.Float, []int{1, 3, 2, 4}}
	out, err := Noise([]Input{sized}, 7, nil, 1)
	require.NoError(t, err)
	require.Equal(t, repair.Noise(7, []int{3, 2, 4}, 1), out["x"])
	out, err = Noise([]Input{picture, {"v", onnxio.Float, []int{-1, 5}}}, 7, []int{3, 2, 8}, 1)
	require.NoError(t, err)
	require.Equal(t, []int{7, 3, 2, 8}, out["x"].Dims)
	require.Equal(t, []int{7, 5}, out["v"].Dims)
	for says, in := range map[string]Input{
		`input "x" is of any size, [-1 3 2 -1]`:                 picture,
		`input "i" is int64; noise only stands for real inputs`: {"i", onnxio.Int64, []int{1, 4}},
		`input "s" has no axis of samples`:                      {"s", onnxio.Float, []int{4}},
	} {
		_, err := Noise([]Input{in}, 5, nil, 0)
		require.EqualError(t, err, says)
		var e *NoiseError
		require.ErrorAs(t, err, &e)
		require.Equal(t, in.Name == "x", e.Size)
	}
}

// inBatches is an engine for a model with a fixed batch, which runs nothing.
type inBatches int

var errNothing = errors.New("runs nothing")

func (inBatches) Run(context.Context, *onnxio.Model, map[string]repair.Array) ([]repair.Array, error) {
	return nil, errNothing
}

func (b inBatches) Batches(context.Context, *onnxio.Model, map[string]repair.Array) int {
	return int(b)
}

func TestDivide(t *testing.T) {
	samples, n := AtMost(map[string]repair.Array{"x": floats(30, 3)}, 30, 20)
	require.Equal(t, 20, n)
	fit, held := Divide(t.Context(), inBatches(0), nil, samples, n)
	require.Equal(t, []int{16, 3}, fit["x"].Dims)
	require.Equal(t, []int{4, 3}, held["x"].Dims)
	fit, held = Divide(t.Context(), inBatches(4), nil, samples, n)
	require.Equal(t, 4, fit["x"].Stack)
	require.Equal(t, 1, held["x"].Stack)
	samples, n = AtMost(samples, 20, 25)
	require.Equal(t, 20, n)
	require.Equal(t, []int{20, 3}, samples["x"].Dims)
}

func TestScoresOfOtherCriteria(t *testing.T) {
	s, err := Scores(t.Context(), inBatches(0), nil, nil, "l2", nil)
	require.NoError(t, err)
	require.Nil(t, s)
	require.True(t, LooksAtSamples("wanda"))
	require.False(t, LooksAtSamples("taylor"))
}

func TestMemorySource(t *testing.T) {
	s := Memory(map[string]repair.Array{"x": {Dims: []int{3, 2}, Floats: []float32{0, 1, 2, 3, 4, 5}, Type: onnxio.Float}, "n": {Dims: []int{3}, Ints: []int64{7, 8, 9}, Type: onnxio.Int64}})
	require.Equal(t, 3, s.Len())
	part, err := s.Read(1, 2)
	require.NoError(t, err)
	require.Equal(t, []float32{2, 3, 4, 5}, part["x"].Floats)
	require.Equal(t, []int{2, 2}, part["x"].Dims)
	require.Equal(t, []int64{8, 9}, part["n"].Ints)
	_, err = s.Read(2, 2)
	require.ErrorContains(t, err, "samples 2 to 4 of 3")
	all, err := ReadAll(s)
	require.NoError(t, err)
	require.Len(t, all["x"].Floats, 6)
}
