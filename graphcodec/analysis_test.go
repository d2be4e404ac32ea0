package graphcodec_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/graphcodec/randnet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func load(t testing.TB, path string) *coupling.Analysis {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	return a
}

// smallModels are the models of the repository and of the folder that METAPRUNE_ZOO names.
func smallModels(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, p := range []string{"../testdata/*.onnx", "../testdata/*/*.onnx", os.Getenv("METAPRUNE_ZOO") + "/*.onnx"} {
		files, err := filepath.Glob(p)
		require.NoError(t, err)
		out = append(out, files...)
	}
	require.NotEmpty(t, out)
	return out
}

// Any set of units that leaves something everywhere gives a model whose shapes are the predicted ones (Shrink checks that) and which is analysed again.
func TestRandomCutsHold(t *testing.T) {
	for _, path := range smallModels(t) {
		a := load(t, path)
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 7))
			s := a.NewState()
			share := r.Float64()
			for i := range a.Groups {
				for _, u := range a.Groups[i].Units {
					if r.Float64() < share && s.CanRemove(u) {
						s.Remove(u)
					}
				}
			}
			m, err := a.Shrink(s)
			require.NoError(t, err, "%s seed %d", path, seed)
			data, err := m.Marshal()
			require.NoError(t, err)
			again, err := onnxio.Decode(data, nil)
			require.NoError(t, err)
			b, err := coupling.Analyze(again)
			require.NoError(t, err, path)
			require.Equal(t, s.MACs(), b.NewState().MACs(), "%s: the predicted cost is the smaller model's", path)
			units, err := a.UnitsOf(a.Removals(s.Units()))
			require.NoError(t, err, path)
			require.Equal(t, s.Units(), units, path)
		}
	}
}

func TestNothingRemovedIsTheSameModel(t *testing.T) {
	for _, path := range smallModels(t) {
		a := load(t, path)
		m, err := a.Shrink(a.NewState())
		require.NoError(t, err)
		got, err := m.Marshal()
		require.NoError(t, err)
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, slices.Equal(want, got), path)
	}
}

func TestEveryFrozenGroupHasAReason(t *testing.T) {
	for _, path := range smallModels(t) {
		a := load(t, path)
		live := 0
		for _, g := range a.Groups {
			if g.Frozen == "" {
				live += len(g.Units)
			} else {
				require.NotEmpty(t, g.Frozen)
			}
		}
		if strings.HasPrefix(path, "../testdata") && !strings.Contains(path, "/functions/") { // whose weights no plan can name
			require.Greater(t, live, 10, path)
		}
	}
}

// Attention that folds its heads into a batch known only at run time keeps its heads and gives away their channels.
func TestHeadsInFreeBatch(t *testing.T) {
	for _, path := range []string{"../testdata/models/heads.ts.onnx", "../testdata/models/heads.dy.onnx"} {
		inside := 0
		for _, g := range load(t, path).Groups {
			if g.Frozen != "" {
				require.Contains(t, g.Frozen, "graph output", path)
			} else if len(g.Units) == 8 {
				inside++
			}
		}
		require.GreaterOrEqual(t, inside, 3, "%s: each attention's queries with its keys, and its values", path)
	}
}

// A weight that has to stay whole on an axis, because the graph normalises it there, is read in part: its own rows leave, and what is left of its input channels is picked in front of the layer.
func TestPickedFromComputedWeights(t *testing.T) {
	for path, picks := range map[string]int{"../testdata/models/standardised.ts.onnx": 4, "../testdata/models/standardised.dy.onnx": 1} {
		a := load(t, path)
		for _, g := range a.Groups {
			if g.Frozen != "" && !strings.Contains(g.Frozen, "graph output") {
				for _, m := range g.Members {
					require.NotEqual(t, op.Input, m.Role, "%s: %s", path, g.Frozen)
				}
			}
		}
		s := a.NewState()
		for _, g := range a.Groups {
			if u := g.Units[0]; s.CanRemove(u) {
				s.Remove(u)
			}
		}
		m, err := a.Shrink(s)
		require.NoError(t, err)
		count := 0
		for _, n := range m.Graph.Nodes {
			if n.OpType == "Gather" {
				count++
			}
		}
		require.Equal(t, picks, count, path)
		again, err := coupling.Analyze(m)
		require.NoError(t, err)
		require.Equal(t, s.MACs(), again.NewState().MACs(), path)
	}
}

// In old operator sets nothing but a constant tells a reader what a Reshape makes; where it cannot count the channels of a mean they stay.
func TestMeansThatNobodyCanCount(t *testing.T) {
	a := load(t, "../testdata/models/opset12.ts.dynb.onnx")
	trunk, inside := 0, 0
	for _, g := range a.Groups {
		switch {
		case strings.Contains(g.Frozen, "ONNX's shape inference does not know"):
			trunk += len(g.Units)
		case g.Frozen == "":
			inside += len(g.Units)
		}
	}
	require.GreaterOrEqual(t, trunk, 32)
	require.Greater(t, inside, 200)
	s := a.NewState()
	require.Less(t, s.VisibleMACs(), s.MACs())
}

// A state space starts from zeros of a shape that the model is told: they are as long as what is left.
func TestStateOfZeros(t *testing.T) {
	for _, g := range load(t, "../testdata/models/statespace.dy.onnx").Groups {
		if g.Frozen != "" {
			require.Contains(t, g.Frozen, "graph output")
		}
	}
}

// One vector of zeros for every bias ties nothing; a shorter one is written for each layer that lost channels, and the file keeps it where nothing is cut.
func TestSharedZeros(t *testing.T) {
	a := load(t, "../testdata/models/zeros.dy.onnx")
	frozen := 0
	for _, g := range a.Groups {
		if g.Frozen != "" {
			frozen += len(g.Units)
		}
	}
	require.Equal(t, 32, frozen, "the residual stream, which is the output")
	s := a.NewState()
	for _, g := range a.Groups {
		if u := g.Units[0]; g.Frozen == "" && s.CanRemove(u) {
			s.Remove(u)
		}
	}
	m, err := a.Shrink(s)
	require.NoError(t, err)
	lengths := map[string]int64{}
	for _, v := range m.Graph.Initializers {
		lengths[v.Name] = v.Dims[0]
	}
	own := map[int64]int{}
	for _, n := range m.Graph.Nodes {
		if n.OpType == "Add" && lengths[n.Inputs[1]] > 4 {
			own[lengths[n.Inputs[1]]]++
		}
	}
	require.Equal(t, map[int64]int{31: 2, 28: 6, 32: 5}, own, "hidden layers, heads, and what stays whole: outputs of blocks and the first normalisation")
}

// ONNX's own node tests: whatever the operator, analysis gives an answer, and the shapes it infers are those of the recorded outputs' declaration.
func TestNodeTestsInferDeclaredShapes(t *testing.T) {
	files, err := filepath.Glob("/usr/share/libonnx-testdata/data/node/*/model.onnx")
	require.NoError(t, err)
	checked := 0
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		m, err := onnxio.Decode(data, nil)
		require.NoError(t, err)
		want := map[string]*onnxio.ValueInfo{}
		for _, o := range m.Graph.Outputs {
			want[o.Name] = o
		}
		m.Graph.Outputs = slices.Clone(m.Graph.Outputs)
		a, err := coupling.Analyze(m)
		require.NoError(t, err, path)
		for name, o := range want {
			v := a.Value(name)
			if v == nil || !v.Ranked || o.Type == nil || o.Type.Tensor == nil || o.Type.Tensor.Shape == nil {
				continue
			}
			dims := o.Type.Tensor.Shape.Dims
			require.Equal(t, len(dims), len(v.Shape), "%s: %s", path, name)
			for k, d := range dims {
				if v.Shape[k].IsNum() && d.HasValue {
					require.Equal(t, d.Value, v.Shape[k].N, "%s: %s axis %d", path, name, k)
				}
			}
			checked++
		}
	}
	t.Logf("%d outputs of %d models", checked, len(files))
}

// smallModel is a few hundred bytes of convolution, view, slice and product for the fuzzer to start from.
func smallModel() *onnxio.Model {
	float := func(name string, dims ...int64) *onnxio.Tensor {
		n := 4
		for _, d := range dims {
			n *= int(d)
		}
		return &onnxio.Tensor{Name: name, DataType: onnxio.Float, Dims: dims, RawData: make([]byte, n)}
	}
	value := func(name string, dims ...int64) *onnxio.ValueInfo {
		s := &onnxio.Shape{}
		for _, d := range dims {
			s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
		}
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
	}
	axis := func(i int64) []*onnxio.Attribute {
		return []*onnxio.Attribute{{Name: "axis", Type: onnxio.AttrInt, I: i}}
	}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "g",
		Inputs: []*onnxio.ValueInfo{value("x", 1, 2, 3, 3)}, Outputs: []*onnxio.ValueInfo{value("y", 1, 2)},
		Initializers: []*onnxio.Tensor{float("w", 4, 2, 1, 1), float("b", 4), float("v", 36, 2),
			onnxio.NewInt64s("shape", []int64{1, 2, 2, 9}), onnxio.NewInt64s("flat", []int64{1, -1})},
		Nodes: []*onnxio.Node{
			{OpType: "Conv", Inputs: []string{"x", "w", "b"}, Outputs: []string{"c"}},
			{OpType: "Split", Inputs: []string{"c"}, Outputs: []string{"p", "q"}, Attributes: axis(1)},
			{OpType: "Concat", Inputs: []string{"q", "p"}, Outputs: []string{"d"}, Attributes: axis(1)},
			{OpType: "Reshape", Inputs: []string{"d", "shape"}, Outputs: []string{"e"}},
			{OpType: "Transpose", Inputs: []string{"e"}, Outputs: []string{"f"}, Attributes: []*onnxio.Attribute{{Name: "perm", Type: onnxio.AttrInts, Ints: []int64{0, 2, 1, 3}}}},
			{OpType: "Reshape", Inputs: []string{"f", "flat"}, Outputs: []string{"h"}},
			{OpType: "MatMul", Inputs: []string{"h", "v"}, Outputs: []string{"y"}}}}}
}

func FuzzAnalyze(f *testing.F) {
	data, err := smallModel().Marshal()
	require.NoError(f, err)
	f.Add(data)
	for _, name := range []string{"cbam.ts", "groups", "stride", "wts"} {
		data, err := os.ReadFile("../testdata/models/" + name + ".onnx")
		require.NoError(f, err)
		f.Add(data)
	}
	for seed := range uint64(4) {
		data, err := randnet.New(randnet.Options{Seed: seed, Steps: 6, Style: randnet.Style{Hide: randnet.Mystery}}).Marshal()
		require.NoError(f, err)
		f.Add(data)
	}
	grouped, err := os.ReadFile("testdata/unknown/grouped.onnx")
	require.NoError(f, err)
	f.Add(grouped)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.Decode(data, nil)
		if err != nil {
			return
		}
		a, err := coupling.Analyze(m)
		if err != nil {
			require.NotContains(t, err.Error(), "please report")
			return
		}
		s := a.NewState()
		for i := range a.Groups {
			for k, u := range a.Groups[i].Units {
				if k%2 == 0 && s.CanRemove(u) {
					s.Remove(u)
				}
			}
		}
		if _, err = a.Shrink(s); err != nil {
			require.NotContains(t, err.Error(), "please report")
		}
		n, err := graphcodec.Encode(a, graphcodec.Universal)
		if err != nil {
			return
		}
		d, err := n.Decoder(n.Nodes, nil)
		require.NoError(t, err)
		same, err := d.Model()
		require.NoError(t, err)
		require.Same(t, m, same)
	})
}
