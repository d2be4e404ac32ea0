package graphcodec_test

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// A network costs the same in every quantised format: products of integers are work, quantised weights are parameters, scales and zero points are not. The quantiser folded a Clip and its two bounds away in three of the formats.
func TestQuantisedFormatsCountAlike(t *testing.T) {
	float := load(t, "../testdata/field/12_float.ts.onnx").NewState()
	require.EqualValues(t, 313_804, float.MACs())
	require.EqualValues(t, 6_736, float.Params())
	for name, bounds := range map[string]int64{"12_dyn": 0, "12_dyn_u8": 0, "12_qdq": 2, "12_qdq_pc": 2, "int4/12_qdq_i4": 2, "12_qop": 2} {
		s := load(t, "../testdata/field/"+name+".onnx").NewState()
		require.Equal(t, float.MACs(), s.MACs(), name)
		require.Equal(t, float.Params()-bounds, s.Params(), name)
		var macs, params int64
		for _, l := range s.Layers() {
			macs, params = macs+l.MACs, params+l.Params
		}
		require.Equal(t, s.MACs(), macs, name)
		require.Greater(t, params, s.Params()*9/10, "%s: layers know their quantised weights", name)
		if name != "12_qop" && name != "int4/12_qdq_i4" { // whose later shapes lie behind operators of another domain
			require.Equal(t, s.MACs(), s.VisibleMACs(), "%s: integers count for everybody", name)
		}
	}
}

// Scales and zero points of recurrent layers and of attention are no parameters, nor is the scale of a weight that is multiplied with an activation's computed scale.
func TestParametersWithoutScales(t *testing.T) {
	s := load(t, "../testdata/models/quantised_sequence.onnx").NewState()
	require.EqualValues(t, (12*160+160+160*80+80+80*24)+(2*24*64+2*16*64+2*128)+(32*96+96)+32*32+32*7, s.Params())
}

// Packed weights count one by one, in the layer as in the model, and so do their products: blocks that are filled up, and zero points, count nothing.
func TestPackedWeights(t *testing.T) {
	layers := map[string]coupling.LayerCost{}
	for _, name := range []string{"quantised", "packed", "moe"} {
		for _, l := range load(t, "../testdata/models/"+name+".onnx").NewState().Layers() {
			layers[l.Op+" "+l.Node] = l
		}
	}
	const rows = 6
	for name, want := range map[string][2]int64{ // weights and biases
		"MatMulNBits matmulnbits17_n": {96 * 64, 96}, "MatMulNBits matmulnbits43_n": {72 * 64, 0}, "MatMulNBits matmulnbits74_n": {64 * 64, 0}, "MatMulNBits matmulnbits88_n": {64 * 48, 0},
		"MatMulBnb4 matmulbnb4108_n": {128 * 64, 0}, "MatMulBnb4 matmulbnb4112_n": {64 * 128, 0},
		"MoE moe21_n": {2*64*32 + 2*32*32, 2*64 + 2*32}, "QMoE qmoe51_n": {2 * 2 * 32 * 32, 2 * 2 * 32}, "QMoE qmoe79_n": {2*64*32 + 2*32*32, 2*64 + 2*32}, "QMoE qmoe109_n": {2 * 2 * 32 * 32, 2 * 2 * 32},
	} {
		l, ok := layers[name]
		require.True(t, ok, name)
		require.Equal(t, want[0]+want[1], l.Params, name)
		require.Equal(t, rows*want[0], l.MACs, "%s: both experts of two are taken", name)
	}
	found := false
	for name, l := range layers {
		if l.Op == "MatMulNBits" && l.Params == 48*64 {
			found = true
		}
		require.Positive(t, l.Params+l.MACs, name)
	}
	require.True(t, found, "of quantised.onnx")
}

// A convolution with its channels last is not pruned, but it is work.
func TestChannelsLast(t *testing.T) {
	w := &onnxio.Tensor{Name: "w", DataType: onnxio.Float, Dims: []int64{8, 3, 3, 3}}
	require.NoError(t, w.SetFloat32s(make([]float32, 8*3*3*3)))
	m := &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}, {Domain: "com.microsoft", Version: 1}}, Graph: &onnxio.Graph{
		Inputs: []*onnxio.ValueInfo{input("x", onnxio.Float, "", "", "", 3)}, Outputs: []*onnxio.ValueInfo{{Name: "y"}}, Initializers: []*onnxio.Tensor{w},
		Nodes: []*onnxio.Node{{Domain: "com.microsoft", OpType: "NhwcFusedConv", Name: "c", Inputs: []string{"x", "w"}, Outputs: []string{"y"},
			Attributes: []*onnxio.Attribute{{Name: "strides", Type: onnxio.AttrInts, Ints: []int64{2, 2}}, {Name: "pads", Type: onnxio.AttrInts, Ints: []int64{1, 1, 1, 1}}}}}}}
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	l := a.NewState().Layers()
	require.Len(t, l, 1)
	require.Equal(t, "1x112x112x8", l[0].Shape)
	require.EqualValues(t, 112*112*8*3*3*3, l[0].MACs)
}

// A target holds at static shapes too, but not where less than half of the work is visible there:
// behind operators of another domain, functions, group normalisations, or shapes that nodes compute.
// Free sizes alone hide nothing.
func TestStaticCountsSayNothingWhereMostIsHidden(t *testing.T) {
	for name, says := range map[string]bool{
		"field/12_float.ts": true, "field/12_qdq": true, "field/12_dyn": true, "field/12_qop": false, "field/int4/12_qdq_i4": false,
		"models/computed": false, "models/functions": false, "models/gn21": false, "models/opset12.ts.dynb": false,
		"models/gnfree.ts": true, "models/heads.dy": true, "models/zeros.dy": true, // free sizes
	} {
		require.Equal(t, says, load(t, "../testdata/"+name+".onnx").NewState().StaticCounts(), name)
	}
}
