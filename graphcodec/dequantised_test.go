package graphcodec_test

import (
	"testing"

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
