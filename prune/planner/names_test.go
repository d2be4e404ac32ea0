package planner_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/randnet"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// names are the names of the groups that can be pruned, by ID.
func names(a *coupling.Analysis) map[string]string {
	out := map[string]string{}
	for _, g := range a.Groups {
		if g.Frozen == "" {
			out[g.ID] = g.Name
		}
	}
	return out
}

// Groups of random networks have unique IDs and names, every layer is found, and what is ignored by ID is kept whole.
func TestNamesOfRandomNetworks(t *testing.T) {
	for seed := range uint64(randomNetworks) {
		o := randnet.Options{Seed: seed, Style: randnet.Style{Identities: seed%2 == 1, Constants: seed%3 == 1, MatMulAdd: seed%5 == 1}}
		a := analyzed(t, randnet.New(o))
		ids, called := map[string]bool{}, map[string]bool{}
		for i, g := range a.Groups {
			ids[g.ID], called[g.Name] = true, true
			require.Equal(t, []int{i}, a.GroupsOf(g.ID), "seed %d", seed)
			require.Contains(t, a.GroupsOf(g.Name), i, "seed %d: %s", seed, g.Name)
		}
		require.Len(t, ids, len(a.Groups), "seed %d", seed)
		require.Len(t, called, len(a.Groups), "seed %d", seed)
		for _, l := range a.NewState().Layers() {
			if len(a.GroupsOf(l.Node)) == 0 {
				require.NotContains(t, a.Unfollowed(l.Node), "neither", "seed %d: %s", seed, l.Node)
			}
		}
		units, total := map[string]int{}, 0
		for _, g := range a.Groups {
			if g.Frozen == "" {
				units[g.ID] = len(g.Units)
				total += len(g.Units)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(units))[:min(3, max(len(units)-1, 0))] {
			share := .4 * float64(total-units[id]) / float64(total)
			p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{Ratio: share}, Ignore: []string{id}})
			require.NoError(t, err, "seed %d", seed)
			for _, g := range p.Groups {
				require.True(t, g.ID != id || len(g.Removed) == 0, "seed %d: %s is to be kept", seed, id)
			}
		}
	}
}

// The smaller model's groups are called as the original's.
func TestNamesAfterPruning(t *testing.T) {
	for _, file := range []string{"fashion-resnet20.onnx", "fashion-vit.onnx", "models/heads.dy.onnx", "models/yoloish.dy.onnx", "models/recurrent.onnx"} {
		a := analysisOf(t, "../../testdata/"+file)
		p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{Ratio: .3}})
		require.NoError(t, err)
		small, err := planner.Apply(a, p)
		require.NoError(t, err)
		require.Equal(t, names(a), names(analyzed(t, small)), file)
	}
}

// Offsets are found by ID, by name and, as allocations of earlier versions have them, by the tensor that several groups may be called by.
func TestAllocationByAnyName(t *testing.T) {
	a := analysisOf(t, "../../testdata/fashion-vit.onnx")
	removed := func(allocation map[string]float64) map[string]int {
		p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{Ratio: .3}, Allocation: allocation})
		require.NoError(t, err)
		out := map[string]int{}
		for _, g := range p.Groups {
			out[g.Name] = len(g.Removed)
		}
		return out
	}
	const heads, dims = "blocks.0.q.weight (heads)", "blocks.0.q.weight (channels per head)"
	plain := removed(nil)
	require.Positive(t, plain[dims])
	require.Zero(t, removed(map[string]float64{dims: 10})[dims])
	id := a.Groups[a.GroupsOf(dims)[0]].ID
	require.Equal(t, removed(map[string]float64{dims: 10}), removed(map[string]float64{id: 10}))
	both := removed(map[string]float64{"blocks.0.q.weight": 10})
	require.Zero(t, both[heads]+both[dims])
}
