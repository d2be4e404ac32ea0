package graphcodec_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Normalisations over all channels that are written out at free sizes: their channels are pruned, and the zeros in their place are
// put in front of every one of them.
func TestFlatNormalisations(t *testing.T) {
	for _, name := range []string{"gnflat.ts", "gnflat.dy"} {
		a := load(t, "../testdata/models/"+name+".onnx")
		s := a.NewState()
		sizes := map[int]int{}
		for _, g := range a.Groups {
			if g.Frozen == "" {
				sizes[len(g.Units)]++
				s.Remove(g.Units[0])
			}
		}
		require.Equal(t, map[int]int{12: 1, 10: 1, 14: 1}, sizes, name)
		small, err := a.Shrink(s)
		require.NoError(t, err)
		pads, slices := 0, 0
		for _, n := range small.Graph.Nodes {
			switch n.OpType {
			case "Pad":
				pads++
			case "Slice":
				slices++
			}
		}
		require.Equal(t, []int{4, 4}, []int{pads, slices}, name)
	}
}
