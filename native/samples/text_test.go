package samples

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	var want struct {
		Texts []string
		Cut   map[string][][][]int64
	}
	raw, err := os.ReadFile("tokenizer/testdata/expected.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &want))
	dir := t.TempDir()
	path := filepath.Join(dir, "t.jsonl")
	var lines []byte
	for _, text := range want.Texts[2:8] {
		line, err := json.Marshal(map[string]string{"text": text, "label": "x"})
		require.NoError(t, err)
		lines = append(append(lines, line...), "\n\n"...)
	}
	require.NoError(t, os.WriteFile(path, lines, 0o600))
	inputs := []calib.Input{input("input_ids", onnxio.Int64, -1, -1), input("attention_mask", onnxio.Float, -1, -1), input("token_type_ids", onnxio.Int32, -1, -1), input("model.position_ids", onnxio.Int64, -1, 12)}
	o := Options{Inputs: inputs, Seed: 1, Tokenizer: "tokenizer/testdata/bert.json"}
	got, s := opened(t, path, o)
	require.Equal(t, 6, s.Len())
	require.Contains(t, s.Notes[0], "6 of 6 texts, cut or padded to 12 tokens by tokenizer/testdata/bert.json")
	for i, k := range choose(6, 0, 1) {
		require.Equal(t, want.Cut["bert"][2+k][0], got["input_ids"].Ints[12*i:12*i+12])
		require.Equal(t, numbers[int64, float32](want.Cut["bert"][2+k][1]), got["attention_mask"].Floats[12*i:12*i+12])
	}
	require.Equal(t, []int64{0, 1, 2}, got["model.position_ids"].Ints[:3])
	require.Equal(t, onnxio.Int32, got["token_type_ids"].Type)
	_, err = calib.Check(inputs, got)
	require.NoError(t, err)

	// A tokenizer beside the text, and one input of any name.
	tok, err := os.ReadFile("tokenizer/testdata/gpt2.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), tok, 0o600))
	plain := filepath.Join(dir, "t.txt")
	require.NoError(t, os.WriteFile(plain, []byte("one text\n\nanother\n"), 0o600))
	got, _ = opened(t, plain, Options{Inputs: []calib.Input{input("tokens", onnxio.Int64, -1, -1)}, Tokens: 5})
	require.Equal(t, []int{2, 5}, got["tokens"].Dims)

	for _, c := range []struct {
		path, says string
		o          Options
	}{
		{plain, `input "past": want FLOAT [-1 2 -1]`, Options{Inputs: []calib.Input{input("input_ids", onnxio.Int64, -1, -1), input("past", onnxio.Float, -1, 2, -1)}}},
		{filepath.Join(dir, "none.txt"), "no such file", o},
		{plain, "no such file", Options{Inputs: inputs[:1], Tokenizer: filepath.Join(dir, "no.json")}},
	} {
		_, err := Open(c.path, c.o)
		require.Error(t, err)
		t.Log(err)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "tokenizer.json")))
	_, err = Open(plain, Options{Inputs: inputs[:1], Folder: dir})
	require.ErrorContains(t, err, `want tokenizer.json beside the text or the model, got none; give it with option "tokenizer FILE"`)
	require.NoError(t, os.WriteFile(path, []byte("{\"text\": 5}\n"), 0o600))
	_, err = Open(path, o)
	require.ErrorContains(t, err, `t.jsonl:1: want a JSON object with a string "text"`)
}
