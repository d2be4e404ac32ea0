package planner_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// analysisOf opens a model of the test data.
func analysisOf(t *testing.T, path string) *coupling.Analysis {
	t.Helper()
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	a, err := coupling.Analyze(f.Model)
	require.NoError(t, err)
	return a
}

// shifted gives every float constant its own values plus step times a direction.
func shifted(t *testing.T, a *coupling.Analysis, direction map[*op.Constant][]float64, step float64) map[*op.Constant]*onnxio.Tensor {
	t.Helper()
	out := map[*op.Constant]*onnxio.Tensor{}
	for c, d := range direction {
		v, err := c.Tensor.Float32s()
		require.NoError(t, err)
		moved := make([]float32, len(v))
		for i, x := range v {
			moved[i] = x + float32(step*d[i])
		}
		out[c] = floats(c, moved)
	}
	return out
}

// The gradient of weighted logarithms of scores is that of finite differences.
func TestScoreGradient(t *testing.T) {
	for _, path := range []string{"../../testdata/torch-pruning/sparsity.onnx", "../../testdata/fashion-resnet20.onnx"} {
		a, r := analysisOf(t, path), rand.New(rand.NewPCG(1, 2))
		by := make([]float64, a.NumUnits())
		for i := range by {
			by[i] = r.NormFloat64()
		}
		direction := map[*op.Constant][]float64{}
		for _, c := range a.Constants() {
			if c.Tensor.DataType != onnxio.Float {
				continue
			}
			v, err := c.Tensor.Float32s()
			require.NoError(t, err)
			for range v {
				direction[c] = append(direction[c], r.NormFloat64())
			}
		}
		criterion := func(at map[*op.Constant]*onnxio.Tensor) planner.Criterion {
			return planner.Criterion{Kind: "metanet", Normalizer: "original", Weights: func(c *op.Constant) (*onnxio.Tensor, error) { return at[c], nil }}
		}
		value := func(step float64) float64 {
			scores, err := planner.Score(a, a.NewState(), criterion(shifted(t, a, direction, step)))
			require.NoError(t, err)
			sum := 0.0
			for u, s := range scores {
				if s > 0 {
					sum += by[u] * math.Log(s)
				}
			}
			return sum
		}
		g, err := planner.ScoreGradient(a, criterion(nil), by)
		require.NoError(t, err)
		analytic, size := 0.0, 0.0
		for c, v := range g {
			for i, x := range v {
				analytic += float64(x) * direction[c][i]
				size += float64(x) * float64(x)
			}
		}
		const h = 1e-4
		require.InDelta(t, analytic, (value(h)-value(-h))/(2*h), 1e-3*math.Sqrt(size), path)
	}
	a := analysisOf(t, "../../testdata/torch-pruning/sparsity.onnx")
	_, err := planner.ScoreGradient(a, planner.Criterion{}, nil)
	require.ErrorContains(t, err, "0 factors for")
	_, err = planner.ScoreGradient(a, planner.Criterion{Kind: "l1"}, make([]float64, a.NumUnits()))
	require.ErrorContains(t, err, "has a gradient here")
}

// Shut gates have zeros in the input slices of exactly the removed units, and a gate's derivative is the sum of gradient times weight there.
func TestGates(t *testing.T) {
	a := analysisOf(t, "../../testdata/fashion-resnet20.onnx")
	gates, r := planner.NewGates(a), rand.New(rand.NewPCG(5, 6))
	gone := map[coupling.UnitID]bool{}
	for u := range a.NumUnits() {
		if r.IntN(3) == 0 {
			gone[coupling.UnitID(u)] = true
		}
	}
	closed, err := gates.Closed(func(u coupling.UnitID) bool { return gone[u] })
	require.NoError(t, err)
	gradient, want := map[*op.Constant][]float32{}, make([]float64, a.NumUnits())
	for c, w := range closed {
		for range w {
			gradient[c] = append(gradient[c], float32(r.NormFloat64()))
		}
	}
	for i := range a.Groups {
		g := &a.Groups[i]
		for _, m := range g.Members {
			if m.Role != op.Input || g.Frozen != "" {
				continue
			}
			w, err := m.Const.Tensor.Float32s()
			require.NoError(t, err)
			d := m.Const.Tensor.Dims
			inner := len(w) / int(d[0]) / int(d[1])
			require.Equal(t, 1, m.Axis)
			for _, u := range g.Units {
				for _, p := range a.Positions(u, m) {
					for o := range int(d[0]) {
						for k := range inner {
							at := (o*int(d[1])+int(p))*inner + k
							want[u] += float64(gradient[m.Const][at]) * float64(w[at])
							expect := w[at]
							if gone[u] {
								expect = 0
							}
							require.Equal(t, expect, closed[m.Const][at])
						}
					}
				}
			}
		}
	}
	got, err := gates.Gradient(gradient)
	require.NoError(t, err)
	for u := range want {
		require.InDelta(t, want[u], got[u], 1e-4*(1+math.Abs(want[u])))
	}
}

// Normalised by the model's own mean, a group whose weights grow gains on the others; by its own mean it does not.
func TestNormalizerOriginal(t *testing.T) {
	a := analysisOf(t, "../../testdata/fashion-resnet20.onnx")
	doubled := func(c *op.Constant) (*onnxio.Tensor, error) {
		v, err := c.Tensor.Float32s()
		w := make([]float32, len(v))
		for i, x := range v {
			w[i] = 2 * x
		}
		return floats(c, w), err
	}
	score := func(normalizer string, weights func(*op.Constant) (*onnxio.Tensor, error)) planner.Scores {
		kind := "l2"
		if weights != nil {
			kind = "metanet"
		}
		s, err := planner.Score(a, a.NewState(), planner.Criterion{Kind: kind, Normalizer: normalizer, Weights: weights})
		require.NoError(t, err)
		return s
	}
	plain, own, original := score("mean", nil), score("mean", doubled), score("original", doubled)
	unchanged := score("original", nil)
	for u := range plain {
		if !math.IsNaN(plain[u]) {
			require.Equal(t, plain[u], unchanged[u])
			require.InEpsilon(t, plain[u], own[u], 1e-9)
			require.InEpsilon(t, 4*plain[u], original[u], 1e-9)
		}
	}
}

// In another order, a group's units have the scores of its own weights, and the units that another order likes get the large ones.
func TestNormalizerOrder(t *testing.T) {
	a := analysisOf(t, "../../testdata/fashion-resnet20.onnx")
	inverted := func(c *op.Constant) (*onnxio.Tensor, error) {
		v, err := c.Tensor.Float32s()
		w := make([]float32, len(v))
		for i, x := range v {
			w[i] = 1 / (x + float32(math.Copysign(.01, float64(x))))
		}
		return floats(c, w), err
	}
	score := func(state *coupling.State, normalizer string, weights func(*op.Constant) (*onnxio.Tensor, error)) planner.Scores {
		s, err := planner.Score(a, state, planner.Criterion{Kind: "metanet", Normalizer: normalizer, Weights: weights})
		require.NoError(t, err)
		return s
	}
	none := func(*op.Constant) (*onnxio.Tensor, error) { return nil, nil }
	check := func(state *coupling.State) {
		plain, other, got := score(state, "mean", none), score(state, "none", inverted), score(state, "order", inverted)
		for i := range a.Groups {
			g := &a.Groups[i]
			if g.Frozen != "" {
				continue
			}
			var want, have []float64
			for _, u := range g.Units {
				if state.Removed(u) {
					continue
				}
				want, have = append(want, plain[u]), append(have, got[u])
				for _, v := range g.Units {
					if !state.Removed(v) && other[u] < other[v] {
						require.LessOrEqual(t, got[u], got[v])
					}
				}
			}
			sort.Float64s(want)
			sort.Float64s(have)
			require.InDeltaSlice(t, want, have, 1e-12)
		}
	}
	check(a.NewState())
	part := a.NewState()
	part.Remove(a.Groups[0].Units[0])
	part.Remove(a.Groups[2].Units[1])
	check(part)
}

// floats is a tensor of a constant's shape.
func floats(c *op.Constant, v []float32) *onnxio.Tensor {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	t := &onnxio.Tensor{Name: c.Name, Dims: c.Tensor.Dims, DataType: onnxio.Float}
	t.SetRaw(raw)
	return t
}
