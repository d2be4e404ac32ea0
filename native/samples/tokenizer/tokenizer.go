package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
)

// MaxText is how many bytes of a text are read.
const MaxText = 1 << 15

// maxFile bounds a tokenizer.json.
const maxFile = 128 << 20

// Tokenizer turns text into tokens.
type Tokenizer struct {
	normalize func(string) string // nil: nothing to do
	split     splitter            // nil: nothing to do
	model     model
	added     addedTokens // matched before the text is normalised
	late      addedTokens // matched after it
	before    []special
	after     []special
	textType  int64
	pad       special
	padLeft   bool
}

// special is a token that is put before or after a text, with its type.
type special struct{ id, kind int64 }

// model turns a piece of normalised text into tokens.
type model interface {
	tokens(piece string) []int64
	id(token string) (int64, bool)
}

// part is a piece of text on its way to the model; first is the beginning of the whole text.
type part struct {
	text  string
	first bool
}

// splitter divides pieces of text further.
type splitter func([]part) []part

// Encoding is a text as tokens, all of one length.
type Encoding struct {
	IDs, Mask, Types []int64 // Mask is 1 for a token, 0 for padding
}

// raw is a tokenizer.json as far as it is read.
type raw struct {
	Padding *struct {
		Direction string `json:"direction"`
		ID        int64  `json:"pad_id"`
		Kind      int64  `json:"pad_type_id"`
	} `json:"padding"`
	Added      []addedToken    `json:"added_tokens"`
	Normalizer json.RawMessage `json:"normalizer"`
	Split      json.RawMessage `json:"pre_tokenizer"`
	Post       json.RawMessage `json:"post_processor"`
	Model      json.RawMessage `json:"model"`
}

// Load reads a tokenizer.json.
func Load(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, &onnxio.FormatError{Path: path, Want: fmt.Sprintf("a tokenizer.json of at most %d bytes", maxFile), Got: fmt.Sprint(info.Size())}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if u := (*onnxio.UnsupportedError)(nil); errors.As(err, &u) {
		return nil, &onnxio.UnsupportedError{Path: path, What: u.What}
	}
	if err != nil {
		return nil, &onnxio.FormatError{Path: path, Want: "a tokenizer.json of Hugging Face's tokenizers", Got: err.Error(), Err: err}
	}
	return t, nil
}

// Parse reads the contents of a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) {
	var r raw
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if len(r.Model) == 0 || string(r.Model) == "null" {
		return nil, errors.New("no model")
	}
	t := &Tokenizer{}
	var err error
	if t.model, err = readModel(r.Model); err != nil {
		return nil, err
	}
	if t.normalize, err = readNormalizer(r.Normalizer); err != nil {
		return nil, err
	}
	if t.split, err = readSplitter(r.Split); err != nil {
		return nil, err
	}
	if err := t.readPost(r.Post); err != nil {
		return nil, err
	}
	t.addTokens(r.Added)
	t.readPadding(&r)
	return t, nil
}

// readPadding takes the token that fills up texts: the file's, else one with a usual name.
func (t *Tokenizer) readPadding(r *raw) {
	if r.Padding != nil {
		t.pad, t.padLeft = special{r.Padding.ID, r.Padding.Kind}, strings.EqualFold(r.Padding.Direction, "left")
		return
	}
	for _, name := range []string{"[PAD]", "<pad>", "<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"} {
		if id, ok := t.id(name); ok {
			t.pad.id = id
			return
		}
	}
}

// id is that of a token of the model, or of one added to it.
func (t *Tokenizer) id(token string) (int64, bool) {
	for _, list := range []addedTokens{t.added, t.late} {
		if id, ok := list.ids[token]; ok {
			return id, true
		}
	}
	return t.model.id(token)
}

// Tokens are a text's, with those that are put around it.
func (t *Tokenizer) Tokens(text string) []int64 {
	var out []int64
	for _, s := range t.before {
		out = append(out, s.id)
	}
	out = append(out, t.plain(text)...)
	for _, s := range t.after {
		out = append(out, s.id)
	}
	return out
}

// plain are the tokens of the text itself.
func (t *Tokenizer) plain(text string) []int64 {
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "")
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	var out []int64
	t.added.each(text, true, func(s string, id int64, first bool) {
		if id >= 0 {
			out = append(out, id)
			return
		}
		if t.normalize != nil {
			s = t.normalize(s)
		}
		t.late.each(s, first, func(s string, id int64, first bool) {
			if id >= 0 {
				out = append(out, id)
				return
			}
			parts := []part{{s, first}}
			if t.split != nil {
				parts = t.split(parts)
			}
			for _, p := range parts {
				if p.text != "" {
					out = append(out, t.model.tokens(p.text)...)
				}
			}
		})
	})
	return out
}

// Encode cuts or pads a text to n tokens. The tokens that are put around a text are kept.
func (t *Tokenizer) Encode(text string, n int) Encoding {
	body := t.plain(text)
	around := len(t.before) + len(t.after)
	body = body[:min(len(body), max(n-around, 0))]
	var e Encoding
	add := func(id, kind, mask int64) {
		if len(e.IDs) < n {
			e.IDs, e.Types, e.Mask = append(e.IDs, id), append(e.Types, kind), append(e.Mask, mask)
		}
	}
	for _, s := range t.before {
		add(s.id, s.kind, 1)
	}
	for _, id := range body {
		add(id, t.textType, 1)
	}
	for _, s := range t.after {
		add(s.id, s.kind, 1)
	}
	missing := n - len(e.IDs)
	if t.padLeft {
		e.IDs = append(slices.Repeat([]int64{t.pad.id}, missing), e.IDs...)
		e.Types = append(slices.Repeat([]int64{t.pad.kind}, missing), e.Types...)
		e.Mask = append(make([]int64, missing), e.Mask...)
		return e
	}
	for range missing {
		add(t.pad.id, t.pad.kind, 0)
	}
	return e
}

// unsupported says what of a tokenizer.json is not handled.
func unsupported(what, kind string) error {
	return &onnxio.UnsupportedError{What: fmt.Sprintf("%s %q of a tokenizer.json; give the tokens as an NPZ file", what, kind)}
}

// typed reads the type of a part of the file; empty where there is no such part.
func typed(data json.RawMessage) (string, error) {
	if len(data) == 0 || string(data) == "null" {
		return "", nil
	}
	var t struct{ Type string }
	if err := json.Unmarshal(data, &t); err != nil {
		return "", err
	}
	return t.Type, nil
}
