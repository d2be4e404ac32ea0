package graphcodec_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func TestParseSizes(t *testing.T) {
	sizes, err := coupling.ParseSizes([]string{"x=1x3x48X320", "a=b:0=2", "1x128"})
	require.NoError(t, err)
	require.Equal(t, map[string][]int64{"x": {1, 3, 48, 320}, "a=b:0": {2}, "": {1, 128}}, sizes)
	for _, bad := range [][]string{{"x="}, {"x=1x0"}, {"x=1x-3"}, {"x=1,3"}, {"x=1x3x"}, {"x"}, {"x=99999999999"}, {"x=1", "x=2"}, {"1", "2"}} {
		_, err := coupling.ParseSizes(bad)
		require.Error(t, err, "%q", bad)
	}
}

// input is a graph input of a type; a dim is a number or a symbol, "" for one without a name.
func input(name string, dtype onnxio.DataType, dims ...any) *onnxio.ValueInfo {
	shape := &onnxio.Shape{}
	for _, d := range dims {
		dim := &onnxio.Dim{}
		switch d := d.(type) {
		case int:
			dim.HasValue, dim.Value = true, int64(d)
		case string:
			dim.Param = d
		}
		shape.Dims = append(shape.Dims, dim)
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: dtype, Shape: shape}}}
}

// taking is the analysis of a model that only takes the inputs.
func taking(t *testing.T, inputs ...*onnxio.ValueInfo) *coupling.Analysis {
	t.Helper()
	m := &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Inputs: inputs}}
	for _, in := range inputs {
		m.Graph.Nodes = append(m.Graph.Nodes, &onnxio.Node{OpType: "Identity", Inputs: []string{in.Name}, Outputs: []string{in.Name + "_out"}})
		m.Graph.Outputs = append(m.Graph.Outputs, &onnxio.ValueInfo{Name: in.Name + "_out"})
	}
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	return a
}

func TestAssumedSizes(t *testing.T) {
	f, i, u8 := onnxio.Float, onnxio.Int64, onnxio.Uint8
	for want, inputs := range map[string][]*onnxio.ValueInfo{
		"x = 1x3x224x224":           {input("x", f, "", 3, "", "")},
		"x = 1x3x48x224":            {input("x", f, "?", 3, 48, "?")},
		"x = 1x1x224x80":            {input("x", f, "batch", 1, "frames", 80)},
		"x = 1x224x224x3":           {input("x", f, "N", "d1", "d2", 3)},
		"x = 1x64x224x224":          {input("x", f, "a", "b", "c", "d")},
		"x = 3x224x224":             {input("x", f, 3, "h", "")},
		"x = 224x224x3":             {input("x", u8, "", "", 3)},
		"x = 1x128x80":              {input("x", f, "", "", 80)},
		"x = 1x80x128":              {input("x", f, "", 80, "")},
		"x = 1x64":                  {input("x", f, "n", "features")},
		"ids = 1x128, mask = 1x128": {input("ids", i, "batch_size", "sequence_length"), input("mask", i, "batch_size", "sequence_length")},
		"ids = 1x128, past = 1x8x128x64, mask = 1x256": {input("ids", i, "batch_size", "sequence_length"), input("past", f, "batch_size", 8, "past_sequence_length", 64),
			input("mask", i, "batch_size", "total_sequence_length")},
		"ids = 1x128, past = 1x8x128x64, mask = 1x129": {input("ids", i, "", ""), input("past", f, "batch", 8, "past_len", 64), input("mask", i, "batch", "past_len + 1")},
		"past = 1x8x128x64":                            {input("past", f, "", 8, "", 64)},
		"x = 1x64x64x64x64":                            {input("x", f, "", "", "", "", "")},
		"x = 1x3x224x128, y = 1x128":                   {input("x", f, "", 3, "height", "seq"), input("y", f, "batch", "seq")},
	} {
		c := taking(t, inputs...).CountedAt()
		require.NotNil(t, c, want)
		require.Equal(t, want, c.String())
		require.True(t, c.Assumed)
	}
	require.Nil(t, taking(t, input("x", f, 1, 3, 8, 8)).CountedAt(), "nothing is free")
}

func TestGivenSizes(t *testing.T) {
	a := taking(t, input("x", onnxio.Float, "batch", 3, "", "w"), input("y", onnxio.Int64, "batch", "seq"))
	require.NoError(t, a.CountAt(map[string][]int64{"x": {2, 3, 32, 48}}))
	require.Equal(t, "x = 2x3x32x48, y = 2x128", a.CountedAt().String(), "a symbol has one size")
	require.True(t, a.CountedAt().Assumed, "of seq")
	require.NoError(t, a.CountAt(map[string][]int64{"x": {2, 3, 32, 48}, "y": {2, 7}}))
	require.False(t, a.CountedAt().Assumed)
	for want, given := range map[string]map[string][]int64{
		`"x": the model declares batchx3x?x.2xw, got 2x4x32x48: dimension 1 is fixed at 3`: {"x": {2, 4, 32, 48}},
		`got 2x3: want 4 sizes, got 2`:                        {"x": {2, 3}},
		`dimension 0 (batch) is`:                              {"x": {2, 3, 32, 48}, "y": {1, 7}},
		`the model has no input "z"; its inputs are x, y`:     {"z": {1}},
		`the model has 2 inputs (x, y); write NAME=1x3x32x32`: {"": {1, 3, 32, 32}},
		`is too large to be counted`:                          {"x": {1 << 20, 3, 1 << 20, 1 << 20}},
	} {
		require.ErrorContains(t, a.CountAt(given), want)
	}
	one := taking(t, input("x", onnxio.Float, "", 3, "", ""))
	require.NoError(t, one.CountAt(map[string][]int64{"": {3, 48, 320}}), "a picture without its batch")
	require.Equal(t, "x = 1x3x48x320", one.CountedAt().String())
	require.False(t, one.CountedAt().Assumed)
	square := taking(t, input("x", onnxio.Float, "?", 3, "?", "?"))
	require.NoError(t, square.CountAt(map[string][]int64{"x": {2, 3, 4, 5}}), "a question mark is no name")
}

// fixed is the model with the sizes written into its inputs.
func fixed(t *testing.T, path string, sizes map[string][]int64) *coupling.Analysis {
	t.Helper()
	m := load(t, path).Source()
	for _, in := range m.Graph.Inputs {
		for k, n := range sizes[in.Name] {
			in.Type.Tensor.Shape.Dims[k] = &onnxio.Dim{HasValue: true, Value: n}
		}
	}
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	return a
}

// What is counted at sizes is what the same model with these sizes fixed in the file costs: to whom evaluates shapes, and where sizes are given to whom does not.
func TestCountedAsIfFixed(t *testing.T) {
	free := 0
	for _, path := range smallModels(t) {
		a := load(t, path)
		c := a.CountedAt()
		if c == nil {
			continue
		}
		free++
		require.True(t, c.Assumed, path)
		b := fixed(t, path, c.Inputs)
		require.Nil(t, b.CountedAt(), path)
		require.Equal(t, b.NewState().MACs(), a.NewState().MACs(), "%s at %s", path, c)
		require.Equal(t, b.Activations(b.NewState()), a.Activations(a.NewState()), "%s at %s", path, c)
		require.NoError(t, a.CountAt(maps.Clone(c.Inputs)))
		require.False(t, a.CountedAt().Assumed)
		require.Equal(t, b.NewState().MACs(), a.NewState().MACs(), "%s at %s", path, c)
		require.Equal(t, b.NewState().VisibleMACs(), a.NewState().VisibleMACs(), "%s at %s", path, c)
	}
	require.Greater(t, free, 8)
}

// Removing channels changes both counts as it does in the model with fixed sizes.
func TestRemovedAtSizes(t *testing.T) {
	path := "../testdata/models/yoloish.ts.dynb.onnx"
	a := load(t, path)
	sizes := map[string][]int64{slices.Collect(maps.Keys(a.CountedAt().Inputs))[0]: slices.Collect(maps.Values(a.CountedAt().Inputs))[0]}
	for _, v := range sizes {
		v[0] = 5
	}
	require.NoError(t, a.CountAt(sizes))
	b := fixed(t, path, sizes)
	s, r := a.NewState(), b.NewState()
	for i := range a.Groups {
		if g := &a.Groups[i]; g.Frozen == "" {
			s.Remove(g.Units[0])
			before, seen := s.MACs(), s.VisibleMACs()
			saves, sees := s.Saves(g.Units[1]), s.VisibleSaves(g.Units[1])
			s.Remove(g.Units[1])
			require.Equal(t, before-saves, s.MACs())
			require.Equal(t, seen-sees, s.VisibleMACs())
		}
	}
	us, err := b.UnitsOf(a.Removals(s.Units()))
	require.NoError(t, err)
	for _, u := range us {
		r.Remove(u)
	}
	require.Equal(t, r.MACs(), s.MACs())
	require.Less(t, s.MACs(), a.NewState().MACs())
}
