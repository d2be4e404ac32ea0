package onnxio_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// modelFiles lists the models of the repository and, where they are at hand, ONNX's own node tests (Debian's libonnx-testdata) and the folder
// that METAPRUNE_ZOO names.
func modelFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"../testdata/*.onnx", "../testdata/*/*.onnx", "/usr/share/libonnx-testdata/data/*/*/model.onnx", os.Getenv("METAPRUNE_ZOO") + "/*.onnx"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		out = append(out, files...)
	}
	require.Greater(t, len(out), 20)
	return out
}

func TestRoundTripIsByteForByte(t *testing.T) {
	files := modelFiles(t)
	for _, f := range files {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		m, err := onnxio.Decode(data, nil)
		require.NoError(t, err, f)
		got, err := m.Marshal()
		require.NoError(t, err, f)
		require.True(t, bytes.Equal(data, got), f)
	}
	t.Logf("%d models", len(files))
}

func TestChangesKeepWhatTheyDoNotTouch(t *testing.T) {
	data, err := os.ReadFile("../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	m.ProducerName = "someone else"
	m.Graph.Nodes = append(m.Graph.Nodes[1:3:3], m.Graph.Nodes[3:]...)
	m.Graph.Nodes[0].Name = "renamed"
	m.Graph.Initializers = append(m.Graph.Initializers, onnxio.NewInt64s("new", []int64{1, -2}))
	out, err := m.Marshal()
	require.NoError(t, err)
	require.EqualValues(t, len(out), m.EncodedSize())
	again, err := onnxio.Decode(out, nil)
	require.NoError(t, err)
	require.Equal(t, "someone else", again.ProducerName)
	require.Equal(t, "renamed", again.Graph.Nodes[0].Name)
	require.Len(t, again.Graph.Nodes, len(m.Graph.Nodes))
	require.Len(t, again.Graph.Initializers, len(m.Graph.Initializers))
	v, err := again.Graph.Initializers[len(again.Graph.Initializers)-1].Int64s()
	require.NoError(t, err)
	require.Equal(t, []int64{1, -2}, v)
	for i, n := range m.Graph.Nodes {
		require.Equal(t, n.Inputs, again.Graph.Nodes[i].Inputs)
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	data, err := os.ReadFile("../testdata/models/conv1d.ts.onnx")
	require.NoError(t, err)
	data = append(data, 0xa2, 0x06, 3, 'a', 'b', 'c') // field 100, bytes
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	m.DocString = "changed"
	out, err := m.Marshal()
	require.NoError(t, err)
	require.True(t, bytes.Contains(out, []byte{0xa2, 0x06, 3, 'a', 'b', 'c'}))
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("../testdata/models/conv1d*.onnx")
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data[:min(len(data), 4096)])
	}
	f.Add([]byte{8, 8, 58, 0, 66, 4, 10, 0, 16, 17})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.Decode(data, nil)
		if err != nil {
			return
		}
		got, err := m.Marshal()
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		m.EachTensor(func(x *onnxio.Tensor) { _, _ = x.Bytes() })
	})
}
