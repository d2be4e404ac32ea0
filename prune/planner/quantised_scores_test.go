package planner_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaprune/metaprune/prune/planner"
)

// Quantised weights are scored by the numbers that they stand for, wherever the file keeps their scales: the
// scores of a network are nearly the same in every format. A dynamically quantised one multiplies them in
// after the product.
func TestQuantisedWeightsAreScoredAsRealOnes(t *testing.T) {
	score := func(name string) [][]float64 {
		a := analysed(t, "../../testdata/field/"+name)
		s, err := planner.Score(a, a.NewState(), planner.Criterion{Normalizer: "none"})
		require.NoError(t, err)
		var out [][]float64
		for _, g := range a.Groups {
			if g.Frozen != "" {
				continue
			}
			var v []float64
			for _, u := range g.Units {
				v = append(v, s[u])
			}
			out = append(out, v)
		}
		return out
	}
	want := score("12_float.ts.onnx")
	require.NotEmpty(t, want)
	for _, name := range []string{"12_dyn.onnx", "12_qdq.onnx", "12_qdq_pc.onnx", "12_qop.onnx"} {
		got := score(name)
		require.Len(t, got, len(want), name)
		for i := range want {
			require.InEpsilonSlice(t, want[i], got[i], 0.05, "%s, group %d", name, i)
		}
	}
	// Of the network with unsigned weights, one group can be pruned.
	unsigned := score("12_dyn_u8.onnx")
	require.Len(t, unsigned, 1)
	require.InEpsilonSlice(t, want[1], unsigned[0], 0.05)
}
