package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// expectation is what testdata/expected.py writes.
type expectation struct {
	Texts []string
	Files map[string][][]int64   // tokens of every text
	Cut   map[string][][][]int64 // 12 tokens of every text, and their mask
}

func read(t *testing.T, path string) (e expectation) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &e))
	return e
}

// Small tokenizers of every kind give the tokens that Python's library gives.
func TestTokensAsPython(t *testing.T) {
	e := read(t, "testdata/expected.json")
	require.Len(t, e.Files, 8)
	for name, want := range e.Files {
		tok, err := Load(filepath.Join("testdata", name+".json"))
		require.NoError(t, err, name)
		for i, text := range e.Texts {
			got := tok.Tokens(text)
			if len(want[i]) == 0 {
				require.Empty(t, got)
			} else {
				require.Equal(t, want[i], got, "%s: %q", name, text)
			}
			cut := tok.Encode(text, 12)
			require.Equal(t, e.Cut[name][i][0], cut.IDs, "%s: %q", name, text)
			require.Equal(t, e.Cut[name][i][1], cut.Mask, "%s: %q", name, text)
			require.Len(t, cut.Types, 12)
		}
	}
}

// Large files of published models are compared where METAPRUNE_TOKENIZERS names what expected.py printed for them.
func TestPublishedTokenizers(t *testing.T) {
	for path := range strings.FieldsSeq(os.Getenv("METAPRUNE_TOKENIZERS")) {
		e := read(t, path)
		for file, want := range e.Files {
			tok, err := Load(file)
			require.NoError(t, err, file)
			for i, text := range e.Texts {
				require.Equal(t, want[i], append([]int64{}, tok.Tokens(text)...), "%s: %q", file, text)
			}
		}
	}
}

func TestWhatIsNotHandledIsNamed(t *testing.T) {
	for text, says := range map[string]string{
		`{"model":{"type":"WordLevel","vocab":{}}}`:                                                                                            `model "WordLevel" of a tokenizer.json; give the tokens as an NPZ file`,
		`{"model":{"type":"BPE","vocab":{},"merges":[]},"normalizer":{"type":"Nmt"}}`:                                                          `normaliser "Nmt"`,
		`{"model":{"type":"BPE","vocab":{},"merges":[]},"pre_tokenizer":{"type":"UnicodeScripts"}}`:                                            `pre-tokeniser "UnicodeScripts"`,
		`{"model":{"type":"BPE","vocab":{},"merges":[]},"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(?<=a)b"}}}`: `pattern "(?<=a)b"`,
		`{"model":{"type":"BPE","vocab":{},"merges":[]},"post_processor":{"type":"Other"}}`:                                                    `post-processor "Other"`,
	} {
		_, err := Parse([]byte(text))
		var u *onnxio.UnsupportedError
		require.ErrorAs(t, err, &u, text)
		require.Contains(t, u.What, says)
	}
	for _, text := range []string{"", "[]", "{}", `{"model":{"type":"WordPiece","vocab":{"a":0}}}`, `{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, `{"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]}}`,
		`{"model":{"type":"Unigram","vocab":[["a"]]}}`, `{"model":{"type":"Unigram","vocab":[["a",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}}`, `{"model":{"type":"Unigram","vocab":[["a",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"/////w=="}}`} {
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := Load(path)
		var f *onnxio.FormatError
		require.ErrorAs(t, err, &f, text)
		require.Contains(t, err.Error(), "tokenizer.json")
	}
}

// No text and no file makes the package panic.
func FuzzTokens(f *testing.F) {
	for _, name := range []string{"bert", "gpt4", "llama", "t5"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		require.NoError(f, err)
		f.Add(data, "Hello, wörld \u200b\xff\n  x")
	}
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tok, err := Parse(file)
		if err != nil {
			return
		}
		tok.Tokens(text)
		require.Len(t, tok.Encode(text, 7).IDs, 7)
	})
}
