package prune_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// chance is an engine that gives what the test wants.
type chance struct{ err error }

func (c chance) Run(context.Context, *onnxio.Model, map[string]prune.Array) ([]prune.Array, error) {
	return nil, c.err
}

func TestOptionsThatHaveNoMeaning(t *testing.T) {
	m, err := prune.Open(resnet)
	require.NoError(t, err)
	defer m.Close()
	few := prune.Array{Dims: []int{2, 1, 28, 28}, Floats: make([]float32, 2*28*28)}
	for name, o := range map[string]prune.Options{
		"no target":                          {},
		"two targets":                        {SpeedUp: 2, Params: .5},
		"criterion obs: calibration":         {SpeedUp: 2, Criterion: "obs"},
		"criterion metanet without one":      {SpeedUp: 2, Criterion: "metanet"},
		"unknown criterion":                  {SpeedUp: 2, Criterion: "l3"},
		"calibration without engine":         {SpeedUp: 2, Calibration: &prune.Calibration{Noise: map[string][]int{"image": {1, 28, 28}}}},
		"calibration without inputs":         {SpeedUp: 2, Calibration: &prune.Calibration{Engine: chance{}}},
		"calibration with samples and noise": {SpeedUp: 2, Calibration: &prune.Calibration{Engine: chance{}, Samples: map[string]prune.Array{"image": few}, Noise: map[string][]int{"image": {1, 28, 28}}}},
		"calibration with two samples":       {SpeedUp: 2, Calibration: &prune.Calibration{Engine: chance{}, Samples: map[string]prune.Array{"image": few}}},
		"calibration of another input":       {SpeedUp: 2, Calibration: &prune.Calibration{Engine: chance{}, Noise: map[string][]int{"imago": {1, 28, 28}}}},
		"calibration of zeros":               {Pattern: "2:4", Calibration: &prune.Calibration{Engine: chance{}, Noise: map[string][]int{"image": {1, 28, 28}}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := m.Prune(context.Background(), o)
			require.Nil(t, p)
			var option *planner.OptionError
			var samples *calib.SampleError
			require.True(t, errors.As(err, &option) || errors.As(err, &samples), "%v", err)
			require.NotContains(t, err.Error(), "--", "a library knows no flags")
		})
	}
	broken := errors.New("broken")
	_, err = m.Prune(context.Background(), prune.Options{SpeedUp: 2, Calibration: &prune.Calibration{Engine: chance{broken}, Noise: map[string][]int{"image": {1, 28, 28}}}})
	require.ErrorIs(t, err, broken)
}

// Neither the original nor its data is ever an output.
func TestSaveSparesTheOriginal(t *testing.T) {
	folder := t.TempDir()
	f, err := onnxio.Open(resnet)
	require.NoError(t, err)
	defer f.Close()
	own := filepath.Join(folder, "own.onnx")
	require.NoError(t, f.SaveExternal(own, false))
	before := contents(t, folder)
	m, err := prune.Open(own)
	require.NoError(t, err)
	defer m.Close()
	small, err := m.Prune(context.Background(), prune.Options{SpeedUp: 2})
	require.NoError(t, err)
	require.NoError(t, os.Symlink("own.onnx", filepath.Join(folder, "link.onnx")))
	require.NoError(t, os.Link(own+".data", filepath.Join(folder, "hard.onnx.data")))
	for _, name := range []string{"own.onnx", "own.onnx.data", "link.onnx", "hard.onnx"} {
		var clash *outfile.ClashError
		require.ErrorAs(t, small.Save(filepath.Join(folder, name)), &clash, name)
	}
	require.NoError(t, os.Remove(filepath.Join(folder, "link.onnx")))
	require.NoError(t, os.Remove(filepath.Join(folder, "hard.onnx.data")))
	require.Equal(t, before, contents(t, folder))
	require.NoError(t, small.Save(filepath.Join(folder, "small.onnx")))
	require.NoError(t, small.SavePlan(filepath.Join(folder, "plan.json")))
	again, err := prune.Open(filepath.Join(folder, "small.onnx"))
	require.NoError(t, err)
	defer again.Close()
	require.Equal(t, small.Plan.Achieved.MACs[1], again.Inspect().MACs)
	text, err := os.ReadFile(filepath.Join(folder, "plan.json"))
	require.NoError(t, err)
	p, err := planner.ParsePlan(text)
	require.NoError(t, err)
	_, err = m.Apply(p)
	require.NoError(t, err)
}

func contents(t *testing.T, folder string) map[string]string {
	out := map[string]string{}
	list, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		require.NoError(t, err)
		out[e.Name()] = string(b)
	}
	return out
}
