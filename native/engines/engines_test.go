package engines_test

import (
	"context"
	"testing"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

// images are some of the test images.
func images(t *testing.T, n int) *data.Set {
	t.Helper()
	splits, err := data.Open("../../testdata/fashion-test-1000-images-idx3-ubyte.gz,../../testdata/fashion-test-1000-labels-idx1-ubyte.gz", data.Geometry{})
	require.NoError(t, err)
	set := splits.Test
	if set == nil {
		set = splits.Train
	}
	return set.Shuffled(n, 1)
}

func TestOpen(t *testing.T) {
	orttest.Library(t)
	r, err := engines.Open("")
	require.NoError(t, err)
	require.Equal(t, engines.ORT, r.Kind, "the best one is the default")
	require.Contains(t, r.Name(), "ONNX Runtime 1.")
	b, err := r.Gradients()
	require.NoError(t, err)
	require.NotEmpty(t, b.Kind)
	r.Close()

	t.Setenv(ort.Variable, "/nowhere")
	_, err = engines.Open(engines.ORT)
	require.ErrorAs(t, err, new(*ort.LoadError), "what is named is not replaced")
	r, err = engines.Open("")
	require.NoError(t, err)
	require.NotEqual(t, engines.ORT, r.Kind)
	r.Close()
	_, err = engines.Open("abacus")
	require.ErrorContains(t, err, "abacus")
}

// Engines measure the same accuracy, also where the last batch is not full or the model declares a batch of one.
func TestScores(t *testing.T) {
	orttest.Library(t)
	file, err := onnxio.Open("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	set := images(t, 30)
	var scores []float64
	for _, kind := range []string{engines.ORT, xla.Go} {
		r, err := engines.Open(kind)
		require.NoError(t, err)
		s, err := r.Score(context.Background(), file.Model, set, 20)
		require.NoError(t, err)
		require.Greater(t, s.Accuracy, .8, kind)
		require.Equal(t, 30, s.Images)
		scores = append(scores, s.Loss)
		r.Close()
	}
	require.InDelta(t, scores[0], scores[1], 1e-4)

	r, err := engines.Open(engines.ORT)
	require.NoError(t, err)
	defer r.Close()
	file.Model.Graph.Inputs[0].Type.Tensor.Shape.Dims[0] = &onnxio.Dim{Value: 1, HasValue: true}
	s, err := r.Score(context.Background(), file.Model, set, 20)
	require.NoError(t, err)
	require.InDelta(t, scores[0], s.Loss, 1e-4)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.Score(cancelled, file.Model, set, 20)
	require.ErrorIs(t, err, context.Canceled)
}
