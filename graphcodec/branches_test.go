package graphcodec_test

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/stretchr/testify/require"
)

func ifs(a *graphcodec.Analysis, t *testing.T, prunable bool) []string {
	s := a.NewState()
	for _, g := range a.Groups {
		if g.Frozen == "" && prunable {
			s.Remove(g.Units[0])
		}
	}
	m, err := a.Shrink(s)
	require.NoError(t, err)
	var out []string
	for _, n := range m.Graph.Nodes {
		if n.OpType == "If" {
			out = append(out, n.Name)
		}
	}
	return out
}

// TestKnownBranches looks at branches.onnx: behind a branch that is known groups are followed, into its body too; the If stays where its bodies say the same of the smaller tensors.
func TestKnownBranches(t *testing.T) {
	a := load(t, "../testdata/models/branches.onnx")
	frozen := map[string]string{}
	for _, g := range a.Groups {
		frozen[g.Name] = g.Frozen
	}
	for _, w := range []string{"w1", "w2", "w3", "w4", "w7"} {
		require.Contains(t, frozen, w)
		require.Empty(t, frozen[w], w)
	}
	require.Contains(t, frozen["w5"], "h5_If", "a condition that follows from its own channels")
	require.Contains(t, frozen["w6"], "h6_If", "a condition that follows from the data")
	all := []string{"h1_If", "h2_If", "h3_If", "h4_If", "h5_If", "h6_If"}
	require.Equal(t, all, ifs(a, t, false), "nothing is cut, nothing changes")
	require.Equal(t, []string{"h1_If", "h5_If", "h6_If"}, ifs(a, t, true), "bodies with numbers of channels in them give way to the branch that is taken")
}

// TestReaderOfBranches: a reader of the file does not know which branch is taken.
func TestReaderOfBranches(t *testing.T) {
	a := load(t, "../testdata/models/branches.onnx")
	s := a.NewState()
	require.Less(t, s.VisibleMACs(), s.MACs())
}
