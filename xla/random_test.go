package xla

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/randnet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

func outputOf(b *Backend, m *onnxio.Model, x Array) (Array, error) {
	data, err := m.Marshal()
	if err != nil {
		return Array{}, err
	}
	if m, err = onnxio.Decode(data, nil); err != nil {
		return Array{}, err
	}
	p, err := Load(m)
	if err != nil {
		return Array{}, err
	}
	r, err := NewRunner(b, p)
	if err != nil {
		return Array{}, err
	}
	defer r.Close()
	out, err := r.Run(x)
	if err != nil {
		return Array{}, err
	}
	return out[0], nil
}

// Random networks: with the channels of each group in another order the function is the same, the same channels are pruned wherever they stand, and what is pruned equals the masked original.
func TestRandomNetworks(t *testing.T) {
	b := backendUnderTest(t)
	ran, compared, networks := 0, 0, uint64(120)
	if b.Kind != Go {
		networks = 24 // compiling takes its time
	}
	for seed := range networks {
		m := randnet.New(randnet.Options{Seed: 1000 + seed, Steps: 8, Alike: true})
		a, err := coupling.Analyze(m)
		require.NoError(t, err)
		r := rand.New(rand.NewPCG(seed, 3))
		x := Array{Type: onnxio.Float}
		n := 1
		for _, d := range m.Graph.Inputs[0].Type.Tensor.Shape.Dims {
			x.Dims = append(x.Dims, int(d.Value))
			n *= int(d.Value)
		}
		for range n {
			x.Floats = append(x.Floats, float32(r.NormFloat64()))
		}
		want, err := outputOf(b, m, x)
		require.NoError(t, err, "seed %d", seed)
		permuted, from, err := randnet.Permute(a, r)
		require.NoError(t, err, "seed %d", seed)
		got, err := outputOf(b, permuted, x)
		require.NoError(t, err)
		require.NoError(t, same(want, got, 1e-4), "seed %d: channels in another order", seed)
		ran++

		o := planner.Options{Target: planner.Target{Ratio: .3}}
		plan, err := planner.MakePlan(context.Background(), a, o)
		if err != nil {
			continue // too little can leave
		}
		samePlan(t, a, plan, permuted, from, o)
		small, err := planner.Apply(a, plan)
		require.NoError(t, err)
		masked, err := planner.Masked(a, plan)
		require.NoError(t, err)
		want, err = outputOf(b, masked, x)
		require.NoError(t, err)
		got, err = outputOf(b, small, x)
		require.NoError(t, err)
		if !slices.ContainsFunc(m.Graph.Nodes, renormalises) {
			require.NoError(t, same(want, got, 1e-4), "seed %d: pruned and masked", seed)
			compared++
		}
	}
	require.Greater(t, 10*ran, int(9*networks))
	require.Greater(t, 3*compared, int(networks))
	t.Logf("%d networks, %d of them pruned and compared with the masked original", ran, compared)
}

// renormalises tells nodes whose mean is over the channels that are left, where a masked original's is over all of them.
func renormalises(n *onnxio.Node) bool { return n.OpType == "LayerNormalization" || n.OpType == "Sqrt" }

// samePlan compares what is pruned of a network and of the same with its channels in another order.
func samePlan(t *testing.T, a *coupling.Analysis, plan *planner.Plan, permuted *onnxio.Model, from []coupling.UnitID, o planner.Options) {
	b, err := coupling.Analyze(permuted)
	require.NoError(t, err)
	other, err := planner.MakePlan(context.Background(), b, o)
	require.NoError(t, err)
	want, err := plan.Units(a)
	require.NoError(t, err)
	got, err := other.Units(b)
	require.NoError(t, err)
	var back []coupling.UnitID
	for _, u := range got {
		back = append(back, from[u])
	}
	require.ElementsMatch(t, want, back)
}
