package onnxio_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

var roomy = onnxio.StreamLimits{Part: 256, Tensor: 1 << 30, Kept: 1 << 30}

// stored reads parts of data and counts them.
func stored(data []byte, reads *int) onnxio.ReadRange {
	return func(offset, length int64) ([]byte, error) {
		*reads++
		return data[offset : offset+length : offset+length], nil
	}
}

func TestStreamedModelsAreTheSame(t *testing.T) {
	files, err := filepath.Glob("../testdata/models/*.onnx")
	require.NoError(t, err)
	reads := 0
	for _, file := range append(files, "../testdata/fashion-resnet20.onnx") {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		m, err := onnxio.DecodeStream(bytes.NewReader(data), int64(len(data)), stored(data, &reads), roomy)
		require.NoError(t, err, file)
		once, err := onnxio.DecodeParts(int64(len(data)), stored(data, &reads), roomy)
		require.NoError(t, err, file)
		again, err := once.Marshal()
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again), file)
		before := reads
		whole, err := onnxio.Decode(data, nil)
		require.NoError(t, err)
		require.Equal(t, whole.EncodedSize(), m.EncodedSize(), file)
		require.Equal(t, before, reads, "the size is known without the elements")
		out, err := m.Marshal()
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, out), file)
		for i, x := range whole.Graph.Initializers {
			y := m.Graph.Initializers[i]
			if x.DataType == onnxio.String || x.DataType.Bits() < 8 {
				continue
			}
			want, err := x.Bytes()
			require.NoError(t, err)
			got, err := y.Bytes()
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got), "%s %s", file, x.Name)
			if len(x.Dims) == 0 || x.Dims[0] < 2 {
				continue
			}
			keep := make([][]int, len(x.Dims))
			keep[0] = []int{1}
			a, b := *x, *y
			require.NoError(t, a.Cut(keep))
			at := reads
			require.NoError(t, b.Cut(keep))
			require.Equal(t, at, reads, "cutting does not read")
			want, err = a.Bytes()
			require.NoError(t, err)
			got, err = b.Bytes()
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got), "%s %s", file, x.Name)
		}
	}
	require.Greater(t, reads, 100)
}

func TestStreamErrors(t *testing.T) {
	data, err := os.ReadFile("../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	reads := 0
	decode := func(data []byte, size int64, l onnxio.StreamLimits) error {
		_, err := onnxio.DecodeStream(bytes.NewReader(data), size, stored(data, &reads), l)
		return err
	}
	n := int64(len(data))
	var large *onnxio.TooLargeError
	require.ErrorAs(t, decode(data, n, onnxio.StreamLimits{Part: 256, Tensor: 1 << 30, Kept: 100}), &large)
	require.EqualValues(t, 100, large.Limit)
	require.ErrorAs(t, decode(data, n, onnxio.StreamLimits{Part: 256, Tensor: 1000, Kept: 1 << 30}), &large)
	require.ErrorContains(t, large, "want at most 1000")
	var f *onnxio.FormatError
	require.ErrorAs(t, decode(data[:n/2], n, roomy), &f)
	require.ErrorContains(t, f, "ends early")
	require.ErrorAs(t, decode(data, n-1, roomy), &f)
	require.ErrorAs(t, decode(append(bytes.Clone(data), data...), 2*n, roomy), &f)
	require.ErrorContains(t, f, "a second graph")
	require.ErrorAs(t, decode(nil, 0, roomy), &f)

	broken := errors.New("the bucket is gone")
	m, err := onnxio.DecodeStream(bytes.NewReader(data), n, func(_, length int64) ([]byte, error) {
		if length > 10_000 {
			return nil, broken
		}
		return make([]byte, 3), nil
	}, roomy)
	require.NoError(t, err)
	_, err = m.Marshal()
	require.ErrorContains(t, err, "3 of 576 bytes")
	tensor := m.Graph.Initializers[0]
	for _, x := range m.Graph.Initializers {
		if x.Lazy != nil && x.Lazy.Size() > 10_000 {
			tensor = x
		}
	}
	_, err = tensor.Bytes()
	require.ErrorIs(t, err, broken)
}

func FuzzDecodeStream(f *testing.F) {
	files, _ := filepath.Glob("../testdata/models/*.onnx")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 20_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		reads := 0
		m, err := onnxio.DecodeStream(bytes.NewReader(data), int64(len(data)), stored(data, &reads), onnxio.StreamLimits{Part: 8, Tensor: 1 << 20, Kept: 1 << 20})
		if err != nil {
			return
		}
		if _, err := onnxio.DecodeParts(int64(len(data)), stored(data, &reads), onnxio.StreamLimits{Part: 8, Tensor: 1 << 20, Kept: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		whole, err := onnxio.Decode(data, nil)
		if err != nil {
			t.Fatalf("read from a stream, but not at once: %v", err)
		}
		if len(whole.Graph.Initializers) != len(m.Graph.Initializers) {
			t.Fatal("other initializers")
		}
	})
}
