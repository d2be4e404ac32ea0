package repair

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/stretchr/testify/require"
)

// momentsOf are a value's, on one chunk.
func momentsOf(a Array, channel int) moments {
	s := newStore([]map[string]Array{{"a": a}}, engine.Memory{})
	m, err := s.moments("a", channel)
	if err != nil {
		panic(err)
	}
	return m
}

func random(r *rand.Rand, dims ...int) Array {
	a := Array{Dims: dims, Type: onnxio.Float}
	n := 1
	for _, d := range dims {
		n *= d
	}
	for range n {
		a.Floats = append(a.Floats, float32(r.NormFloat64()))
	}
	return a
}

// After matching, the pruned input normalises to the moments that the original's had.
func TestMatchNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	y, x := random(r, 4, 3, 5, 5), random(r, 4, 2, 5, 5)
	for i := range x.Floats {
		x.Floats[i] = 3*x.Floats[i] + 7
	}
	kept := []int{0, 2}
	mean, variance := []float32{.5, -1}, []float32{2, .25}
	was := [2][]float32{{.5, -1}, {2, .25}}
	xm, ym := momentsOf(x, 1), momentsOf(y, 1)
	const eps = 1e-5
	matchNorm(mean, variance, eps, xm, ym, kept)
	for i, k := range kept {
		before, after := math.Sqrt(float64(was[1][i])+eps), math.Sqrt(float64(variance[i])+eps)
		require.InDelta(t, (ym.mean[k]-float64(was[0][i]))/before, (xm.mean[i]-float64(mean[i]))/after, 1e-5)
		require.InDelta(t, math.Sqrt(ym.variance[k])/before, math.Sqrt(xm.variance[i])/after, 1e-5)
	}
}

// What does not change through the cut is not changed by the repair.
func TestMatchNormLeavesEqualMoments(t *testing.T) {
	y := random(rand.New(rand.NewPCG(2, 2)), 4, 3, 6)
	mean, variance := []float32{.5, -1, 2}, []float32{2, .25, 1}
	matchNorm(mean, variance, 1e-5, momentsOf(y, 1), momentsOf(y, 1), []int{0, 1, 2})
	require.InDeltaSlice(t, []float32{.5, -1, 2}, mean, 1e-6)
	require.InDeltaSlice(t, []float32{2, .25, 1}, variance, 1e-6)
}

func TestMatchAffine(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	y := random(r, 50, 2)
	x := Array{Dims: y.Dims, Floats: make([]float32, len(y.Floats))}
	for i := range x.Floats {
		x.Floats[i] = y.Floats[i]/2 + 1
	}
	f := matchAffine(momentsOf(x, 1), momentsOf(y, 1), []int{0, 1}, 4)
	f.apply(x, 1)
	require.InDeltaSlice(t, y.Floats, x.Floats, 1e-5)
	far := matchAffine(moments{[]float64{0}, []float64{1}}, moments{[]float64{0}, []float64{1e6}}, []int{0}, 4)
	require.Equal(t, 4.0, far.scale[0], "no scale beyond the limit")
}

// A patch times a kernel is the convolution.
func TestPatches(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	x, w := random(r, 2, 4, 7, 6), random(r, 2, 2, 3, 3)
	g := &geometry{strides: []int{2, 1}, pads: []int{1, 0, 1, 2}, dilations: []int{1, 2}, groups: 2}
	oh, ow := (7+2-3)/2+1, 6+2-5+1
	p := &patches{geometry: g, kernel: [2]int{3, 3}, from: 2, channels: 2} // the second group
	row := make([]float32, 18)
	for n := range 2 {
		for y := range oh {
			for c := range ow {
				want := 0.0
				for ch := range 2 {
					for p := range 3 {
						for q := range 3 {
							sy, sx := 2*y-1+p, c+2*q
							if sy >= 0 && sy < 7 && sx < 6 {
								want += float64(x.Floats[((n*4+2+ch)*7+sy)*6+sx]) * float64(w.Floats[((1*2+ch)*3+p)*3+q])
							}
						}
					}
				}
				p.fill(x, n, y, c, row)
				got := 0.0
				for i, v := range row {
					got += float64(v) * float64(w.Floats[18+i])
				}
				require.InDelta(t, want, got, 1e-5)
			}
		}
	}
}

func TestPositionsMeetEverySample(t *testing.T) {
	o := &Options{Seed: 1, MaxRows: MaxRows}
	p := o.positions(1_000_000, 10)
	require.Len(t, p, 4096)
	require.Equal(t, p, o.positions(1_000_000, 10))
	require.Less(t, p[0], 1_000_000/4096)
	require.Greater(t, p[len(p)-1], 1_000_000-1_000_000/4096-2)
	require.Len(t, o.positions(77, 1000), 77)
}

func TestNoise(t *testing.T) {
	a := Noise(8, []int{3, 12, 10}, 5)
	require.Equal(t, a, Noise(8, []int{3, 12, 10}, 5))
	require.NotEqual(t, a.Floats, Noise(8, []int{3, 12, 10}, 6).Floats)
	neighbours := func(sample int) float64 { // how alike neighbours are: near 0 in white noise, near 1 in smooth
		x := a.Floats[sample*360 : sample*360+120]
		xy, xx := 0.0, 0.0
		for y := range 12 {
			for c := range 9 {
				xy += float64(x[y*10+c]) * float64(x[y*10+c+1])
				xx += float64(x[y*10+c]) * float64(x[y*10+c])
			}
		}
		return xy / xx
	}
	require.Greater(t, neighbours(0), .6)
	require.Less(t, neighbours(3), .3)
	require.Len(t, Noise(2, []int{5}, 1).Floats, 10)
}

// dense is an engine for chains of Gemm, FusedGemm with Relu, and Relu.
type dense struct{ fail bool }

func (e dense) Run(_ context.Context, m *onnxio.Model, feeds map[string]Array) ([]Array, error) {
	if e.fail {
		return nil, errors.New("no engine")
	}
	values := map[string]Array{}
	for k, v := range feeds {
		values[k] = v
	}
	for _, t := range m.Graph.Initializers {
		v, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		a := Array{Floats: v}
		for _, d := range t.Dims {
			a.Dims = append(a.Dims, int(d))
		}
		values[t.Name] = a
	}
	for _, n := range m.Graph.Nodes {
		x := values[n.Inputs[0]]
		switch n.OpType {
		case "Relu":
			y := Array{Dims: x.Dims, Type: onnxio.Float}
			for _, v := range x.Floats {
				y.Floats = append(y.Floats, max(v, 0))
			}
			values[n.Outputs[0]] = y
		case "Gemm", "FusedGemm":
			w, b := values[n.Inputs[1]], values[n.Inputs[2]]
			rows, k, o := x.Dims[0], x.Dims[1], w.Dims[0]
			y := Array{Dims: []int{rows, o}, Floats: make([]float32, rows*o), Type: onnxio.Float}
			for i := range rows {
				for j := range o {
					s := b.Floats[j]
					for c := range k {
						s += x.Floats[i*k+c] * w.Floats[j*k+c]
					}
					if n.OpType == "FusedGemm" {
						s = max(s, 0)
					}
					y.Floats[i*o+j] = s
				}
			}
			values[n.Outputs[0]] = y
		default:
			return nil, &onnxio.UnsupportedError{What: n.OpType}
		}
	}
	var out []Array
	for _, o := range m.Graph.Outputs {
		out = append(out, values[o.Name])
	}
	return out, nil
}

// twoLayers is x -> Gemm(in, hidden) -> Relu -> Gemm(hidden, out).
func twoLayers(r *rand.Rand, in, hidden, out int) *onnxio.Model {
	tensor := func(name string, dims ...int) *onnxio.Tensor {
		t := &onnxio.Tensor{Name: name, DataType: onnxio.Float}
		a := random(r, dims...)
		for _, d := range dims {
			t.Dims = append(t.Dims, int64(d))
		}
		if err := t.SetFloat32s(a.Floats); err != nil {
			panic(err)
		}
		return t
	}
	io := func(name string, n int) *onnxio.ValueInfo {
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: &onnxio.Shape{Dims: []*onnxio.Dim{{Param: "n"}, {Value: int64(n), HasValue: true}}}}}}
	}
	gemm := func(name, x string) *onnxio.Node {
		return &onnxio.Node{OpType: "Gemm", Inputs: []string{x, name + ".w", name + ".b"}, Outputs: []string{name}, Attributes: []*onnxio.Attribute{{Name: "transB", Type: onnxio.AttrInt, I: 1}}}
	}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "g", Inputs: []*onnxio.ValueInfo{io("x", in)}, Outputs: []*onnxio.ValueInfo{io("last", out)},
		Nodes:        []*onnxio.Node{gemm("first", "x"), {OpType: "Relu", Inputs: []string{"first"}, Outputs: []string{"act"}}, gemm("last", "act")},
		Initializers: []*onnxio.Tensor{tensor("first.w", hidden, in), tensor("first.b", hidden), tensor("last.w", out, hidden), tensor("last.b", out)}}}
}

// cutModel removes hidden channels.
func cutModel(t *testing.T, m *onnxio.Model, gone []int) (*onnxio.Model, []coupling.Removal) {
	t.Helper()
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	removed := []coupling.Removal{{Tensor: "first.w", Axis: 0, Indices: gone}, {Tensor: "first.b", Axis: 0, Indices: gone}, {Tensor: "last.w", Axis: 1, Indices: gone}}
	us, err := a.UnitsOf(removed)
	require.NoError(t, err)
	state := a.NewState()
	for _, u := range us {
		state.Remove(u)
	}
	small, err := a.Shrink(state)
	require.NoError(t, err)
	return small, removed
}

// A removed channel that others can stand in for is made up for completely.
func TestRepairMakesUpForACopy(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	m := twoLayers(r, 5, 8, 3)
	w, err := m.Graph.Initializers[0].Float32s()
	require.NoError(t, err)
	b, err := m.Graph.Initializers[1].Float32s()
	require.NoError(t, err)
	copy(w[3*5:4*5], w[1*5:2*5]) // channel 3 is channel 1 again
	b[3] = b[1]
	require.NoError(t, m.Graph.Initializers[0].SetFloat32s(w))
	require.NoError(t, m.Graph.Initializers[1].SetFloat32s(b))
	small, removed := cutModel(t, m, []int{3})
	fit, held := map[string]Array{"x": random(r, 200, 5)}, map[string]Array{"x": random(r, 50, 5)}
	result, err := Repair(context.Background(), dense{}, m, small, removed, fit, held, Options{Ridge: 1e-8})
	require.NoError(t, err)
	require.Equal(t, Solve, result.Method)
	require.Less(t, result.Before.Cosine, .999)
	require.Greater(t, result.After.Cosine, .99999)
	require.Equal(t, 1.0, result.After.Top1)
	require.Contains(t, result.Tensors, "last.w")
	require.Len(t, result.Tensors["last.w"], 3*7)
	again, err := Repair(context.Background(), dense{}, m, small, removed, fit, held, Options{Ridge: 1e-8})
	require.NoError(t, err)
	require.Equal(t, result.Tensors, again.Tensors)
}

// A layer that is fused with its activation is repaired to the same numbers as the two apart.
func TestFusedLayersAreRepairedLikeOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	m := twoLayers(r, 5, 8, 3)
	apart := twoLayers(rand.New(rand.NewPCG(6, 6)), 5, 8, 3)
	m.OpsetImport = append(m.OpsetImport, &onnxio.OpsetID{Domain: "com.microsoft", Version: 1})
	first := m.Graph.Nodes[0]
	first.OpType, first.Domain, first.Outputs = "FusedGemm", "com.microsoft", []string{"act"}
	first.Attributes = append(first.Attributes, &onnxio.Attribute{Name: "activation", Type: onnxio.AttrString, S: []byte("Relu")})
	m.Graph.Nodes = append(m.Graph.Nodes[:1], m.Graph.Nodes[2])
	fit, held := map[string]Array{"x": random(r, 200, 5)}, map[string]Array{"x": random(r, 50, 5)}
	for _, gone := range [][]int{{3}, {1, 6}} {
		var results []*Result
		for _, each := range []*onnxio.Model{apart, m} {
			small, removed := cutModel(t, each, gone)
			result, err := Repair(context.Background(), dense{}, each, small, removed, fit, held, Options{})
			require.NoError(t, err)
			require.Equal(t, Solve, result.Method)
			require.Greater(t, result.After.Cosine, result.Before.Cosine)
			require.Empty(t, result.Skipped)
			results = append(results, result)
		}
		require.Equal(t, results[0].Tensors, results[1].Tensors)
		require.Equal(t, results[0].After, results[1].After)
	}
}

// A fused convolution is taken apart into what it computes, in its order; what an activation is given
// becomes its attributes or, where it reads them, its inputs.
func TestFusedConvolutionsAreTakenApart(t *testing.T) {
	fused := func(activation string, params ...float32) *onnxio.Node {
		return &onnxio.Node{Name: "n", OpType: "FusedConv", Domain: "com.microsoft", Inputs: []string{"x", "w", "", "z"}, Outputs: []string{"y"}, Attributes: []*onnxio.Attribute{
			{Name: "group", Type: onnxio.AttrInt, I: 2}, {Name: "activation", Type: onnxio.AttrString, S: []byte(activation)}, {Name: "activation_params", Type: onnxio.AttrFloats, Floats: params}}}
	}
	ops := func(version int64, n *onnxio.Node) (out []string) {
		m := &onnxio.Model{OpsetImport: []*onnxio.OpsetID{{Version: version}}}
		for _, n := range unfused(m, []*onnxio.Node{n}) {
			out = append(out, n.OpType)
		}
		return out
	}
	require.Equal(t, []string{"Conv", "Add", "Relu"}, ops(17, fused("Relu")))
	require.Equal(t, []string{"Conv", "Add", "Constant", "Constant", "Clip"}, ops(17, fused("Clip", 0, 6)))
	require.Equal(t, []string{"Conv", "Add", "Clip"}, ops(9, fused("Clip", 0, 6)))
	require.Equal(t, []string{"FusedConv"}, ops(17, fused("Clip")), "a bound is missing")
	require.Equal(t, []string{"FusedConv"}, ops(17, fused("Snake")))
	nodes := unfused(&onnxio.Model{OpsetImport: []*onnxio.OpsetID{{Version: 17}}}, []*onnxio.Node{fused("LeakyRelu", .25)})
	require.Equal(t, []string{"x", "w"}, nodes[0].Inputs)
	require.Equal(t, int64(2), nodes[0].Attributes[0].I)
	require.Equal(t, []string{nodes[0].Outputs[0], "z"}, nodes[1].Inputs)
	require.Equal(t, nodes[1].Outputs, nodes[2].Inputs)
	require.Equal(t, []string{"y"}, nodes[2].Outputs)
	require.Equal(t, float32(.25), nodes[2].Attributes[0].F)
}

// Layers that are pruned and not fitted are named with the reason.
func TestSkippedLayersHaveAReason(t *testing.T) {
	weight := func(name string, t onnxio.DataType, dims ...int64) *onnxio.Tensor {
		return &onnxio.Tensor{Name: name, DataType: t, Dims: dims}
	}
	m := &onnxio.Model{OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{
		Nodes: []*onnxio.Node{
			{Name: "up", OpType: "ConvTranspose", Inputs: []string{"x", "a"}, Outputs: []string{"1"}},
			{OpType: "DequantizeLinear", Inputs: []string{"b", "s"}, Outputs: []string{"real"}},
			{Name: "conv", OpType: "Conv", Inputs: []string{"1", "real"}, Outputs: []string{"2"}},
			{Name: "integer", OpType: "MatMulInteger", Inputs: []string{"2", "c"}, Outputs: []string{"3"}},
			{Name: "whole", OpType: "MatMul", Inputs: []string{"3", "d"}, Outputs: []string{"4"}},
		},
		Initializers: []*onnxio.Tensor{weight("a", onnxio.Float, 4, 4, 2, 2), weight("b", onnxio.Int8, 4, 4, 2, 2), weight("c", onnxio.Int8, 4, 4), weight("d", onnxio.Float, 4, 4)}}}
	removed := []coupling.Removal{{Tensor: "a"}, {Tensor: "b"}, {Tensor: "c"}, {Tensor: "d"}}
	require.Equal(t, []string{"up (ConvTranspose: positions of a transposed kernel overlap)", "conv (Conv: its weight is dequantised from integers)", "integer (MatMulInteger: its weight is integers)"},
		skipped(newStepper(nil, m, nil, engine.Memory{}), removed))
}

// A reference that has run once repairs every cut as one that runs beside it.
func TestReferenceServesManyCuts(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(5, 6))
	m := twoLayers(r, 5, 8, 3)
	fit, held := map[string]Array{"x": random(r, 40, 5)}, map[string]Array{"x": random(r, 20, 5)}
	all, err := NewReference(ctx, dense{}, m, fit, held, engine.Memory{})
	require.NoError(t, err)
	for _, gone := range [][]int{{2}, {0, 5}, {1, 3, 7}, {2}} {
		small, removed := cutModel(t, m, gone)
		want, err := Repair(ctx, dense{}, m, small, removed, fit, held, Options{})
		require.NoError(t, err)
		got, err := all.Repair(ctx, small, removed, Options{})
		require.NoError(t, err)
		require.Equal(t, want.Tensors, got.Tensors)
		require.Equal(t, want.Tried, got.Tried)
	}
}

// A repair that does not come closer to the original is dropped.
func TestRepairIsDroppedWhereItDoesNotHelp(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	m := twoLayers(r, 5, 8, 3)
	w, err := m.Graph.Initializers[2].Float32s()
	require.NoError(t, err)
	for i := range 3 {
		w[i*8+2] = 0 // what leaves counted for nothing
	}
	require.NoError(t, m.Graph.Initializers[2].SetFloat32s(w))
	small, removed := cutModel(t, m, []int{2})
	result, err := Repair(context.Background(), dense{}, m, small, removed, map[string]Array{"x": random(r, 6, 5)}, map[string]Array{"x": random(r, 50, 5)}, Options{})
	require.NoError(t, err)
	require.Equal(t, None, result.Method)
	require.Same(t, small, result.Model)
	require.Empty(t, result.Tensors)
	require.Equal(t, result.Before, result.After)
}

func TestRepairReportsTheEngine(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	m := twoLayers(r, 5, 8, 3)
	small, removed := cutModel(t, m, []int{2})
	in := map[string]Array{"x": random(r, 6, 5)}
	_, err := Repair(context.Background(), dense{fail: true}, m, small, removed, in, in, Options{})
	require.ErrorContains(t, err, "original: no engine")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Repair(ctx, dense{}, m, small, removed, in, in, Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestFidelityComparesSampleBySample(t *testing.T) {
	want := []Array{{Dims: []int{2, 2}, Floats: []float32{1, 0, 0, 1}}}
	r := &Reference{engine: constantEngine{Array{Dims: []int{2, 2}, Floats: []float32{2, 0, 1, 0}}}, want: [][]Array{want}, held: []map[string]Array{nil}}
	f, err := r.Fidelity(context.Background(), nil)
	require.NoError(t, err)
	require.Equal(t, Fidelity{Cosine: .5, Top1: .5, N: 2}, f)
	require.False(t, Fidelity{Cosine: math.NaN()}.better(f))
	require.Equal(t, .5, f.Distance())
	require.Equal(t, 2.0, Fidelity{Cosine: math.NaN()}.Distance())
}

type constantEngine []Array

func (e constantEngine) Run(context.Context, *onnxio.Model, map[string]Array) ([]Array, error) {
	return e, nil
}

// A weight that a body reads too belongs to no layer alone, so that it keeps its numbers.
func TestReadersInBodies(t *testing.T) {
	body := &onnxio.Graph{Nodes: []*onnxio.Node{{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"a"}}}, Outputs: []*onnxio.ValueInfo{{Name: "a"}}}
	m := &onnxio.Model{Graph: &onnxio.Graph{Nodes: []*onnxio.Node{
		{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"y"}},
		{OpType: "If", Inputs: []string{"c"}, Outputs: []string{"z"}, Attributes: []*onnxio.Attribute{{Name: "then_branch", G: body}, {Name: "else_branch", G: body}}}}}}
	require.Len(t, newStepper(nil, m, nil, engine.Memory{}).readers("w"), 2)
	require.Len(t, newStepper(nil, m, nil, engine.Memory{}).readers("c"), 1)
}

// spill keeps floats by key, and counts them.
type spill struct {
	kept map[string][]float32
	puts int
}

func (s *spill) Put(key string, v []float32) error {
	s.kept[key], s.puts = slices.Clone(v), s.puts+1
	return nil
}

func (s *spill) Get(key string, v []float32) error {
	if len(s.kept[key]) != len(v) {
		return errors.New("not kept: " + key)
	}
	copy(v, s.kept[key])
	return nil
}

func (s *spill) Drop(key string) error {
	delete(s.kept, key)
	return nil
}

// Samples in chunks, and values that are spilled, give the result that all samples at once give.
func TestChunksAndSpillingChangeNothing(t *testing.T) {
	ctx, r := context.Background(), rand.New(rand.NewPCG(9, 9))
	m := twoLayers(r, 5, 8, 3)
	small, removed := cutModel(t, m, []int{1, 6})
	fit, held := map[string]Array{"x": random(r, 200, 5)}, map[string]Array{"x": random(r, 70, 5)}
	fitted := func(size int, memory engine.Memory) map[string][]float32 {
		ref := &Reference{engine: dense{}, model: m, fit: engine.Chunks(fit, size), held: engine.Chunks(held, size), memory: memory}
		_, tensors, err := ref.Fit(ctx, small, removed, Solve, Options{})
		require.NoError(t, err)
		return tensors
	}
	whole := fitted(200, engine.Memory{})
	require.NotEmpty(t, whole)
	for _, size := range []int{64, 7, 1} {
		kept := &spill{kept: map[string][]float32{}}
		for name, v := range fitted(size, engine.Memory{Bytes: 500, Spill: kept}) {
			require.InDeltaSlice(t, whole[name], v, 1e-5, name)
		}
		require.Positive(t, kept.puts)
		require.Empty(t, kept.kept, "nothing is left behind")
	}
}
