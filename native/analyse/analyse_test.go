package analyse

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
)

func TestMeasures(t *testing.T) {
	same := mat.NewDense(3, 2, []float64{1, 2, 2, 4, -3, -6})
	require.InDelta(t, 1, correlation(same), 1e-12, "one direction, whatever its sign and length")
	require.InDelta(t, 1, effectiveRank(same), 1e-6)
	apart := mat.NewDense(3, 3, []float64{2, 0, 0, 0, 2, 0, 0, 0, 2})
	require.InDelta(t, 0, correlation(apart), 1e-12)
	require.InDelta(t, 3, effectiveRank(apart), 1e-12)
	require.Zero(t, effectiveRank(mat.NewDense(2, 2, nil)))
	require.Equal(t, []float64{2, .5, .5, 3}, ranks([]float64{5, 1, 1, 9}))
	require.InDelta(t, 1, spearman([]float64{1, 2, 30}, []float64{-3, 0, .1}), 1e-12)
	require.InDelta(t, -1, spearman([]float64{1, 2, 30}, []float64{3, 0, -1}), 1e-12)
	require.Zero(t, spearman([]float64{1, 1}, []float64{1, 2}))
	// Rows of axis 1 of a [2, 3, 2] tensor.
	x := matrix([]float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, []int64{2, 3, 2}, 1)
	require.Equal(t, []float64{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}, x.RawMatrix().Data)
}

// A unit's Taylor score is what finite differences of the loss say about its gate.
func TestTaylorIsTheDerivativeByTheGate(t *testing.T) {
	b, err := xla.Open(xla.Go)
	require.NoError(t, err)
	defer b.Finalize()
	m, err := models.New("mlp", models.Options{Input: []int{1, 28, 28}, Classes: 10, Widths: []int{6, 5}, Seed: 3})
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	splits, err := data.Open("../../testdata/fashion-test-1000-images-idx3-ubyte.gz,../../testdata/fashion-test-1000-labels-idx1-ubyte.gz", data.Geometry{})
	require.NoError(t, err)
	set := splits.Test
	if set == nil {
		set = splits.Train
	}
	set = set.Shuffled(40, 1)
	got, err := Taylor(context.Background(), b, m, a, set, 40)
	require.NoError(t, err)

	x, err := set.Take([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39})
	require.NoError(t, err)
	loss := func(c *op.Constant, axis, at int, gate float64) float64 {
		p, err := xla.Load(m)
		require.NoError(t, err)
		d, err := xla.NewDifferentiator(b, p, false, 1)
		require.NoError(t, err)
		defer d.Close()
		values := make([][]float32, len(p.Params))
		for i, param := range p.Params {
			if param.Name != c.Name {
				continue
			}
			w, err := c.Tensor.Float32s()
			require.NoError(t, err)
			w = append([]float32(nil), w...)
			inner := 1
			for _, n := range c.Tensor.Dims[axis+1:] {
				inner *= int(n)
			}
			for k := range w {
				if k/inner%int(c.Tensor.Dims[axis]) == at {
					w[k] *= float32(gate)
				}
			}
			values[i] = w
		}
		d.SetValues(values)
		require.NoError(t, d.Add(xla.Array{Dims: x.Dims, Floats: x.X, Type: onnxio.Float}, x.Labels))
		l, _, _, err := d.Means()
		require.NoError(t, err)
		return l
	}
	checked := 0
	for i := range a.Groups {
		g := &a.Groups[i]
		for _, member := range g.Members {
			if g.Frozen != "" || member.Role != op.Input {
				continue
			}
			for _, u := range g.Units[:3] {
				at := int(a.Positions(u, member)[0])
				slope := math.Abs(loss(member.Const, member.Axis, at, 1.02)-loss(member.Const, member.Axis, at, .98)) / .04
				require.InDelta(t, slope, got[u], 1e-3+.02*slope, "%s %d", g.Name, u)
				checked++
			}
		}
	}
	require.Equal(t, 6, checked)

	groups, err := Weights(a, nil)
	require.NoError(t, err)
	require.NoError(t, Add(a, groups, got))
	require.Len(t, groups, 2)
	require.Positive(t, *groups[0].Taylor)
	require.True(t, math.Abs(*groups[0].Agrees) <= 1)
	var svg bytes.Buffer
	require.NoError(t, Draw(&svg, []Version{{"one", groups}, {"two", groups}}))
	require.Contains(t, svg.String(), "</svg>")
	require.Contains(t, svg.String(), "Taylor")
}
