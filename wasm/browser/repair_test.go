package main

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
)

func example(t *testing.T) *tool {
	t.Helper()
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	tl := &tool{}
	_, err = tl.open(data)
	require.NoError(t, err)
	return tl
}

func TestGive(t *testing.T) {
	_, err := (&tool{}).give(nil)
	require.ErrorIs(t, err, errNoModel)
	_, err = (&tool{}).noise(5, 0)
	require.ErrorIs(t, err, errNoModel)
	tl := example(t)
	for _, c := range []struct {
		name string
		dims []int
		says string
	}{{"x", []int{5, 1, 28, 28}, `array "image": want float32 [samples 1 28 28], got only x`}, {"image", []int{5, 1, 28}, "want shape [samples 1 28 28], got [5 1 28]"}, {"image", []int{5, 3, 28, 28}, "want shape"}, {"image", []int{4, 1, 28, 28}, "at least 5"}} {
		_, err := tl.give(map[string]repair.Array{c.name: {Dims: c.dims, Floats: make([]float32, 5*3*28*28)}})
		require.ErrorContains(t, err, c.says)
	}
	n, err := tl.give(map[string]repair.Array{"image": {Dims: []int{130, 1, 28, 28}, Floats: make([]float32, 130*28*28)}})
	require.NoError(t, err)
	require.Equal(t, mostSamples, n)
	require.Equal(t, mostSamples, tl.given.feeds["image"].Stack)
	require.Len(t, tl.given.feeds["image"].Floats, mostSamples*28*28)
	n, err = tl.noise(20, 1)
	require.NoError(t, err)
	require.Equal(t, []any{20, "noise"}, []any{n, tl.given.mode})
	require.ErrorContains(t, input{"ids", "int64", []int{-1, 77}}.refused(), "float32 only")
	require.ErrorContains(t, input{"x", "float32", []int{8, 3}}.refused(), "needs 8 samples at a time")
}

// What a runtime gets is a model of one sample, whose outputs' types it finds out itself.
func TestEngine(t *testing.T) {
	tl := example(t)
	_, err := tl.noise(10, 0)
	require.NoError(t, err)
	fault := errors.New("no runtime")
	var asked []int
	run := func(_ context.Context, file []byte, feeds map[string]repair.Array, samples int) ([]repair.Array, error) {
		m, err := onnxio.Decode(file, nil)
		require.NoError(t, err)
		for _, in := range m.Graph.Inputs {
			if a, ok := feeds[in.Name]; ok {
				require.EqualValues(t, a.Dims[0]/a.Stack, in.Type.Tensor.Shape.Dims[0].Value)
			}
		}
		require.Nil(t, m.Graph.Outputs[0].Type)
		asked = append(asked, samples)
		return nil, fault
	}
	ctx := context.Background()
	v, err := tl.plan(ctx, &request{Criterion: "l2", Target: planner.Target{SpeedUp: 2}})
	require.NoError(t, err)
	_, err = tl.repair(ctx, []byte(v.Plan), run)
	require.ErrorIs(t, err, fault)
	require.ErrorIs(t, tl.observe(ctx, run), fault)
	require.Equal(t, []int{2, 10}, asked)
}

func TestRepairErrors(t *testing.T) {
	ctx := context.Background()
	_, err := (&tool{}).repair(ctx, nil, nil)
	require.ErrorIs(t, err, errNoModel)
	require.ErrorIs(t, (&tool{}).observe(ctx, nil), errNoModel)
	tl := example(t)
	_, err = tl.repair(ctx, nil, nil)
	require.ErrorIs(t, err, errNoSamples)
	require.ErrorIs(t, tl.observe(ctx, nil), errNoSamples)
	_, err = tl.plan(ctx, &request{Criterion: observed, Target: planner.Target{SpeedUp: 2}})
	require.ErrorContains(t, err, "needs samples")
	_, err = tl.noise(10, 0)
	require.NoError(t, err)
	_, err = tl.repair(ctx, []byte("{"), nil)
	require.ErrorContains(t, err, "not readable as JSON")
	v, err := tl.plan(ctx, &request{Criterion: "l2", Pattern: "2:4"})
	require.NoError(t, err)
	_, err = tl.repair(ctx, []byte(v.Plan), nil)
	require.ErrorContains(t, err, "overwrite the zeros")
	_, err = tl.apply([]byte(v.Plan), []byte("no tensors"))
	require.Error(t, err)
}
