package verify

import (
	"math"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// A difference that is no finite number is a difference, and its JSON can be written.
func TestVerdictOfNumbersThatAreNone(t *testing.T) {
	for _, worst := range []float64{math.NaN(), math.Inf(1)} {
		v := Verdict{Faces: true, Slices: Exact, Bound: 1}
		v.measured("x", worst)
		v.decide()
		require.Equal(t, Different, v.Verdict)
		require.Nil(t, v.Error)
	}
}

// Names that contain the signs between fields are not taken for other inputs.
func TestFacesAreComparedOneByOne(t *testing.T) {
	model := func(inputs ...string) *onnxio.Model {
		g := &onnxio.Graph{}
		for _, n := range inputs {
			g.Inputs = append(g.Inputs, &onnxio.ValueInfo{Name: n})
		}
		return &onnxio.Model{Graph: g}
	}
	require.True(t, sameFaces(model("a", "b"), model("a", "b")))
	require.False(t, sameFaces(model("a:;b"), model("a", "b")))
	require.False(t, sameFaces(model("a", "b"), model("b", "a")))
	require.False(t, sameFaces(model("a"), model("a", "b")))
}
