package onnxio

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// The advice that goes with files that are no ONNX models.
const (
	giveModel   = "give the .onnx file"
	exportTorch = "export it in Python with torch.onnx.export and give the .onnx file"
	fromTF      = "convert it with tf2onnx and give the .onnx file"
	onlyWeights = "it has weights and no graph; export the network as ONNX and give the .onnx file"
	unpack      = "unpack it and give the .onnx file in it"
)

// magics tell other files by bytes at a fixed place.
var magics = []struct {
	at                  int
	magic, what, advice string
}{
	{0, "version https://git-lfs.github.com/spec/", "a Git LFS pointer", "run `git lfs pull`, which puts the model in its place"},
	{0, "\xff\xd8\xff", "a JPEG picture", giveModel},
	{0, "\x89PNG\r\n\x1a\n", "a PNG picture", giveModel},
	{0, "GIF8", "a GIF picture", giveModel},
	{8, "WEBP", "a WebP picture", giveModel},
	{0, "%PDF-", "a PDF document", giveModel},
	{0, "\x1f\x8b", "a gzip file", unpack},
	{0, "BZh", "a bzip2 file", unpack},
	{0, "\xfd7zXZ", "an xz file", unpack},
	{0, "\x28\xb5\x2f\xfd", "a Zstandard file", unpack},
	{0, "7z\xbc\xaf", "a 7z archive", unpack},
	{257, "ustar", "a tar archive", unpack},
	{4, "TFL3", "a TFLite model", fromTF},
	{4, "ORTM", "a model in ONNX Runtime's own format", "give the .onnx file that it was made from"},
	{0, "\x89HDF\r\n", "an HDF5 file", "Keras models are such files; " + fromTF},
	{0, "GGUF", "a GGUF file", onlyWeights},
	{0, "\x93NUMPY", "a NumPy array", giveModel},
	{0, "\x7fELF", "a program", giveModel},
	{0, "MZ", "a program", giveModel},
	{8, `{"`, "a safetensors file", onlyWeights},
}

// foreign says what a file is that is no ONNX model, and what to do; "" where that is not known. data is the file, or its beginning.
func foreign(data []byte) (what, advice string) {
	if bytes.HasPrefix(data, []byte("PK\x03\x04")) {
		return zipped(data)
	}
	if len(data) > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 && bytes.ContainsAny(data[2:min(len(data), 12)], "c}]\x95\x8a(") {
		return "a Python pickle", "old PyTorch checkpoints and scikit-learn models are such files; export it as ONNX and give the .onnx file"
	}
	for _, m := range magics {
		if len(data) >= m.at+len(m.magic) && string(data[m.at:m.at+len(m.magic)]) == m.magic {
			return m.what, m.advice
		}
	}
	return kindOfText(data)
}

// zipped tells what is in a zip archive by the names of its files.
func zipped(data []byte) (what, advice string) {
	const part = 1 << 20
	names := data
	if len(data) > 2*part {
		names = append(bytes.Clone(data[:part]), data[len(data)-part:]...) // the first file's name, and the directory at the end
	}
	has := func(part string) bool { return bytes.Contains(names, []byte(part)) }
	switch {
	case has("constants.pkl") || has("/code/__torch__"):
		return "a TorchScript model", exportTorch
	case has("data.pkl"):
		return "a PyTorch checkpoint", exportTorch
	case has("model.weights.h5"):
		return "a Keras model", fromTF
	case has(".npy"):
		return "an NPZ file of arrays", giveModel
	case has(".onnx"):
		return "a zip archive", unpack
	}
	return "a zip archive", giveModel
}

// kindOfText tells kinds of text.
func kindOfText(data []byte) (what, advice string) {
	head := data[:min(len(data), 4096)]
	for cut := 0; cut < utf8.UTFMax && len(head) > 0 && len(head) < len(data) && !utf8.Valid(head); cut++ {
		head = head[:len(head)-1]
	}
	if !utf8.Valid(head) || bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
		return "", ""
	}
	begin := bytes.ToLower(bytes.TrimSpace(head))
	switch {
	case len(begin) == 0:
		return "a text file", giveModel
	case bytes.HasPrefix(begin, []byte("<!doctype html")), bytes.HasPrefix(begin, []byte("<html")):
		return "an HTML page", "a download that failed leaves such a page; download the model again"
	case begin[0] == '<':
		return "an XML file", giveModel
	case begin[0] == '{' || begin[0] == '[':
		return "a JSON file", giveModel
	}
	return "a text file", giveModel
}

// recognised replaces what went wrong in reading a file by what the file is, where that is known.
func recognised(data []byte, err error) error {
	what, advice := foreign(data)
	if what == "" {
		return err
	}
	return &FormatError{Offset: -1, Want: "an ONNX model", Got: what, Err: errors.New("it is " + what + ", not an ONNX model; " + advice)}
}
