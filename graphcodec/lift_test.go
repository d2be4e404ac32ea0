package graphcodec_test

import (
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// Weights inside the branches of an If whose condition is an input are kept, with what to do about it; moved out of them they are pruned, and the If is still there with its two branches.
func TestWeightsMoveOutOfBranches(t *testing.T) {
	a := load(t, "../testdata/functions/if_in.onnx")
	frozen := 0
	for _, g := range a.Groups {
		if g.Tensor == "z/then/t_w" || g.Tensor == "z/else/e_w" {
			require.Contains(t, g.Frozen, "metaprune inline")
			frozen++
		}
	}
	require.Equal(t, 4, frozen)
	flat := a.Flat()
	i := slices.IndexFunc(flat.Graph.Nodes, func(n *onnxio.Node) bool { return n.OpType == "If" })
	for _, at := range flat.Graph.Nodes[i].Attributes {
		require.Empty(t, at.G.Initializers, at.Name)
		require.Len(t, at.G.Nodes, 4, at.Name)
	}
	b, err := coupling.Analyze(flat)
	require.NoError(t, err)
	live := map[string]int{}
	for _, g := range b.Groups {
		if g.Frozen == "" {
			live[g.Tensor] = len(g.Units)
		}
	}
	require.Equal(t, 20, live["z/then_branch/t_w"])
	require.Equal(t, 20, live["z/else_branch/e_w"])
	require.Equal(t, 8, live["z/then_branch/t_v"], "both branches give the same channels")
	require.Same(t, b.Source().Graph.Nodes[i], b.Flat().Graph.Nodes[i], "nothing is left to move")
}
