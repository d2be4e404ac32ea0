package draw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// A residual trunk: three convolutions write it, its sums join it, and what follows reads it.
func TestPathOfAResidualTrunk(t *testing.T) {
	a := opened(t, "../../testdata/fashion-resnet20.onnx")
	groups := a.GroupsOf("conv1.weight")
	require.Len(t, groups, 1)
	steps := a.Path(groups[0])
	count := map[string]int{}
	for i, s := range steps {
		count[s.Does+" "+s.Op]++
		for _, f := range s.From {
			require.Less(t, f, i)
		}
		if s.Does == coupling.Joins {
			require.Len(t, s.From, 2, s.Node)
		}
	}
	require.Equal(t, 4, count[coupling.Writes+" Conv"], "the stem and the second convolution of three blocks: %v", count)
	require.Equal(t, 3, count[coupling.Joins+" Add"])
	require.Equal(t, 5, count[coupling.Reads+" Conv"], "the first convolution of three blocks, and two of the next stage")
	require.Equal(t, 4, count[coupling.Carries+" Relu"])

	var svg, dot bytes.Buffer
	require.NoError(t, Paths(&svg, Drawing{"a <title>", steps}, Drawing{"another", steps}))
	d := xml.NewDecoder(&svg)
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.NoError(t, DotPaths(&dot, Drawing{`a "title" \x`, steps}, Drawing{"another", steps}))
	require.Contains(t, dot.String(), "g1n0 -> g1n1")
}

// A frozen group names the node that froze it, and what is asked for may be a node.
func TestPathOfAFrozenGroup(t *testing.T) {
	a := opened(t, "../../testdata/models/unknown.onnx")
	frozen := 0
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen == "" || g.Node == "" {
			continue
		}
		for _, s := range a.Path(i) {
			if s.Why != "" {
				frozen++
				require.Equal(t, g.Node, s.Node)
			}
		}
	}
	require.Positive(t, frozen)
	require.Empty(t, a.GroupsOf("nothing of that name"))
	resnet := opened(t, "../../testdata/fashion-resnet20.onnx")
	for _, n := range resnet.Model.Graph.Nodes {
		if n.OpType == "Conv" {
			require.Equal(t, resnet.GroupsOf(n.Inputs[1]), resnet.GroupsOf(n.Outputs[0]), n.Name)
		}
	}
}

func opened(t *testing.T, path string) *coupling.Analysis {
	t.Helper()
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	a, err := coupling.Analyze(f.Model)
	require.NoError(t, err)
	return a
}
