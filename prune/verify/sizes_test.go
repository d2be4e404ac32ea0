package verify

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// The sizes are written into a copy of the model, which every engine draws its inputs from.
func TestVerifyRunsAtTheSizes(t *testing.T) {
	const model = "../../testdata/models/gnfree.ts.onnx"
	f, err := onnxio.Open(model)
	require.NoError(t, err)
	defer f.Close()
	sized := atSizes(f.Model, map[string][]int64{"input": {2, 3, 24, 40}})
	var dims []int64
	for _, d := range sized.Graph.Inputs[0].Type.Tensor.Shape.Dims {
		dims = append(dims, d.Value)
	}
	require.Equal(t, []int64{2, 3, 24, 40}, dims)
	require.NotEqual(t, int64(24), f.Model.Graph.Inputs[0].Type.Tensor.Shape.Dims[2].Value, "the model itself stays as it is")
}
