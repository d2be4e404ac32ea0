package planner

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// twoLayers is x -> Gemm w1 [3, 2], b1 -> Relu -> Gemm w2 [1, 3].
func twoLayers(t testing.TB, w1, b1, w2 []float32) *coupling.Analysis {
	t.Helper()
	tensor := func(name string, v []float32, dims ...int64) *onnxio.Tensor {
		x := &onnxio.Tensor{Name: name, Dims: dims, DataType: onnxio.Float}
		require.NoError(t, x.SetFloat32s(v))
		return x
	}
	face := func(name string, n int64) *onnxio.ValueInfo {
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: &onnxio.Shape{Dims: []*onnxio.Dim{{Value: 1, HasValue: true}, {Value: n, HasValue: true}}}}}}
	}
	transB := []*onnxio.Attribute{{Name: "transB", Type: onnxio.AttrInt, I: 1}}
	a, err := coupling.Analyze(&onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "g",
		Inputs: []*onnxio.ValueInfo{face("x", 2)}, Outputs: []*onnxio.ValueInfo{face("y", 1)},
		Nodes: []*onnxio.Node{{OpType: "Gemm", Inputs: []string{"x", "w1", "b1"}, Outputs: []string{"h"}, Attributes: transB}, {OpType: "Relu", Inputs: []string{"h"}, Outputs: []string{"r"}},
			{OpType: "Gemm", Inputs: []string{"r", "w2"}, Outputs: []string{"y"}, Attributes: transB}},
		Initializers: []*onnxio.Tensor{tensor("w1", w1, 3, 2), tensor("b1", b1, 3), tensor("w2", w2, 1, 3)}}})
	require.NoError(t, err)
	return a
}

func byName(g map[*op.Constant][]float32) map[string][]float32 {
	out := map[string][]float32{}
	for c, v := range g {
		out[c.Name] = v
	}
	return out
}

// By hand: group importances are 9+16+0=25, 0+3+1=4 and 0+1+0=1, so s is 5, 2 and 1, and gamma with alpha 16 is 16^0, 16^(3/4)=8 and 16^1.
func TestGroupSparsityByHand(t *testing.T) {
	root := float32(math.Sqrt(3))
	a := twoLayers(t, []float32{3, 4, 0, root, 1, 0}, []float32{7, 7, 7}, []float32{0, -1, 0})
	g, err := GroupSparsity(a, Criterion{}, 16)
	require.NoError(t, err)
	got := byName(g)
	require.Len(t, got, 2, "biases are no part of it")
	require.InDeltaSlice(t, []float32{3, 4, 0, 8 * root, 16, 0}, got["w1"], 1e-5)
	require.InDeltaSlice(t, []float32{0, -8, 0}, got["w2"], 1e-5)
}

func TestGroupSparsityOfEqualUnits(t *testing.T) {
	a := twoLayers(t, []float32{1, 0, 0, 1, -1, 0}, []float32{1, 2, 3}, []float32{2, 2, -2})
	g, err := GroupSparsity(a, Criterion{}, 4)
	require.NoError(t, err)
	require.Equal(t, map[string][]float32{"w1": {1, 0, 0, 1, -1, 0}, "w2": {2, 2, -2}}, byName(g))
	_, err = GroupSparsity(a, Criterion{}, math.NaN())
	require.ErrorContains(t, err, "alpha")
	// Other weights in their place.
	twice := func(c *op.Constant) (*onnxio.Tensor, error) {
		v, err := c.Tensor.Float32s()
		for i := range v {
			v[i] *= 2
		}
		other := &onnxio.Tensor{Name: c.Name, Dims: c.Tensor.Dims, DataType: onnxio.Float}
		if err == nil {
			err = other.SetFloat32s(v)
		}
		return other, err
	}
	g, err = GroupSparsity(a, Criterion{Weights: twice}, 4)
	require.NoError(t, err)
	require.Equal(t, []float32{4, 4, -4}, byName(g)["w2"])
}

// The gradient is what Torch-Pruning's GroupNormPruner.regularize adds.
func TestGroupSparsityIsTorchPrunings(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/torch-pruning/sparsity.json")
	require.NoError(t, err)
	var want struct {
		Alpha     float64              `json:"alpha"`
		Gradients map[string][]float32 `json:"gradients"`
	}
	require.NoError(t, json.Unmarshal(raw, &want))
	data, err := os.ReadFile("../../testdata/torch-pruning/sparsity.onnx")
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	g, err := GroupSparsity(a, Criterion{}, want.Alpha)
	require.NoError(t, err)
	got := byName(g)
	require.Len(t, got, len(want.Gradients))
	for name, v := range want.Gradients {
		require.InDeltaSlice(t, v, got[name], 1e-4, name)
	}
}
