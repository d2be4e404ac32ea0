package graphcodec_test

import (
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func ifs(a *coupling.Analysis, t *testing.T, prunable bool) []string {
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
	for _, w := range []string{"w1", "w2", "w3", "w4", "w6", "w7"} {
		require.Contains(t, frozen, w)
		require.Empty(t, frozen[w], w)
	}
	require.Contains(t, frozen["w5"], "h5_If", "a condition that follows from its own channels")
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

// TestFlagsAreNotKnown: a condition that has a value in the file, but may be given another, picks no branch; what the other one keeps whole stays.
func TestFlagsAreNotKnown(t *testing.T) {
	info := func(name string, kind onnxio.DataType, dims ...int64) *onnxio.ValueInfo {
		s := &onnxio.Shape{}
		for _, d := range dims {
			s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
		}
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: kind, Shape: s}}}
	}
	weight := func(name string, rows, cols int64) *onnxio.Tensor {
		return &onnxio.Tensor{Name: name, DataType: onnxio.Float, Dims: []int64{rows, cols}, RawData: make([]byte, 4*rows*cols)}
	}
	body := func(op string) *onnxio.Attribute {
		name := map[string]string{"Relu": "then_branch", "Softmax": "else_branch"}[op]
		return &onnxio.Attribute{Name: name, Type: onnxio.AttrGraph, G: &onnxio.Graph{Name: op, Nodes: []*onnxio.Node{{OpType: op, Inputs: []string{"a"}, Outputs: []string{op + "ed"}}}, Outputs: []*onnxio.ValueInfo{info(op+"ed", onnxio.Float, 1, 6)}}}
	}
	for _, asInput := range []bool{false, true} {
		g := &onnxio.Graph{Name: "g", Inputs: []*onnxio.ValueInfo{info("x", onnxio.Float, 1, 4)}, Outputs: []*onnxio.ValueInfo{info("y", onnxio.Float, 1, 3)}, Nodes: []*onnxio.Node{
			{OpType: "MatMul", Inputs: []string{"x", "v"}, Outputs: []string{"a"}}, {OpType: "If", Inputs: []string{"flag"}, Outputs: []string{"b"}, Attributes: []*onnxio.Attribute{body("Relu"), body("Softmax")}}, {OpType: "MatMul", Inputs: []string{"b", "w"}, Outputs: []string{"y"}}},
			Initializers: []*onnxio.Tensor{weight("v", 4, 6), weight("w", 6, 3), {Name: "flag", DataType: onnxio.Bool, RawData: []byte{1}}}}
		if asInput {
			g.Inputs = append(g.Inputs, info("flag", onnxio.Bool))
		}
		a, err := coupling.Analyze(&onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: g})
		require.NoError(t, err)
		for _, group := range a.Groups {
			if group.Name == "v" {
				require.Equal(t, asInput, group.Frozen != "", group.Frozen)
			}
		}
	}
}

// TestBothBranches looks at merged.onnx: of an If whose condition is an input both branches are followed. The weights that they share leave in both, the sizes written down in them are patched, and what one of them normalises over stays.
func TestBothBranches(t *testing.T) {
	a := load(t, "../testdata/models/merged.onnx")
	frozen, s := map[string]string{}, a.NewState()
	for _, g := range a.Groups {
		frozen[g.Name] = g.Frozen
		if g.Frozen == "" {
			s.Remove(g.Units[0])
		}
	}
	for _, w := range []string{"A", "F", "C", "D"} {
		require.Contains(t, frozen, w)
		require.Empty(t, frozen[w], w)
	}
	require.Contains(t, frozen["B"], "LayerNormalization")
	m, err := a.Shrink(s)
	require.NoError(t, err)
	require.Len(t, m.Graph.Nodes, len(a.Source().Graph.Nodes))
	i := slices.IndexFunc(m.Graph.Nodes, func(n *onnxio.Node) bool { return n.OpType == "If" })
	for k, at := range m.Graph.Nodes[i].Attributes {
		was := a.Source().Graph.Nodes[i].Attributes[k].G
		require.Len(t, at.G.Nodes, len(was.Nodes), at.Name)
		require.False(t, at.G.Outputs[0].Type.Tensor.Shape.Dims[2].HasValue, "a length that has changed is not declared")
	}
	again, err := coupling.Analyze(m)
	require.NoError(t, err)
	require.Less(t, again.NewState().MACs(), a.NewState().MACs())
	kept, err := a.Shrink(a.NewState())
	require.NoError(t, err)
	require.Same(t, a.Source().Graph.Nodes[i], kept.Graph.Nodes[i], "nothing is cut, nothing changes")
	require.Same(t, a.Source().Graph.Nodes[i], a.Flat().Graph.Nodes[i], "which branch is taken is not known")
}
