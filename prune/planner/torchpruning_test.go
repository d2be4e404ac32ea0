package planner

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// reference is what Torch-Pruning says of a network.
type reference struct {
	Groups []struct {
		Root    string
		Members []struct {
			Module, Fn string
			Idxs       []int
		}
		Cases []struct {
			P          int
			Reduction  string `json:"group_reduction"`
			Normalizer *string
			Importance []float64
		}
	}
}

func loadReference(t *testing.T, name string) (*coupling.Analysis, *reference) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/torch-pruning/" + name + ".onnx")
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	data, err = os.ReadFile("../../testdata/torch-pruning/" + name + ".json")
	require.NoError(t, err)
	r := &reference{}
	require.NoError(t, json.Unmarshal(data, r))
	return a, r
}

// memberKey names a member as the reference does: module, axis and positions.
func memberKey(tensor string, axis int, idxs []int) string {
	sorted := slices.Clone(idxs)
	sort.Ints(sorted)
	return fmt.Sprint(tensor, axis, sorted)
}

// ours are a group's weights and normalisations in the reference's terms.
func ours(a *coupling.Analysis, g *coupling.Group) map[string]coupling.Member {
	out := map[string]coupling.Member{}
	for _, m := range g.Members {
		if m.Role == op.Other || !strings.HasSuffix(m.Const.Name, ".weight") {
			continue
		}
		var idxs []int
		for _, u := range g.Units {
			for _, p := range a.Positions(u, m) {
				idxs = append(idxs, int(p))
			}
		}
		out[memberKey(m.Const.Name, m.Axis, idxs)] = m
	}
	return out
}

func TestGroupsAndImportancesEqualTorchPruning(t *testing.T) {
	compared := 0
	for _, name := range []string{"resnet_tiny", "mobile_tiny", "dense_tiny"} {
		a, ref := loadReference(t, name)
		live := 0
		for i := range a.Groups {
			if a.Groups[i].Frozen == "" {
				live++
			}
		}
		require.Equal(t, len(ref.Groups), live, name)
		for _, r := range ref.Groups {
			g, members := match(t, a, name, r.Root, func() (keys []string) {
				for _, m := range r.Members {
					axis := 0
					if strings.HasSuffix(m.Fn, "in_channels") && !isDepthwise(a, m.Module+".weight") {
						axis = 1
					}
					keys = append(keys, memberKey(m.Module+".weight", axis, m.Idxs))
				}
				return keys
			}())
			for _, c := range r.Cases {
				k := Criterion{Kind: map[int]string{1: "l1", 2: "l2"}[c.P], Reduction: c.Reduction, Normalizer: "none"}
				if c.Normalizer != nil {
					k.Normalizer = *c.Normalizer
				}
				s := &scorer{a: a, c: k, sums: map[*op.Constant]axisSums{}}
				got, err := s.Reduce(g, slices.DeleteFunc(slices.Clone(members), func(m coupling.Member) bool { return !s.counts(m) }))
				require.NoError(t, err)
				require.Len(t, got, len(c.Importance))
				for i := range got {
					require.InEpsilon(t, c.Importance[i], got[i], 1e-5, "%s %s %+v unit %d", name, r.Root, k, i)
				}
				compared++
			}
		}
	}
	require.Greater(t, compared, 24*3)
	t.Logf("%d settings compared", compared)
}

func isDepthwise(a *coupling.Analysis, tensor string) bool {
	for _, c := range a.Constants() {
		if c.Name == tensor {
			return slices.Contains(c.Roles, op.Depthwise)
		}
	}
	return false
}

// match finds the group with exactly the reference's members and returns them in the reference's order.
func match(t *testing.T, a *coupling.Analysis, name, root string, keys []string) (*coupling.Group, []coupling.Member) {
	t.Helper()
	var seen []string
	for i := range a.Groups {
		g := &a.Groups[i]
		have := ours(a, g)
		var members []coupling.Member
		for _, k := range keys {
			if m, ok := have[k]; ok && !slices.ContainsFunc(members, func(o coupling.Member) bool { return o.Const == m.Const && o.Axis == m.Axis }) {
				members = append(members, m)
			}
		}
		if len(members) == len(have) && len(members) > 0 {
			return g, members
		}
		seen = append(seen, fmt.Sprint(g.Name, " ", len(g.Units), " ", have))
	}
	require.Failf(t, "no such group", "%s %s: want %v\nhave %s", name, root, keys, strings.Join(seen, "\n"))
	return nil, nil
}
