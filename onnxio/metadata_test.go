package onnxio

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNodeMetadata(t *testing.T) {
	f, err := Open("../testdata/models/heads.dy.onnx")
	require.NoError(t, err)
	defer f.Close()
	found := 0
	for _, n := range f.Model.Graph.Nodes {
		if n.Name == "node_MatMul_3" {
			found++
			require.Equal(t, "['', 'i', 'linear']", n.Metadata("pkg.torch.onnx.name_scopes"))
			require.Empty(t, n.Metadata("no.such.key"))
		}
	}
	require.Equal(t, 1, found)
	require.Empty(t, (&Node{Name: "made here"}).Metadata("namespace"))
	for cut := range f.Model.Graph.Nodes[0].raw {
		n := Node{origin: origin{f.Model.Graph.Nodes[0].raw[:cut]}}
		n.Metadata("namespace") // damaged bytes are no crash
	}
}
