package graphcodec

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// Names that stand for an ellipsis' axes differ from one another and from letters, whatever is broadcast.
func TestEllipsisNames(t *testing.T) {
	ones := &Value{Ranked: true, Shape: make([]Dim, maxEllipsis)}
	for k := range ones.Shape {
		ones.Shape[k] = Num(1)
	}
	var long [maxEllipsis]bool
	for k := range long {
		long[k] = true
	}
	seen := map[rune]bool{}
	for k := range maxEllipsis {
		seen['0'+rune(k)] = true
	}
	for i := range 2 {
		c := &call{in: []*Value{ones, ones}, node: &onnxio.Node{}}
		names, ok := c.ellipsis("...", i, long)
		require.True(t, ok)
		require.Len(t, names, maxEllipsis)
		for _, l := range names {
			require.False(t, seen[l], "%q", l)
			require.Less(t, l, 'A')
			seen[l] = true
		}
	}
}
