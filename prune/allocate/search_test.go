package allocate

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
)

func TestLowest(t *testing.T) {
	for _, c := range []struct{ less, more, want float64 }{
		{1, 1, 0},            // a valley around the centre
		{.2, .6, -.25},       // steeper to the right: a little to the left
		{.6, .2, .25},        //
		{-1, 1, -1},          // a slope
		{1, -1, 1},           //
		{-1, -1, 0},          // a hill: no direction is better
		{-2, -1, -1},         // a hill with a lower left foot
		{0, 0, 0},            // nothing happens
		{math.Log(2), 0, .5}, // flat to the right
	} {
		require.InDelta(t, c.want, lowest(c.less, c.more), 1e-12, "%v", c)
	}
}

// chain computes x @ w1 -> Relu -> @ w2 -> Relu -> @ w3.
type chain struct{}

func (chain) Run(_ context.Context, m *onnxio.Model, feeds map[string]repair.Array) ([]repair.Array, error) {
	values := map[string]repair.Array{}
	for k, v := range feeds {
		values[k] = v
	}
	for _, n := range m.Graph.Nodes {
		x := values[n.Inputs[0]]
		if n.OpType == "Relu" {
			y := repair.Array{Dims: x.Dims, Type: onnxio.Float, Floats: make([]float32, len(x.Floats))}
			for i, v := range x.Floats {
				y.Floats[i] = max(v, 0)
			}
			values[n.Outputs[0]] = y
			continue
		}
		w := m.Graph.Initializers[slices.IndexFunc(m.Graph.Initializers, func(t *onnxio.Tensor) bool { return t.Name == n.Inputs[1] })]
		v, err := w.Float32s()
		if err != nil {
			return nil, err
		}
		k, o := int(w.Dims[0]), int(w.Dims[1])
		y := repair.Array{Dims: []int{x.Dims[0], o}, Type: onnxio.Float, Floats: make([]float32, x.Dims[0]*o)}
		for r := range x.Dims[0] {
			for i := range k {
				for j := range o {
					y.Floats[r*o+j] += x.Floats[r*k+i] * v[i*o+j]
				}
			}
		}
		values[n.Outputs[0]] = y
	}
	var out []repair.Array
	for _, o := range m.Graph.Outputs {
		out = append(out, values[o.Name])
	}
	return out, nil
}

func matrix(name string, v []float32, dims ...int64) *onnxio.Tensor {
	t := &onnxio.Tensor{Name: name, Dims: dims, DataType: onnxio.Float}
	t.SetRaw(make([]byte, 4*len(v)))
	if err := t.SetFloat32s(v); err != nil {
		panic(err)
	}
	return t
}

// copies is a network whose first layer holds every unit four times and whose second layer holds none twice: least squares make up for what leaves the first one.
func copies(r *rand.Rand) *onnxio.Model {
	const in, distinct, wide, classes = 6, 6, 24, 3
	w1, w2, w3 := make([]float32, in*wide), make([]float32, wide*wide), make([]float32, wide*classes)
	for i := range in {
		for j := range distinct {
			v := float32(r.NormFloat64())
			for c := range wide / distinct {
				w1[i*wide+c*distinct+j] = v
			}
		}
	}
	for _, w := range [][]float32{w2, w3} {
		for i := range w {
			w[i] = float32(r.NormFloat64())
		}
	}
	dim := func(v int64) *onnxio.Dim { return &onnxio.Dim{Value: v, HasValue: v > 0} }
	value := func(name string, n int64) *onnxio.ValueInfo {
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: &onnxio.Shape{Dims: []*onnxio.Dim{dim(0), dim(n)}}}}}
	}
	node := func(op, out string, in ...string) *onnxio.Node {
		return &onnxio.Node{OpType: op, Inputs: in, Outputs: []string{out}}
	}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "copies",
		Nodes:        []*onnxio.Node{node("MatMul", "a", "x", "w1"), node("Relu", "b", "a"), node("MatMul", "c", "b", "w2"), node("Relu", "d", "c"), node("MatMul", "y", "d", "w3")},
		Initializers: []*onnxio.Tensor{matrix("w1", w1, in, wide), matrix("w2", w2, wide, wide), matrix("w3", w3, wide, classes)},
		Inputs:       []*onnxio.ValueInfo{value("x", in)}, Outputs: []*onnxio.ValueInfo{value("y", classes)}}}
}

func inputs(r *rand.Rand, n, k int) map[string]repair.Array {
	v := make([]float32, n*k)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return map[string]repair.Array{"x": {Dims: []int{n, k}, Floats: v, Type: onnxio.Float}}
}

func TestSearchSparesWhatCannotBeMadeUpFor(t *testing.T) {
	ctx, r := context.Background(), rand.New(rand.NewPCG(1, 2))
	m := copies(r)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	reference, err := repair.NewReference(ctx, chain{}, m, inputs(r, 200, 6), inputs(r, 100, 6), engine.Memory{})
	require.NoError(t, err)
	steps := 0
	o := Options{SpeedUps: []float64{1.5, 2}, Progress: func(done, total int, _ float64) {
		steps++
		require.Equal(t, []int{steps, 1 + 3*(2*2+3)}, []int{done, total})
	}}
	got, err := Search(ctx, a, reference, o)
	require.NoError(t, err)
	require.Equal(t, got.Trials, steps)
	require.Greater(t, got.Offsets["w2"], got.Offsets["w1"]+.1)
	require.InDelta(t, 0, got.Offsets["w1"]+got.Offsets["w2"], 1e-9)
	require.Greater(t, got.Sensitivity["w2"].Less, got.Sensitivity["w1"].Less)
	better := 1.0
	for _, p := range got.Points {
		require.Less(t, p.After.Distance(), p.Before.Distance())
		better *= p.After.Distance() / p.Before.Distance()
	}
	require.Less(t, better, .9)
	again, err := Search(ctx, a, reference, Options{SpeedUps: o.SpeedUps})
	require.NoError(t, err)
	require.Equal(t, got, again)
	far, err := Search(ctx, a, reference, Options{SpeedUps: []float64{1e6}, Rounds: -1})
	require.NoError(t, err)
	require.Less(t, far.Points[0].SpeedUp, 1000.0, "a speed-up out of reach is replaced")
	require.Equal(t, 1, far.Trials)
}

func TestSearchRefuses(t *testing.T) {
	for _, o := range []Options{{SpeedUps: []float64{.5}}, {SpeedUps: []float64{}}, {Step: -1}, {Step: math.NaN()}} {
		_, err := Search(context.Background(), nil, nil, o)
		require.ErrorContains(t, err, "want")
	}
}

func TestCut(t *testing.T) {
	scores := []float64{-2, -1, 1, 2}
	for _, c := range []struct{ removed, want float64 }{{1, -1.5}, {2, 0}, {3, 1.5}, {1.5, -.75}, {0, -3}, {4, 3}} {
		require.InDelta(t, c.want, cut(scores, c.removed), 1e-5, "%v leave", c.removed)
	}
	require.InDelta(t, 5, cut([]float64{5, 5, 5}, 1), 1e-5, "units of equal score cannot be told apart")
}

func TestMoved(t *testing.T) {
	s := &subject{sorted: [][]float64{{-2, -1, 1, 2}, {-.002, -.001, .001, .002}}}
	at := &trial{offsets: []float64{0, .5}, removed: []int{1, 1}}
	require.InDelta(t, -1.5, s.moved(at, 0, -.25), 1e-5, "one more of four leaves where its scores fall by what lies between two cuts")
	require.InDelta(t, .5-.0015, s.moved(at, 1, -.25), 1e-5, "which is little in a group of scores that lie close together")
	require.InDelta(t, s.moved(at, 0, -.25), s.moved(at, 0, -.01), 1e-9, "one unit at least")
	require.InDelta(t, 1.5, s.moved(at, 0, 1), 1e-5, "no more can stay than there are")
	require.InDelta(t, s.moved(at, 0, -.5), s.moved(at, 0, -9), 1e-9, "one unit stays")
	require.Zero(t, s.moved(at, 0, 0))
}
