package op

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func TestFourierAxis(t *testing.T) {
	call := func(version, axis int64) *Call {
		return &Call{Version: version, Node: &onnxio.Node{OpType: "DFT", Attributes: []*onnxio.Attribute{{Name: "axis", Type: onnxio.AttrInt, I: axis}}}}
	}
	for _, c := range []struct {
		version, axis int64
		want          int
		ok            bool
	}{{17, 1, 1, true}, {17, -2, 2, true}, {17, -1, 0, false}, {17, 3, 0, false}, {17, 9, 0, false}, {17, -9, 0, false}, {20, 9, 2, true}} {
		k, ok := call(c.version, c.axis).fourierAxis(4)
		require.Equal(t, c.ok, ok, c)
		if ok {
			require.Equal(t, c.want, k, c)
		}
	}
	require.Equal(t, dim.Num(5), halfSpectrum(dim.Num(8)))
	require.Equal(t, dim.Num(5), halfSpectrum(dim.Num(9)))
}
