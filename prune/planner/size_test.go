package planner_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// A target in bytes is that of the files that are written: graph, small tensors and external data included.
func TestSizeIsThatOfTheFiles(t *testing.T) {
	for _, path := range []string{"field/12_float.ts.onnx", "field/12_dyn.onnx", "field/12_qdq.onnx", "field/12_qop.onnx", "models/zeros.dy.onnx", "models/groups.onnx", "models/fp16.onnx", "models/op7.onnx"} {
		a := analysisOf(t, "../../testdata/"+path)
		whole := a.Source().WrittenSize("")
		for _, share := range []float64{.98, .92, .85} {
			goal := int64(share * float64(whole))
			p, err := planner.MakePlan(t.Context(), a, planner.Options{Target: planner.Target{Bytes: goal}})
			var missed *planner.TargetError
			if share < .9 && err != nil {
				require.ErrorAs(t, err, &missed, "%s at %g", path, share)
				continue // most of the file is its graph
			}
			require.NoError(t, err, "%s at %g", path, share)
			m, err := planner.Apply(a, p)
			require.NoError(t, err)
			data, err := m.Marshal()
			require.NoError(t, err)
			require.LessOrEqual(t, int64(len(data)), goal, "%s at %g", path, share)
			require.Greater(t, float64(len(data)), .93*float64(goal), "%s at %g", path, share)
		}
	}
}

// The same with external data, whose tensors lie on pages.
func TestSizeWithExternalData(t *testing.T) {
	dir := t.TempDir()
	inner, err := onnxio.Open("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, inner.Close()) })
	path := filepath.Join(dir, "model.onnx")
	require.NoError(t, inner.Model.SaveExternal(path, false))
	require.Equal(t, sizeOf(t, path), inner.Model.WrittenSize("model.onnx.data"))

	f, err := onnxio.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	a, err := coupling.Analyze(f.Model)
	require.NoError(t, err)
	goal := sizeOf(t, path) * 7 / 10
	p, err := planner.MakePlan(t.Context(), a, planner.Options{Target: planner.Target{Bytes: goal}, DataFile: "small.onnx.data"})
	require.NoError(t, err)
	m, err := planner.Apply(a, p)
	require.NoError(t, err)
	small := filepath.Join(dir, "small.onnx")
	require.NoError(t, m.SaveExternal(small, false))
	require.LessOrEqual(t, sizeOf(t, small), goal)
	require.Greater(t, sizeOf(t, small), goal*97/100)
}

// sizeOf is the size of a model with its external data.
func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	var sum int64
	for _, p := range []string{path, path + ".data"} {
		s, err := os.Stat(p)
		require.NoError(t, err)
		sum += s.Size()
	}
	return sum
}

// Where most of the work are products of integers, the target is one of those.
func TestSpeedUpOfQuantisedModels(t *testing.T) {
	for _, name := range []string{"12_dyn", "12_qdq", "12_float.ts"} {
		p, err := planner.MakePlan(t.Context(), analysisOf(t, "../../testdata/field/"+name+".onnx"), planner.Options{Target: planner.Target{SpeedUp: 1.5}})
		require.NoError(t, err)
		require.InDelta(t, 1.5, float64(p.Achieved.MACs[0])/float64(p.Achieved.MACs[1]), .03, name)
	}
}
