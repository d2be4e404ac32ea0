package prune_test

import (
	"context"
	"math"
	"testing"

	"github.com/metaprune/metaprune/prune"
	"github.com/stretchr/testify/require"
)

func TestAllocationShiftsGroups(t *testing.T) {
	a := analysisOf(t, "../testdata/models/mlp_bn.ts.onnx")
	var group string
	for _, g := range a.Groups {
		if g.Frozen == "" {
			group = g.Name
			break
		}
	}
	share := func(offset float64) float64 {
		p, err := prune.MakePlan(context.Background(), a, prune.Options{Target: prune.Target{SpeedUp: 1.5}, Allocation: map[string]float64{group: offset}})
		require.NoError(t, err)
		require.Equal(t, offset, p.Allocation[group])
		for _, g := range p.Groups {
			if g.Name == group {
				return float64(len(g.Removed)) / float64(g.Size)
			}
		}
		return 0
	}
	less, plain, more := share(-1), share(0), share(1)
	require.Greater(t, less, plain)
	require.Less(t, more, plain)
	for want, o := range map[string]prune.Options{
		`no group "nowhere"`:    {Allocation: map[string]float64{"nowhere": 1}},
		"a number between -100": {Allocation: map[string]float64{group: math.NaN()}},
		"ranking isomorphic":    {Allocation: map[string]float64{group: 1}, Ranking: "isomorphic"},
	} {
		o.Target.SpeedUp = 1.5
		_, err := prune.MakePlan(context.Background(), a, o)
		require.ErrorContains(t, err, want)
	}
}
