package planner

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

type floats []float32

func (f floats) Len() int                   { return len(f) }
func (f floats) Floats() ([]float32, error) { return f, nil }

// A copy of a vector keeps its numbers where the original gets others; one that is named gets its own.
func TestRestoreLeavesCopies(t *testing.T) {
	b := &onnxio.Tensor{Name: "b", Dims: []int64{2}, DataType: onnxio.Float}
	b.SetRaw(make([]byte, 8))
	require.NoError(t, b.SetFloat32s([]float32{1, 2}))
	identity := func(to string) *onnxio.Node {
		return &onnxio.Node{OpType: "Identity", Inputs: []string{"b"}, Outputs: []string{to}}
	}
	m := &onnxio.Model{Graph: &onnxio.Graph{Initializers: []*onnxio.Tensor{b}, Nodes: []*onnxio.Node{identity("copy"), identity("other")}}}
	out, err := restore(m, map[string]Numbers{"b": floats{5, 6}, "other": floats{7, 8}})
	require.NoError(t, err)
	values := func(x *onnxio.Tensor) []float32 {
		require.NotNil(t, x)
		v, err := x.Float32s()
		require.NoError(t, err)
		return v
	}
	require.Equal(t, []float32{5, 6}, values(out.Graph.Initializers[0]))
	require.Equal(t, []float32{1, 2}, values(onnxio.ConstantOf(out.Graph.Nodes[0])))
	require.Equal(t, []float32{7, 8}, values(onnxio.ConstantOf(out.Graph.Nodes[1])))
	require.Equal(t, "Identity", m.Graph.Nodes[0].OpType, "the model itself is left alone")
}
