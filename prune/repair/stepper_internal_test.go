package repair

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/stretchr/testify/require"
)

// Pieces declare reals in the width that the model has them in: an engine may check types.
func TestPiecesDeclareTypes(t *testing.T) {
	for _, kind := range []onnxio.DataType{onnxio.Float, onnxio.Double, onnxio.Float16, onnxio.BFloat16} {
		s := newStepper(nil, &onnxio.Model{Graph: &onnxio.Graph{}}, []map[string]Array{{
			"full":  {Dims: []int{1, 2}, Floats: []float32{1, 2}, Type: kind},
			"empty": {Dims: []int{0}, Floats: []float32{}, Type: kind},
		}}, engine.Memory{})
		g := &onnxio.Graph{}
		s.provide(g, "full", 0)
		s.provide(g, "empty", 0)
		require.Equal(t, kind, g.Inputs[0].Type.Tensor.ElemType)
		require.Equal(t, kind, g.Initializers[0].DataType)
		v, err := tensorOf("full", s.store.like("full", 0)).Float32s()
		require.NoError(t, err)
		require.Equal(t, []float32{1, 2}, v)
	}
}
