package planner_test

import (
	"context"
	"math"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

func TestAllocationShiftsGroups(t *testing.T) {
	a := analysisOf(t, "../../testdata/models/mlp_bn.ts.onnx")
	var group string
	for _, g := range a.Groups {
		if g.Frozen == "" {
			group = g.Name
			break
		}
	}
	share := func(offset float64) float64 {
		p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{SpeedUp: 1.5}, Allocation: map[string]float64{group: offset}})
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
	for want, o := range map[string]planner.Options{
		`no group "nowhere"`:    {Allocation: map[string]float64{"nowhere": 1}},
		"a number between -100": {Allocation: map[string]float64{group: math.NaN()}},
		"ranking isomorphic":    {Allocation: map[string]float64{group: 1}, Ranking: "isomorphic"},
	} {
		o.Target.SpeedUp = 1.5
		_, err := planner.MakePlan(context.Background(), a, o)
		require.ErrorContains(t, err, want)
	}
}

// FPGM: a unit's score is the sum of the distances of its slices to the others'. LAMP: by the sum of those that are as large or larger.
func TestFPGMAndLAMP(t *testing.T) {
	a := analysisOf(t, "../../testdata/models/mlp_bn.ts.onnx")
	raw, err := planner.Score(a, nil, planner.Criterion{Kind: "fpgm", Normalizer: "none"})
	require.NoError(t, err)
	lamp, err := planner.Score(a, nil, planner.Criterion{Normalizer: "lamp"})
	require.NoError(t, err)
	l2, err := planner.Score(a, nil, planner.Criterion{Normalizer: "none"})
	require.NoError(t, err)
	groups := 0
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		groups++
		want := make([]float64, len(g.Units))
		members := 0.0
		for _, m := range g.Members {
			if m.Role != op.Output && m.Role != op.Input {
				continue
			}
			members++
			v, err := m.Const.Tensor.Float64s()
			require.NoError(t, err)
			rows, cols := int(m.Const.Tensor.Dims[0]), int(m.Const.Tensor.Dims[1])
			at := func(u coupling.UnitID, k int) float64 {
				p := int(a.Positions(u, m)[0])
				if m.Axis == 0 {
					return v[p*cols+k]
				}
				return v[k*cols+p]
			}
			length := cols
			if m.Axis == 1 {
				length = rows
			}
			for x, u := range g.Units {
				for _, w := range g.Units {
					d := 0.0
					for k := range length {
						d += (at(u, k) - at(w, k)) * (at(u, k) - at(w, k))
					}
					want[x] += math.Sqrt(d)
				}
			}
		}
		for x, u := range g.Units {
			require.InEpsilon(t, want[x]/members, raw[u], 1e-6, g.Name)
			larger := 0.0
			for _, w := range g.Units {
				if l2[w] >= l2[u] {
					larger += l2[w]
				}
			}
			require.InEpsilon(t, l2[u]/larger, lamp[u], 1e-9)
		}
	}
	require.Positive(t, groups)
}

// Heads and the channels of heads leave apart from one another, and what is no attention leaves with either.
func TestHeadsAndTheirChannels(t *testing.T) {
	a := analysisOf(t, "../../testdata/models/attention23.onnx")
	for kind, other := range map[coupling.Kind]coupling.Kind{coupling.Heads: coupling.HeadDim, coupling.HeadDim: coupling.Heads, "": ""} {
		p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{SpeedUp: 1.2}, Attention: kind})
		require.NoError(t, err)
		require.Equal(t, kind, p.Attention)
		gone := map[coupling.Kind]int{}
		at := 0
		for _, g := range a.Groups {
			if g.Frozen == "" {
				require.Equal(t, g.Name, p.Groups[at].Name)
				gone[g.Kind] += len(p.Groups[at].Removed)
				at++
			}
		}
		if kind == "" {
			require.Positive(t, gone[coupling.Heads]+gone[coupling.HeadDim])
			continue
		}
		require.Positive(t, gone[kind], kind)
		require.Zero(t, gone[other], kind)
	}
	_, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{SpeedUp: 1.2}, Attention: "tails"})
	require.ErrorContains(t, err, "heads or head-dim")
}

func TestCountComputed(t *testing.T) {
	a := analysisOf(t, "../../testdata/models/branches.onnx")
	ratio := func(v [2]int64) float64 { return float64(v[0]) / float64(v[1]) }
	both, err := planner.MakePlan(t.Context(), a, planner.Options{Target: planner.Target{SpeedUp: 1.3}})
	require.NoError(t, err)
	own, err := planner.MakePlan(t.Context(), a, planner.Options{Target: planner.Target{SpeedUp: 1.3, Computed: true}})
	require.NoError(t, err)
	require.GreaterOrEqual(t, ratio(both.Achieved.Seen), 1.3)
	require.Less(t, ratio(own.Achieved.Seen), 1.3)
	require.GreaterOrEqual(t, ratio(own.Achieved.MACs), 1.3)
	require.Less(t, ratio(own.Achieved.MACs), ratio(both.Achieved.MACs))
	hidden := analysisOf(t, "../../testdata/models/computed.onnx") // of whose work a third is visible
	for _, computed := range []bool{false, true} {
		p, err := planner.MakePlan(t.Context(), hidden, planner.Options{Target: planner.Target{SpeedUp: 1.3, Computed: computed}})
		require.NoError(t, err)
		require.GreaterOrEqual(t, ratio(p.Achieved.MACs), 1.3)
		require.Less(t, ratio(p.Achieved.Seen), 1.3)
	}
	_, err = planner.MakePlan(t.Context(), a, planner.Options{Target: planner.Target{Ratio: .3, Computed: true}})
	require.ErrorContains(t, err, "applies only to a speed-up")
	m := analysisOf(t, "../../testdata/models/mlp_bn.ts.onnx")
	same, err := planner.MakePlan(t.Context(), m, planner.Options{Target: planner.Target{SpeedUp: 1.3}})
	require.NoError(t, err)
	require.Zero(t, same.Achieved.Seen, "where both counts agree there is nothing to say")
}

// A target out of reach says what to do where the model tells.
func TestTargetErrorAdvises(t *testing.T) {
	_, err := planner.MakePlan(context.Background(), analysisOf(t, "../../testdata/field/nchwc/conv_all.onnx"), planner.Options{Target: planner.Target{SpeedUp: 1.5}})
	require.ErrorContains(t, err, "cannot be reached; the most that can be removed gives 1.000. The model holds operators of com.microsoft.nchwc")
	_, err = planner.MakePlan(context.Background(), analysisOf(t, "../../testdata/models/mlp_bn.ts.onnx"), planner.Options{Target: planner.Target{SpeedUp: 1e6}})
	require.NotContains(t, err.Error(), "ORT_ENABLE_EXTENDED")
}
