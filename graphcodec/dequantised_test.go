package graphcodec_test

import (
	"slices"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// A constant behind DequantizeLinear is a constant: channels are pruned through normalisations that scale by one, and through
// weights that are quantised a second time, whose zeros are the second zero point.
func TestDequantisedConstantsAreConstants(t *testing.T) {
	a := load(t, "../testdata/models/dequantised.onnx")
	sizes := map[string]int{}
	for _, g := range a.Groups {
		if g.Frozen == "" {
			sizes[g.Name] = len(g.Units)
		}
	}
	require.Equal(t, map[string]int{"first": 12, "second": 16, "conv1/out": 8}, sizes)
}

// The work of a group's layers is known where they read their weights through other nodes.
func TestGroupMACsBehindDequantizeLinear(t *testing.T) {
	for _, name := range []string{"12_qdq", "12_qdq_pc", "12_dyn"} {
		a := load(t, "../testdata/field/"+name+".onnx")
		for i := range a.Groups {
			if g := &a.Groups[i]; g.Frozen == "" {
				require.Positive(t, a.GroupMACs(g), "%s: %s", name, g.Name)
			}
		}
	}
}

// A number that is computed from the length of a pruned axis keeps what it was. Where it is quantised, it is no parameter in the
// smaller model either: a reader who does not count integers would find more parameters than before.
func TestQuantisedNumbersAreNoParameters(t *testing.T) {
	a := load(t, "../testdata/models/dequantised.onnx")
	s := a.NewState()
	for _, g := range a.Groups {
		if g.Frozen == "" {
			s.Remove(g.Units[1])
		}
	}
	small, err := a.Shrink(s)
	require.NoError(t, err)
	require.LessOrEqual(t, floats(t, small), floats(t, a.Model))
	require.True(t, slices.ContainsFunc(small.Graph.Nodes, func(n *onnxio.Node) bool {
		return n.OpType == "Constant" && n.Attributes[0].Name == "value_floats" && n.Attributes[0].Floats[0] == 4
	}), "the root of 16 channels")
}

// floats is how many floating-point numbers the tensors of a model hold.
func floats(t *testing.T, m *onnxio.Model) (sum int64) {
	t.Helper()
	count := func(x *onnxio.Tensor) {
		if x != nil && x.DataType.IsFloat() {
			n, err := x.NumElements()
			require.NoError(t, err)
			sum += n
		}
	}
	for _, x := range m.Graph.Initializers {
		count(x)
	}
	for _, n := range m.Graph.Nodes {
		count(onnxio.ConstantOf(n))
	}
	return sum
}

// Exporters share one vector of zeros between the shifts of normalisations: each of them is pruned by itself.
func TestSharedZeroShiftsAreNoCoupling(t *testing.T) {
	a := load(t, "../testdata/models/shift.onnx")
	sizes := map[string]int{}
	for _, g := range a.Groups {
		if g.Frozen == "" {
			sizes[g.Name] = len(g.Units)
		}
	}
	require.Equal(t, map[string]int{"words": 12, "first": 16, "conv1/out": 8, "conv2/out": 8}, sizes)
}
