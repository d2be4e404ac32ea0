package coupling

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// samples are all models of testdata.
func samples(t *testing.T) []string {
	var out []string
	for _, pattern := range []string{"../../testdata/*.onnx", "../../testdata/models/*.onnx"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		out = append(out, files...)
	}
	require.Greater(t, len(out), 60)
	return out
}

// requireNamed checks that IDs and names tell the groups of an analysis apart, and that each is found by both.
func requireNamed(t *testing.T, a *Analysis) {
	t.Helper()
	ids, names := map[string]bool{}, map[string]bool{}
	for i := range a.Groups {
		g := &a.Groups[i]
		require.False(t, ids[g.ID], "ID %s twice", g.ID)
		require.False(t, names[g.Name], "name %s twice", g.Name)
		ids[g.ID], names[g.Name] = true, true
		require.Nil(t, a.Value(g.ID), "ID %s is a tensor", g.ID)
		require.Equal(t, []int{i}, a.GroupsOf(g.ID), g.ID)
		require.Contains(t, a.GroupsOf(g.Name), i, g.Name)
		require.Contains(t, a.GroupsOf(g.Tensor), i, g.Tensor)
		found, err := a.Matching(g.ID)
		require.NoError(t, err)
		require.Equal(t, []int{i}, found)
		for _, m := range g.Members {
			if layer := a.LayerOf(m.Const); layer != "" {
				require.Contains(t, a.GroupsOf(layer), i, "%s, whose weight is %s", layer, m.Const.Name)
			}
		}
	}
}

func TestGroupsHaveUniqueNames(t *testing.T) {
	for _, file := range samples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a := explained(t, file)
			requireNamed(t, a)
			again := explained(t, file)
			for i := range a.Groups {
				require.Equal(t, []string{a.Groups[i].ID, a.Groups[i].Name}, []string{again.Groups[i].ID, again.Groups[i].Name})
			}
		})
	}
}

// Every layer whose cost is listed is found by its name.
func TestEveryLayerIsFound(t *testing.T) {
	for _, file := range samples(t) {
		a := explained(t, file)
		for _, l := range a.NewState().Layers() {
			require.NotEmpty(t, a.GroupsOf(l.Node), "%s: %s %s", filepath.Base(file), l.Op, l.Node)
		}
	}
}

func TestTelling(t *testing.T) {
	for name, want := range map[string]int{
		"": numbered, "193": numbered, "onnx::Conv_193": numbered, "val_12": numbered, "_v_34": numbered, "t_5": numbered, "Constant_12_output_0": numbered, "/layer1/Constant_12_output_0": numbered,
		"const_fold_opt__123": numbered, "const_fold_opt__123:0": numbered, "Parameter193": numbered, "onnx::Conv_193_quantized": numbered,
		"Conv_0": flatNumbered, "node_Conv_12": flatNumbered, "Conv__12:0": flatNumbered, "W12": flatNumbered, "fc1": flatNumbered,
		"weight": flat, "v": flat, "resnetv17_conv0_weight": flat, "p_layer_weight": flat,
		"layer1.0.conv1.weight": pathOfModules, "/layer1/0/conv1/Conv": pathOfModules, "model/conv1/Conv2D/ReadVariableOp:0": pathOfModules, "conv2d_0.w_0": pathOfModules,
		"sequential/dense_1/MatMul": pathOfModules, "conv1.weight": pathOfModules, "/conv1/Conv": pathOfModules,
	} {
		require.Equal(t, want, telling(name), name)
	}
}

// A weight that an exporter has numbered is called by its layer; one with a path keeps its name.
func TestNamesByLayers(t *testing.T) {
	m := readModel(t, "../../testdata/fashion-resnet20.onnx")
	for i, n := range m.Graph.Nodes {
		if n.OpType != "Conv" {
			continue
		}
		for _, x := range m.Graph.Initializers {
			if x.Name == n.Inputs[1] {
				n.Name = "/" + x.Name[:len(x.Name)-len(".weight")] + "/Conv"
				x.Name = fmt.Sprintf("onnx::Conv_%d", 100+i)
				n.Inputs[1] = x.Name
			}
		}
	}
	a, err := Analyze(m)
	require.NoError(t, err)
	requireNamed(t, a)
	names := map[string]string{}
	for _, g := range a.Groups {
		names[g.Name] = g.Tensor
	}
	require.Contains(t, names["/conv1/Conv"], "onnx::Conv_")
	require.Contains(t, names, "/layers.0.conv1/Conv")
	require.NotEmpty(t, a.GroupsOf("/layers.0.conv1/Conv"))
	all, err := a.Matching("/layers.0*")
	require.NoError(t, err)
	require.Len(t, all, 2, "the trunk of 16 channels and the block's own")
	_, err = a.Matching("[")
	require.ErrorContains(t, err, "nor a valid pattern")
}

// IDs step aside where a tensor has such a name.
func TestIDsAreNoTensors(t *testing.T) {
	m := readModel(t, "../../testdata/models/heads.ts.onnx")
	m.Graph.Nodes[len(m.Graph.Nodes)-1].Name = "g1"
	a, err := Analyze(m)
	require.NoError(t, err)
	require.Equal(t, "gg1", a.Groups[0].ID)
	requireNamed(t, a)
}

func readModel(t *testing.T, path string) *onnxio.Model {
	t.Helper()
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f.Model
}

func TestHeadsSaySo(t *testing.T) {
	a := explained(t, "../../testdata/fashion-vit.onnx")
	names := map[string]Kind{}
	for _, g := range a.Groups {
		names[g.Name] = g.Kind
	}
	require.Equal(t, Heads, names["blocks.0.q.weight (heads)"])
	require.Equal(t, HeadDim, names["blocks.0.q.weight (channels per head)"])
	require.Len(t, a.GroupsOf("blocks.0.q.weight"), 3, "the trunk, the heads and their channels")
}

// A weight and a node that PyTorch's exporter has only numbered are called by the module that the node comes from.
func TestNamesByModules(t *testing.T) {
	a := explained(t, "../../testdata/models/heads.dy.onnx")
	require.Equal(t, "i/node_MatMul_3", a.Groups[0].Name)
	require.Contains(t, a.Groups[0].Tensor, "val_")
	found, err := a.Matching("i/*")
	require.NoError(t, err)
	require.Contains(t, found, 0)
}

// Layers of which nothing is known say why.
func TestUnfollowed(t *testing.T) {
	m := readModel(t, "../../testdata/fashion-resnet20.onnx")
	strange := 0
	for _, n := range m.Graph.Nodes {
		if n.OpType == "Conv" && strange == 0 {
			n.Domain, strange = "nobody", strange+1
		}
	}
	a, err := Analyze(m)
	require.NoError(t, err)
	require.Empty(t, a.GroupsOf("/conv1/Conv"))
	require.Equal(t, "there is no rule for operator nobody.Conv of node /conv1/Conv", a.Unfollowed("/conv1/Conv"))
}

func explained(t *testing.T, path string) *Analysis {
	t.Helper()
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	a, err := Analyze(f.Model)
	require.NoError(t, err)
	return a
}
