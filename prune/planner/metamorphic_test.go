package planner_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/randnet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

const randomNetworks = 150

func analyzed(t *testing.T, m *onnxio.Model) *coupling.Analysis {
	t.Helper()
	data, err := m.Marshal()
	require.NoError(t, err)
	again, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(again)
	require.NoError(t, err)
	return a
}

func planned(t *testing.T, a *coupling.Analysis, share float64) *planner.Plan {
	t.Helper()
	p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{Ratio: share}})
	require.NoError(t, err)
	_, err = planner.Apply(a, p)
	require.NoError(t, err)
	return p
}

// cuts are what leaves of each weight, by the name of the tensor that the network was drawn with.
func cuts(p *planner.Plan) map[string][]int {
	out := map[string][]int{}
	for _, r := range p.Removed {
		name := strings.TrimSuffix(r.Tensor, ".same")
		if strings.HasPrefix(name, "s") && !strings.HasPrefix(name, "scales") && len(r.Indices) > 0 {
			out[fmt.Sprint(name, " axis ", r.Axis)] = slices.Sorted(slices.Values(r.Indices))
		}
	}
	return out
}

// How a network is written down must not change what is pruned.
func TestStylesPruneTheSame(t *testing.T) {
	styles := map[string]func(*randnet.Options){
		"identities":      func(o *randnet.Options) { o.Style.Identities = true },
		"matmul and add":  func(o *randnet.Options) { o.Style.MatMulAdd = true },
		"constant nodes":  func(o *randnet.Options) { o.Style.Constants = true },
		"operator set 13": func(o *randnet.Options) { o.Opset = 13 },
		"operator set 18": func(o *randnet.Options) { o.Opset = 18 },
		"operator set 20": func(o *randnet.Options) { o.Opset = 20 },
		"all of it at once": func(o *randnet.Options) {
			o.Opset, o.Style = 18, randnet.Style{Identities: true, MatMulAdd: true, Constants: true}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(styles)) {
		compared := 0
		for seed := range uint64(randomNetworks) {
			o := randnet.Options{Seed: seed, Opset: 17}
			a := analyzed(t, randnet.New(o))
			styles[name](&o)
			b := analyzed(t, randnet.New(o))
			if live(a) < 4 || o.Opset == 13 && slices.ContainsFunc(a.Source().Graph.Nodes, isLayerNorm) {
				continue
			}
			want, got := cuts(planned(t, a, .4)), cuts(planned(t, b, .4))
			require.Equal(t, want, got, "%s, seed %d", name, seed)
			compared++
		}
		require.Greater(t, compared, randomNetworks/3, name)
	}
}

// One vector of zeros for all biases of a length prunes like one for each, and gives the same function.
func TestSharedZerosPruneTheSame(t *testing.T) {
	compared, shared := 0, 0
	for seed := range uint64(2 * randomNetworks) {
		o := randnet.Options{Seed: seed, Style: randnet.Style{ZeroBiases: true}}
		a := analyzed(t, randnet.New(o))
		o.Style.SharedZeros = true
		m := randnet.New(o)
		if live(a) < 4 {
			continue
		}
		want, got := cuts(planned(t, a, .4)), cuts(planned(t, analyzed(t, m), .4))
		for _, c := range []map[string][]int{want, got} {
			maps.DeleteFunc(c, func(name string, _ []int) bool { return strings.Contains(name, ".bias") })
		}
		require.Equal(t, want, got, "seed %d", seed)
		compared++
		if len(readCounts(m)) > 0 {
			shared++
		}
	}
	require.Greater(t, compared, randomNetworks/2)
	require.Greater(t, shared, randomNetworks/4, "networks in which several layers read one vector")
}

// readCounts are the vectors of zeros that several nodes read.
func readCounts(m *onnxio.Model) map[string]int {
	out := map[string]int{}
	for _, n := range m.Graph.Nodes {
		for _, in := range n.Inputs {
			if strings.HasPrefix(in, "zeros.") {
				out[in]++
			}
		}
	}
	maps.DeleteFunc(out, func(_ string, n int) bool { return n < 2 })
	return out
}

// isLayerNorm finds what operator set 13 has to write out: where channels are not zero when removed only the operator itself says over what a statistic is taken.
func isLayerNorm(n *onnxio.Node) bool { return n.OpType == "LayerNormalization" }

func live(a *coupling.Analysis) (n int) {
	for i := range a.Groups {
		if a.Groups[i].Frozen == "" {
			n += len(a.Groups[i].Units)
		}
	}
	return n
}

// Neither does the order in which nodes and initializers are listed.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(randomNetworks) {
		m := randnet.New(randnet.Options{Seed: seed})
		a := analyzed(t, m)
		if live(a) < 4 {
			continue
		}
		want := cuts(planned(t, a, .4))
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(m.Graph.Initializers), func(i, k int) {
			l := m.Graph.Initializers
			l[i], l[k] = l[k], l[i]
		})
		m.Graph.Nodes = reordered(m.Graph.Nodes, r)
		require.Equal(t, want, cuts(planned(t, analyzed(t, m), .4)), "seed %d", seed)
	}
}

// reordered is another topological order.
func reordered(nodes []*onnxio.Node, r *rand.Rand) []*onnxio.Node {
	waiting := map[string]bool{}
	for _, n := range nodes {
		for _, o := range n.Outputs {
			waiting[o] = true
		}
	}
	left := slices.Clone(nodes)
	var out []*onnxio.Node
	for len(left) > 0 {
		var ready []int
		for i, n := range left {
			if !slices.ContainsFunc(n.Inputs, func(in string) bool { return waiting[in] }) {
				ready = append(ready, i)
			}
		}
		i := ready[r.IntN(len(ready))]
		for _, o := range left[i].Outputs {
			delete(waiting, o)
		}
		out = append(out, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return out
}

// hidings are ways of hiding ranks, by a bit of the style and of the seed.
var hidings = [2][2]randnet.Hiding{{}, {randnet.Reshaped, randnet.Mystery}}

// Any random network, written in any way and cut by any share, becomes a model that is analysed again and whose plan removes the same from it once more.
func FuzzRandomNetwork(f *testing.F) {
	f.Add(uint64(1), uint8(8), uint8(17), uint8(0), uint8(30))
	f.Add(uint64(7), uint8(20), uint8(13), uint8(15), uint8(90))
	f.Add(uint64(3), uint8(16), uint8(17), uint8(32), uint8(50))
	f.Add(uint64(5), uint8(16), uint8(17), uint8(64), uint8(50))
	f.Add(uint64(8), uint8(20), uint8(17), uint8(128), uint8(50))
	f.Add(uint64(9), uint8(20), uint8(17), uint8(128), uint8(50))
	f.Fuzz(func(t *testing.T, seed uint64, steps, opset, style, share uint8) {
		o := randnet.Options{Seed: seed, Steps: 1 + int(steps)%24, Opset: 13 + int64(opset)%10,
			Style: randnet.Style{Identities: style&1 != 0, MatMulAdd: style&2 != 0, Constants: style&4 != 0, FreeBatch: style&8 != 0, SharedZeros: style&32 != 0, Standardised: style&64 != 0, Hide: hidings[style>>7][seed&1]}, Alike: style&16 != 0}
		a := analyzed(t, randnet.New(o))
		p, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{Ratio: float64(1+share%99) / 100}, Criterion: planner.Criterion{Kind: "random", Seed: int64(seed)}})
		if err != nil {
			var target *planner.TargetError
			require.ErrorAs(t, err, &target)
			return
		}
		small, err := planner.Apply(a, p)
		require.NoError(t, err)
		analyzed(t, small)
		units, err := p.Units(a)
		require.NoError(t, err)
		again, err := a.UnitsOf(a.Removals(units))
		require.NoError(t, err)
		require.Equal(t, units, again)
	})
}
