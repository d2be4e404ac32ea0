package graphcodec_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func load(t testing.TB, path string) *graphcodec.Analysis {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := graphcodec.Analyze(m)
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
			b, err := graphcodec.Analyze(again)
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
		if strings.HasPrefix(path, "../testdata") {
			require.Greater(t, live, 10, path)
		}
	}
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
		a, err := graphcodec.Analyze(m)
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

func FuzzAnalyze(f *testing.F) {
	files, _ := filepath.Glob("../testdata/models/conv*.onnx")
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.Decode(data, nil)
		if err != nil {
			return
		}
		a, err := graphcodec.Analyze(m)
		if err != nil {
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
		_, _ = a.Shrink(s)
	})
}
