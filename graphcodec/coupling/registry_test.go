package coupling

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// Which operators take any shape in the branches of an If is a fact of the rule, whatever its note says.
func TestElementWiseIsAFact(t *testing.T) {
	for _, name := range []string{"Relu", "Neg", "Exp", "Sigmoid", "IsNaN", "Log", "Reciprocal", "Max", "Sum", "Clip"} {
		require.True(t, op.Lookup("", name, 21).ElementWise, name)
	}
	for _, name := range []string{"Softmax", "LayerNormalization", "Conv", "Reshape", "Gather", "ReduceSum", "CumSum", "SwiGLU", "If"} {
		if r := op.Lookup("", name, 24); r != nil {
			require.False(t, r.ElementWise, name)
		}
	}
	sh := &shrinker{Smaller: &op.Smaller{Analyzer: &op.Analyzer{}}, old: &Analysis{Analyzer: &op.Analyzer{Versions: map[string]int64{"": 21}}}}
	body := func(op string) *onnxio.Graph {
		return &onnxio.Graph{Nodes: []*onnxio.Node{{OpType: op, Inputs: []string{"x"}, Outputs: []string{"y"}}}}
	}
	require.True(t, sh.tolerates(body("Exp"), map[string]bool{"x": true}))
	require.True(t, sh.tolerates(body("CumSum"), map[string]bool{}), "what has not changed is no matter")
	require.False(t, sh.tolerates(body("CumSum"), map[string]bool{"x": true}))
}

// Domain, name and overload are compared one by one: texts that are equal only when put together are other functions.
func TestFunctionsWithColonsInTheirNames(t *testing.T) {
	f := &onnxio.Function{Domain: "a", Name: "b:c", Inputs: []string{"x"}, Outputs: []string{"y"}, Nodes: []*onnxio.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}}}
	call := func(domain, op string) *onnxio.Model {
		return &onnxio.Model{OpsetImport: []*onnxio.OpsetID{{Version: 21}, {Domain: "a", Version: 1}, {Domain: "a:b", Version: 1}}, Functions: []*onnxio.Function{f},
			Graph: &onnxio.Graph{Nodes: []*onnxio.Node{{Domain: domain, OpType: op, Inputs: []string{"p"}, Outputs: []string{"q"}}}}}
	}
	m, calls := flatten.Inline(call("a", "b:c"))
	require.Len(t, calls, 1)
	require.Equal(t, "Relu", m.Graph.Nodes[0].OpType)
	m, calls = flatten.Inline(call("a:b", "c"))
	require.Empty(t, calls)
	require.Equal(t, "c", m.Graph.Nodes[0].OpType)
}

// That no layer has a group's channels is a fact of the group, whatever its reason says.
func TestGroupsWithoutLayersAreAFact(t *testing.T) {
	a, err := Analyze(readModel(t, "../../testdata/models/ellipsis.onnx"))
	require.NoError(t, err)
	some := false
	for i := range a.Groups {
		g := &a.Groups[i]
		layers := false
		for _, m := range g.Members {
			layers = layers || m.Role == op.Output || m.Role == op.Input || m.Role == op.Norm
		}
		some = some || g.NoLayer
		if g.NoLayer {
			require.NotEmpty(t, g.Frozen, g.Name)
			require.False(t, layers, g.Name)
		}
	}
	require.True(t, some)
}
