package cli

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// writeNPZ writes one array of small numbers, and labels of 0 for its samples.
func writeNPZ(t *testing.T, name, kind string, dims ...int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "samples.npz")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	z := zip.NewWriter(f)
	for file, data := range map[string][]byte{name: npy(t, kind, dims...), "y": npy(t, "<i8", dims[0])} {
		w, err := z.Create(file + ".npy")
		require.NoError(t, err)
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return path
}

func npy(t *testing.T, kind string, dims ...int) []byte {
	n, shape := 1, ""
	for _, d := range dims {
		n *= d
		shape += fmt.Sprintf("%d,", d)
	}
	var b bytes.Buffer
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, shape)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	b.WriteString("\x93NUMPY\x01\x00")
	require.NoError(t, binary.Write(&b, binary.LittleEndian, uint16(len(header))))
	b.WriteString(header)
	for i := range n {
		var err error
		switch kind {
		case "<f4":
			err = binary.Write(&b, binary.LittleEndian, float32(i*7%5)-2)
		case "|u1":
			err = b.WriteByte(0)
		default:
			err = binary.Write(&b, binary.LittleEndian, int64(0))
		}
		require.NoError(t, err)
	}
	return b.Bytes()
}

// So are they measured on labelled images, whatever --batch is.
func TestEvalOfFixedBatch(t *testing.T) {
	path := writeNPZ(t, "x", "<f4", 6, 1, 16, 24)
	for _, batch := range []string{"100", "1", "4"} {
		require.Contains(t, ok(t, "eval", "testdata/fixed/crnn.ts.onnx", "--data", path, "--batch", batch, "--backend", "go"), "of 6 images")
	}
	ok(t, "prune", "testdata/fixed/crnn.ts.onnx", "--ratio", "0.3", "--criterion", "taylor", "--data", path, "--backend", "go", "-o", filepath.Join(t.TempDir(), "small.onnx"))
}

// Models that run one sample at a time, having its number written into their shapes, are repaired sample by sample.
func TestRepairOfFixedBatch(t *testing.T) {
	for _, c := range []struct{ model, options string }{
		{"crnn.ts", "--repair noise"},
		{"crnn.ts", "--criterion obs --calibrate " + writeNPZ(t, "x", "<f4", 6, 1, 16, 24)},
		{"stylegan.ts", "--criterion obs --repair noise"},
	} {
		out := filepath.Join(t.TempDir(), "small.onnx")
		args := append([]string{"prune", "testdata/fixed/" + c.model + ".onnx", "--ratio", "0.3", "--samples", "6", "--backend", "go", "-o", out}, strings.Fields(c.options)...)
		said := ok(t, args...)
		require.Contains(t, said, "repair (", c)
		require.FileExists(t, out)
		if c.model == "crnn.ts" {
			require.Contains(t, said, "not repaired: /r/LSTM (LSTM: its weight is applied step by step)")
		}
	}
}

// An array that is not what the model takes is named, with what is wanted and what it is.
func TestArraysOfTheWrongShape(t *testing.T) {
	for want, path := range map[string]string{
		`array "x": want shape [samples 1 16 24], got [6 1 32 24]`: writeNPZ(t, "x", "<f4", 6, 1, 32, 24),
		`array "x": want shape [samples 1 16 24], got [6 24]`:      writeNPZ(t, "x", "<f4", 6, 24),
		`array "x": want float32, got uint8`:                       writeNPZ(t, "x", "|u1", 6, 1, 16, 24),
		`called like the model's inputs (x)`:                       writeNPZ(t, "other", "<f4", 6, 1, 16, 25),
		`want at least 5 samples, got 3 of them`:                   writeNPZ(t, "x", "<f4", 3, 1, 16, 24),
	} {
		code, _, said := run(t, "prune", "testdata/fixed/crnn.ts.onnx", "--ratio", "0.3", "--calibrate", path, "--backend", "go", "-o", filepath.Join(t.TempDir(), "small.onnx"))
		require.NotZero(t, code)
		require.Contains(t, said, want)
		require.Contains(t, said, path)
	}
}

// What the engine does not run is said with the node and what to do, not in the engine's words.
func TestOperatorsThatNoEngineRuns(t *testing.T) {
	code, _, said := run(t, "prune", "../../testdata/field/12_dyn.onnx", "--ratio", "0.3", "--repair", "noise", "--backend", "go", "-o", filepath.Join(t.TempDir(), "small.onnx"))
	require.NotZero(t, code)
	require.Contains(t, said, `"/a/Conv_quant" (ConvInteger)`)
	require.Contains(t, said, "the engine has no implementation of")
	require.Contains(t, said, "--repair none")
	require.NotContains(t, said, "attrs[")
	require.NotContains(t, said, "goroutine")
}

// Models with a batch written into their shapes are verified at that batch.
func TestVerifyOfFixedBatch(t *testing.T) {
	for _, model := range []string{"crnn.ts", "stylegan.ts"} {
		dir := t.TempDir()
		small, plan := filepath.Join(dir, "small.onnx"), filepath.Join(dir, "plan.json")
		ok(t, "prune", "testdata/fixed/"+model+".onnx", "--ratio", "0.3", "-o", small, "--plan", plan, "-q")
		require.Contains(t, ok(t, "verify", "testdata/fixed/"+model+".onnx", small, "--plan", plan), "verdict: equal", model)
	}
}
