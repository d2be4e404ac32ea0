package onnxio

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// zipOf is an archive with files of these names.
func zipOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range names {
		f, err := w.Create(n)
		require.NoError(t, err)
		_, err = f.Write(bytes.Repeat([]byte{1, 2, 3}, 100))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func foreignFiles(t *testing.T) map[string][]byte {
	t.Helper()
	var picture, photo, packed bytes.Buffer
	require.NoError(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 9, 9))))
	require.NoError(t, jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 9, 9)), nil))
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte("what is in it"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return map[string][]byte{
		"JPEG picture":       photo.Bytes(),
		"PNG picture":        picture.Bytes(),
		"gzip file":          packed.Bytes(),
		"NPZ file of arrays": zipOf(t, "x.npy", "y.npy"),
		"PyTorch checkpoint": zipOf(t, "archive/data.pkl", "archive/data/0", "archive/version"),
		"TorchScript model":  zipOf(t, "net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"),
		"Keras model":        zipOf(t, "metadata.json", "config.json", "model.weights.h5"),
		"zip archive":        zipOf(t, "README", "net.onnx"),
		"Python pickle":      {0x80, 4, 0x95, 20, 0, 0, 0, 0, 0, 0, 0, 0x7d, '.'},
		"safetensors file":   append([]byte{12, 0, 0, 0, 0, 0, 0, 0}, []byte(`{"a":{}}    `)...),
		"TFLite model":       append([]byte{28, 0, 0, 0}, []byte("TFL3\x00\x00\x00\x00")...),
		"HTML page":          []byte("\n<!DOCTYPE html>\n<html><head><title>Sign in</title>"),
		"Git LFS pointer":    []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
		"JSON file":          []byte("{\"ir_version\": 8}\n"),
		"XML file":           []byte("<?xml version=\"1.0\"?><net name=\"x\"/>"),
		"text file":          []byte(strings.Repeat("hello, I am no model: größer\n", 500)),
		"NumPy array":        []byte("\x93NUMPY\x01\x00v\x00{'descr': '<f4'}"),
		"HDF5 file":          []byte("\x89HDF\r\n\x1a\n\x00\x00\x00\x00"),
	}
}

// A file that is no ONNX model is called by what it is, wherever it is read.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for what, data := range foreignFiles(t) {
		path := filepath.Join(dir, "model.onnx")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		_, err := Open(path)
		require.ErrorContains(t, err, what+", not an ONNX model; ", what)
		require.ErrorContains(t, err, "model.onnx: it is a", what) // or "an"
		var format *FormatError
		require.ErrorAs(t, err, &format)
		require.Equal(t, "an ONNX model", format.Want)
		require.Contains(t, format.Got, what)
		_, err = DecodeStream(bytes.NewReader(data), int64(len(data)), func(int64, int64) ([]byte, error) { return nil, nil }, StreamLimits{Part: 1 << 20, Tensor: 1 << 20, Kept: 1 << 20})
		require.ErrorContains(t, err, what, "as a stream")
	}
	_, err := Open(dir)
	require.ErrorContains(t, err, "it is a folder, not an ONNX model; give the .onnx file, such as "+filepath.Join(dir, "model.onnx"))
	require.NoError(t, os.Remove(filepath.Join(dir, "model.onnx")))
	_, err = Open(dir)
	require.ErrorContains(t, err, "give the .onnx file in it")
	_, err = Decode(nil, nil)
	require.ErrorContains(t, err, "the file is empty")
	for _, unknown := range [][]byte{{8}, {1, 2, 3, 4}, bytes.Repeat([]byte{0xff}, 5000)} {
		what, _ := foreign(unknown)
		require.Empty(t, what)
	}
}

// Weights beside a model that were not fetched are called by what they are.
func TestExternalDataThatIsAPointer(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "w.data"), foreignFiles(t)["Git LFS pointer"], 0o600))
	d := &folder{path: dir}
	defer d.close()
	_, err := d.Read("w.data", 0, 1000)
	require.ErrorContains(t, err, "it is a Git LFS pointer; run `git lfs pull`")
}
