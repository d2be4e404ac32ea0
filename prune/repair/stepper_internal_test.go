package repair

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/stretchr/testify/require"
)

// The progress of a repair counts a layer by its work.
func TestProgressCountsWork(t *testing.T) {
	m := func(inputs int64) *onnxio.Model {
		w := &onnxio.Tensor{Name: "w", DataType: onnxio.Float, Dims: []int64{inputs, 8}}
		return &onnxio.Model{Graph: &onnxio.Graph{Initializers: []*onnxio.Tensor{w}, Nodes: []*onnxio.Node{{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"y"}}}}}
	}
	work := func(inputs int64, method string) int {
		q := &pair{p: newStepper(nil, m(inputs), nil, engine.Memory{}), options: Options{MaxInputs: MaxInputs, MaxRows: MaxRows}}
		return q.work(q.p.layerOf(0), method)
	}
	require.Greater(t, work(2000, Solve), 50*work(200, Solve)/4)
	require.Equal(t, fixedWork, work(2000, Match))
	require.Equal(t, fixedWork, work(MaxInputs+1, Solve), "too wide for least squares")
	require.EqualValues(t, 8*100*108, LeastMemory(m(100)))
}

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
