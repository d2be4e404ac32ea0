package ort_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/stretchr/testify/require"
)

var _ engine.Compiler = (*ort.Engine)(nil)

func newEngine(t testing.TB) *ort.Engine { return ort.NewEngine(orttest.Library(t), ort.Options{}) }

// Real numbers go in and out in the width of the model, integers and booleans by value.
func TestArrays(t *testing.T) {
	e, ctx := newEngine(t), context.Background()
	for kind, v := range map[onnxio.DataType][]float32{
		onnxio.Float: {1.5, -2}, onnxio.Double: {1.5, -2}, onnxio.Float16: {1.5, -2}, onnxio.BFloat16: {1.5, -2},
	} {
		m := model(tensorType(kind, -1), tensorType(kind, -1), node("Identity", "y", "x"))
		out, err := e.Run(ctx, m, map[string]engine.Array{"x": {Dims: []int{2}, Floats: v, Type: onnxio.Float}})
		require.NoError(t, err, kind)
		require.Equal(t, []engine.Array{{Dims: []int{2}, Floats: v, Type: kind}}, out)
	}
	for kind, v := range map[onnxio.DataType][]int64{
		onnxio.Bool: {1, 0}, onnxio.Int8: {-3, 7}, onnxio.Uint8: {255, 0}, onnxio.Int16: {-300, 7}, onnxio.Uint16: {65535, 0},
		onnxio.Int32: {-70000, 1}, onnxio.Uint32: {1 << 31, 0}, onnxio.Int64: {-1 << 40, 1}, onnxio.Uint64: {1 << 40, 1},
	} {
		m := model(tensorType(kind, -1), tensorType(kind, -1), node("Identity", "y", "x"))
		out, err := e.Run(ctx, m, map[string]engine.Array{"x": {Dims: []int{2}, Ints: v, Type: kind}})
		require.NoError(t, err, kind)
		require.Equal(t, []engine.Array{{Dims: []int{2}, Ints: v, Type: kind}}, out)
		_, err = e.Run(ctx, m, map[string]engine.Array{"x": {Dims: []int{2}, Floats: []float32{1, 2}}})
		require.ErrorContains(t, err, "got real numbers", kind)
	}
}

// What a piece of a model does not know, the types of its outputs, is inferred; what it declares wrongly does not matter.
func TestOutputTypesAreInferred(t *testing.T) {
	m := model(tensorType(onnxio.Float, 2, 3), tensorType(onnxio.Float), node("Shape", "y", "x"))
	out, err := newEngine(t).Run(context.Background(), m, map[string]engine.Array{"x": {Dims: []int{5, 3}, Floats: make([]float32, 15)}})
	require.NoError(t, err)
	require.Equal(t, []int64{5, 3}, out[0].Ints)
	require.Equal(t, onnxio.Float, m.Graph.Outputs[0].Type.Tensor.ElemType, "the model is not changed")
	require.Equal(t, int64(2), m.Graph.Inputs[0].Type.Tensor.Shape.Dims[0].Value)
}

func TestEngineRefuses(t *testing.T) {
	e, ctx := newEngine(t), context.Background()
	unknown := model(tensorType(onnxio.Float, 2), tensorType(onnxio.Float, 2), node("Abracadabra", "y", "x"))
	_, err := e.Run(ctx, unknown, nil)
	require.ErrorAs(t, err, new(*onnxio.UnsupportedError))
	m := model(tensorType(onnxio.Float, 2), tensorType(onnxio.Float, 2), node("Neg", "y", "x"))
	_, err = e.Run(ctx, m, nil)
	require.ErrorContains(t, err, `input "x" has no value`)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = e.Run(cancelled, m, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// reshaped flattens with the batch of one written into the shape, so that two samples become one row.
func reshaped(to ...int64) *onnxio.Model {
	m := model(tensorType(onnxio.Float, 1, 2, 2), tensorType(onnxio.Float, 1, -1), node("Reshape", "y", "x", "shape"))
	m.Graph.Initializers = []*onnxio.Tensor{onnxio.NewInt64s("shape", to)}
	return m
}

func TestBatches(t *testing.T) {
	e, ctx := newEngine(t), context.Background()
	samples := func(n int) map[string]engine.Array {
		a := engine.Array{Dims: []int{n, 2, 2}, Type: onnxio.Float}
		for i := range 4 * n {
			a.Floats = append(a.Floats, float32(i))
		}
		return map[string]engine.Array{"x": a}
	}
	require.Equal(t, 1, e.Batches(ctx, reshaped(1, -1), samples(4)), "the shape holds one sample")
	require.Equal(t, 0, e.Batches(ctx, reshaped(-1, 4), samples(4)), "the shape holds any number")
	require.Equal(t, 0, e.Batches(ctx, reshaped(1, -1), samples(1)), "there is one sample")
	free := reshaped(1, -1)
	free.Graph.Inputs[0].Type.Tensor.Shape.Dims[0] = &onnxio.Dim{Param: "N"}
	require.Equal(t, 0, e.Batches(ctx, free, samples(4)), "no batch is declared")
	mixing := model(tensorType(onnxio.Float, 1, 2, 2), tensorType(onnxio.Float, 1, 2, 2), node("CumSum", "y", "x", "axis"))
	axis := onnxio.NewInt64s("axis", []int64{0})
	axis.Dims = nil
	mixing.Graph.Initializers = []*onnxio.Tensor{axis}
	require.Equal(t, 1, e.Batches(ctx, mixing, samples(4)), "the second sample depends on the first")

	out, err := e.Run(ctx, reshaped(1, -1), engine.Stacks(samples(3), 1))
	require.NoError(t, err)
	require.Equal(t, []int{3, 4}, out[0].Dims)
	require.Equal(t, 3, out[0].Stack)
}

func TestEngineIsCancelled(t *testing.T) {
	e := newEngine(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := e.Run(ctx, long(), map[string]engine.Array{"x": {Dims: []int{1024, 1024}, Floats: make([]float32, 1<<20)}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), time.Second)
}

// Models that no other engine here runs: quantised ones, contrib operators, attention, control flow, external data.
func TestModelsOfTheRepository(t *testing.T) {
	e, ctx := newEngine(t), context.Background()
	for _, name := range []string{"quantised", "contrib", "ort_fused", "ort_attention", "control", "int4", "fp16", "embed"} {
		f, err := onnxio.Open(filepath.Join("../../../testdata/models", name+".onnx"))
		require.NoError(t, err)
		c, err := e.Compile(ctx, f.Model)
		require.NoError(t, err, name)
		c.Close()
		require.NoError(t, f.Close())
	}
	dir := t.TempDir()
	f, err := onnxio.Open("../../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	require.NoError(t, f.Model.SaveExternal(filepath.Join(dir, "m.onnx"), false))
	apart, err := onnxio.Open(filepath.Join(dir, "m.onnx"))
	require.NoError(t, err)
	require.True(t, apart.Model.HasExternal())
	x := map[string]engine.Array{f.Model.Graph.Inputs[0].Name: {Dims: []int{2, 1, 28, 28}, Floats: slices.Repeat([]float32{.5}, 2*28*28)}}
	want, err := e.Run(ctx, f.Model, x)
	require.NoError(t, err)
	got, err := e.Run(ctx, apart.Model, x)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, apart.Close())
	require.NoError(t, f.Close())
}

// Of two models the one with a tenth of the work takes less time, whatever else the machine does.
func TestTimes(t *testing.T) {
	heavy := model(tensorType(onnxio.Float, 512, 512), tensorType(onnxio.Float, 512, 512), node("MatMul", "a", "x", "x"), node("MatMul", "b", "a", "x"), node("MatMul", "y", "b", "x"))
	light := model(tensorType(onnxio.Float, 512, 512), tensorType(onnxio.Float, 512, 512), node("Neg", "y", "x"))
	first, second, err := newEngine(t).Times(context.Background(), heavy, light, 100*time.Millisecond)
	require.NoError(t, err)
	require.Greater(t, first, second)
	require.Positive(t, second)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = newEngine(t).Times(cancelled, heavy, light, time.Millisecond)
	require.ErrorIs(t, err, context.Canceled)
}
