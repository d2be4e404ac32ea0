package samples

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaprune/metaprune/native/samples/tokenizer"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
)

// usualTokens is how many tokens a text has for a model that takes any number.
const usualTokens = 128

// tokenizerFile is the usual name of a tokenizer's file.
const tokenizerFile = "tokenizer.json"

// texts are lines as samples of a language model's inputs.
type texts struct {
	lines  []string
	inputs []calib.Input
	tokens int
	by     *tokenizer.Tokenizer
}

// text opens the lines of a text file, or the fields "text" of a file with a JSON object a line.
func (o Options) text(path string) (*Samples, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines, err := readLines(path, raw)
	if err != nil {
		return nil, err
	}
	if err := few(path, len(lines), "lines of text", "give another file"); err != nil {
		return nil, err
	}
	t := &texts{inputs: o.Inputs}
	if err := t.fit(path, &o); err != nil {
		return nil, err
	}
	file, err := o.tokenizer(path)
	if err != nil {
		return nil, err
	}
	if t.by, err = tokenizer.Load(file); err != nil {
		return nil, err
	}
	for _, i := range choose(len(lines), o.Limit, o.Seed) {
		t.lines = append(t.lines, lines[i])
	}
	note := fmt.Sprintf("%s: %d of %d texts, cut or padded to %d tokens by %s", path, len(t.lines), len(lines), t.tokens, file)
	return &Samples{Source: t, Notes: []string{note}}, nil
}

// readLines are the texts of a file, without empty ones.
func readLines(path string, raw []byte) ([]string, error) {
	var out []string
	isJSON := extension(path) == ".jsonl"
	s := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	s.Buffer(nil, 1<<24)
	for number := 1; s.Scan(); number++ {
		line := s.Text()
		if strings.TrimSpace(line) == "" {
			continue
		}
		if isJSON {
			var x struct{ Text *string }
			if err := json.Unmarshal(s.Bytes(), &x); err != nil || x.Text == nil {
				return nil, &calib.SampleError{File: fmt.Sprintf("%s:%d", path, number), Want: `a JSON object with a string "text"`, Got: fmt.Sprintf("%.60q", line), Do: "correct the line"}
			}
			line = *x.Text
		}
		out = append(out, line)
	}
	if err := s.Err(); err != nil {
		return nil, damaged(path, err, "give one text a line")
	}
	return out, nil
}

// tokenizer finds the tokenizer's file: the given one, or the one beside the text or the model.
func (o *Options) tokenizer(path string) (string, error) {
	if o.Tokenizer != "" {
		return o.Tokenizer, nil
	}
	places := []string{filepath.Join(filepath.Dir(path), tokenizerFile), filepath.Join(o.Folder, tokenizerFile)}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", &calib.SampleError{File: path, Want: tokenizerFile + " beside the text or the model", Got: "none", Do: `give it with option "tokenizer FILE"`}
}

// kinds of inputs that a text fills, by the end of their names.
var textInputs = []string{"input_ids", "attention_mask", "token_type_ids", "position_ids"}

// textKind is what an input of a language model is called without a module's name before it.
func textKind(name string) string {
	for _, kind := range textInputs {
		if name == kind || strings.HasSuffix(name, "."+kind) || strings.HasSuffix(name, "/"+kind) || strings.HasSuffix(name, ":"+kind) {
			return kind
		}
	}
	return ""
}

// fit finds how many tokens a text has, and refuses models with other inputs.
func (t *texts) fit(path string, o *Options) error {
	for _, in := range t.inputs {
		kind := textKind(in.Name)
		if kind == "" && len(t.inputs) == 1 && in.Type.IsInteger() && len(in.Dims) == 2 {
			kind = textInputs[0] // whatever it is called
		}
		wrong := &calib.SampleError{File: path, Input: in.Name, Want: in.Type.String() + " " + fmt.Sprint(in.Dims), Got: "text, which fills " + strings.Join(textInputs, ", "), Do: "give an NPZ file with an array for each input"}
		if kind == "" || len(in.Dims) != 2 || in.Type.IsFloat() && kind != "attention_mask" {
			return wrong
		}
		dims, err := o.size(in)
		if err != nil {
			return err
		}
		if dims[0] > 0 && t.tokens > 0 && dims[0] != t.tokens {
			return wrong
		}
		t.tokens = max(t.tokens, dims[0])
	}
	switch {
	case len(t.inputs) == 0:
		return errors.New("the model has no inputs")
	case t.tokens > 0:
	case o.Tokens > 0:
		t.tokens = o.Tokens
	default:
		t.tokens = usualTokens
	}
	return nil
}

func (t *texts) Len() int { return len(t.lines) }

func (t *texts) Read(from, n int) (map[string]repair.Array, error) {
	if from < 0 || n < 0 || from > len(t.lines)-n {
		return nil, fmt.Errorf("texts %d to %d of %d", from, from+n, len(t.lines))
	}
	values := map[string][]int64{}
	for _, line := range t.lines[from : from+n] {
		e := t.by.Encode(line, t.tokens)
		values[textInputs[0]] = append(values[textInputs[0]], e.IDs...)
		values[textInputs[1]] = append(values[textInputs[1]], e.Mask...)
		values[textInputs[2]] = append(values[textInputs[2]], e.Types...)
		values[textInputs[3]] = append(values[textInputs[3]], positions(e.Mask)...)
	}
	out := map[string]repair.Array{}
	for _, in := range t.inputs {
		kind := textKind(in.Name)
		if kind == "" {
			kind = textInputs[0]
		}
		a := repair.Array{Dims: []int{n, t.tokens}, Type: in.Type, Ints: values[kind]}
		if in.Type.IsFloat() {
			a.Floats, a.Ints = numbers[int64, float32](a.Ints), nil
		}
		out[in.Name] = a
	}
	return out, nil
}

// positions count the tokens from the first that is no padding on.
func positions(mask []int64) []int64 {
	out, next := make([]int64, len(mask)), int64(0)
	started := false
	for i, m := range mask {
		if started = started || m != 0; started {
			out[i] = next
			next++
		}
	}
	return out
}
