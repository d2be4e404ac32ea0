package engine

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func counting(dims ...int) Array {
	n := 1
	for _, d := range dims {
		n *= d
	}
	a := Array{Dims: dims, Type: onnxio.Float}
	for i := range n {
		a.Floats = append(a.Floats, float32(i))
	}
	return a
}

// A model that takes two samples at a time gets two at a time, and what it gives is laid one behind the other and taken apart again.
func TestOneByOne(t *testing.T) {
	feeds := Stacks(map[string]Array{"x": counting(7, 3)}, 2)
	require.Equal(t, 3, feeds["x"].Stack)
	require.Equal(t, []int{6, 3}, feeds["x"].Dims)
	calls := 0
	out, err := OneByOne(feeds, func(feeds map[string]Array) ([]Array, error) {
		calls++
		x := feeds["x"]
		require.Equal(t, []int{2, 3}, x.Dims)
		require.Zero(t, x.Stack)
		turned := Array{Dims: []int{3, 2}, Floats: x.Floats, Type: onnxio.Float}
		vector := Array{Dims: []int{2}, Floats: x.Floats[:2], Type: onnxio.Float}
		number := Array{Dims: []int{}, Floats: x.Floats[:1], Type: onnxio.Float}
		shape := Array{Dims: []int{2}, Ints: []int64{2, 3}, Type: onnxio.Int64}
		found := Array{Dims: []int{1}, Ints: []int64{int64(x.Floats[0])}, Type: onnxio.Int64}
		return []Array{turned, vector, number, shape, found}, nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, calls)
	for i, dims := range [][]int{{9, 2}, {3, 2}, {3}, {2}, {3, 1}} {
		require.Equal(t, dims, out[i].Dims, i)
	}
	require.Zero(t, out[3].Stack, "a shape is the same for all samples")
	for i, dims := range [][]int{{3, 2}, {2}, {}, {2}, {1}} {
		require.Equal(t, dims, out[i].Sample(1).Dims, i)
	}
	require.Equal(t, []float32{6, 7, 8, 9, 10, 11}, out[0].Sample(1).Floats)
	require.Equal(t, []float32{6}, out[2].Sample(1).Floats)
	require.Equal(t, []int64{6}, out[4].Sample(1).Ints)
	require.Equal(t, 6, feeds["x"].Samples(feeds), "inputs and outputs of two samples a time")
	require.Equal(t, 3, out[0].Samples(feeds))
}

func TestOneByOneOfDifferentShapes(t *testing.T) {
	n := 0
	_, err := OneByOne(Stacks(map[string]Array{"x": counting(4, 3)}, 1), func(map[string]Array) ([]Array, error) {
		n++
		return []Array{counting(n)}, nil
	})
	require.ErrorContains(t, err, "differs between samples")
}

// Without stacks an engine gets all at once.
func TestOneByOneOfWholeBatches(t *testing.T) {
	out, err := OneByOne(map[string]Array{"x": counting(4, 3)}, func(feeds map[string]Array) ([]Array, error) {
		require.Equal(t, []int{4, 3}, feeds["x"].Dims)
		return []Array{feeds["x"]}, nil
	})
	require.NoError(t, err)
	require.Equal(t, counting(4, 3), out[0])
}

// Chunks are as equal as can be, and laid one behind the other they are the samples; stacks are cut between their entries.
func TestChunks(t *testing.T) {
	all := counting(23, 2)
	var sizes []int
	var floats []float32
	for _, c := range Chunks(map[string]Array{"x": all}, 10) {
		sizes = append(sizes, Count(c))
		floats = append(floats, c["x"].Floats...)
	}
	require.Equal(t, []int{8, 8, 7}, sizes)
	require.Equal(t, all.Floats, floats)
	stacks := Chunks(Stacks(map[string]Array{"x": counting(12, 2)}, 3), 3)
	require.Len(t, stacks, 2)
	require.Equal(t, []int{6, 2}, stacks[0]["x"].Dims)
	require.Equal(t, 2, stacks[1]["x"].Stack)
	require.Equal(t, float32(12), stacks[1]["x"].Floats[0])
	require.Len(t, Chunks(nil, 3), 1, "a model without samples runs once")
	require.Len(t, ChunksFor(runs{}, map[string]Array{"x": counting(1000, 2)}), 1, "an engine that does not compile")
}
