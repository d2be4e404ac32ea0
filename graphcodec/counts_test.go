package graphcodec_test

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
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

// Four-bit weights count one by one, in the layer as in the model, and so do their products.
func TestPackedWeights(t *testing.T) {
	var layers []graphcodec.LayerCost
	for _, l := range load(t, "../testdata/models/quantised.onnx").NewState().Layers() {
		if l.Op == "MatMulNBits" {
			layers = append(layers, l)
		}
	}
	require.Len(t, layers, 1)
	require.EqualValues(t, 48*64, layers[0].Params)
}
