package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"
)

// words is GPT-2's pattern.
const words = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// rawSplit is a pre-tokeniser of the file.
type rawSplit struct {
	Behavior    string            `json:"behavior"`
	Pattern     pattern           `json:"pattern"`
	Invert      bool              `json:"invert"`
	Individual  bool              `json:"individual_digits"`
	PrefixSpace *bool             `json:"add_prefix_space"`
	UseRegex    *bool             `json:"use_regex"`
	Replacement string            `json:"replacement"`
	Scheme      string            `json:"prepend_scheme"`
	Split       *bool             `json:"split"`
	List        []json.RawMessage `json:"pretokenizers"`
}

// readSplitter reads a pre-tokeniser; nil where there is none.
func readSplitter(data json.RawMessage) (splitter, error) {
	kind, err := typed(data)
	if err != nil || kind == "" {
		return nil, err
	}
	var p rawSplit
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	switch kind {
	case "BertPreTokenizer":
		return each(func(s string) []string {
			var out []string
			for word := range strings.FieldsFuncSeq(s, unicode.IsSpace) {
				parts, _ := divided(byRune(word, isPunctuation), "Isolated")
				out = append(out, parts...)
			}
			return out
		}), nil
	case "Whitespace":
		text := `\w+|[^\w\s]+`
		p.Pattern, p.Behavior, p.Invert = pattern{Regex: &text}, "Removed", true
		return p.byPattern()
	case "WhitespaceSplit":
		return each(func(s string) []string { return strings.FieldsFunc(s, unicode.IsSpace) }), nil
	case "Punctuation":
		if p.Behavior == "" {
			p.Behavior = "Isolated"
		}
		return p.byRunes(isPunctuation)
	case "Digits":
		if p.Behavior = "Contiguous"; p.Individual {
			p.Behavior = "Isolated"
		}
		return p.byRunes(unicode.IsNumber)
	case "ByteLevel":
		return p.byteLevel()
	case "Metaspace":
		return p.metaspace(), nil
	case "Split":
		return p.byPattern()
	case "Sequence":
		return p.sequence()
	}
	return nil, unsupported("pre-tokeniser", kind)
}

// each divides every part by itself.
func each(divide func(string) []string) splitter {
	return func(parts []part) (out []part) {
		for _, p := range parts {
			for i, s := range divide(p.text) {
				out = append(out, part{s, p.first && i == 0 && strings.HasPrefix(p.text, s)})
			}
		}
		return out
	}
}

func (p *rawSplit) byRunes(is func(rune) bool) (splitter, error) {
	if _, ok := divided(nil, p.Behavior); !ok {
		return nil, unsupported("behaviour", p.Behavior)
	}
	return each(func(s string) []string {
		out, _ := divided(byRune(s, is), p.Behavior)
		return out
	}), nil
}

func (p *rawSplit) byPattern() (splitter, error) {
	m, err := p.Pattern.matcher()
	if err != nil {
		return nil, err
	}
	if _, ok := divided(nil, p.Behavior); !ok {
		return nil, unsupported("behaviour", p.Behavior)
	}
	return each(func(s string) []string {
		all := m.spans(s)
		if p.Invert {
			for i := range all {
				all[i].match = !all[i].match
			}
		}
		out, _ := divided(all, p.Behavior)
		return out
	}), nil
}

func (p *rawSplit) sequence() (splitter, error) {
	var all []splitter
	for _, data := range p.List {
		s, err := readSplitter(data)
		if err != nil {
			return nil, err
		}
		if s != nil {
			all = append(all, s)
		}
	}
	return func(parts []part) []part {
		for _, s := range all {
			parts = s(parts)
		}
		return parts
	}, nil
}

// byteLevel divides into words, and writes each byte as one printable character.
func (p *rawSplit) byteLevel() (splitter, error) {
	text := words
	m, err := (&pattern{Regex: &text}).matcher()
	if err != nil {
		return nil, err
	}
	prefix, divide := p.PrefixSpace == nil || *p.PrefixSpace, p.UseRegex == nil || *p.UseRegex
	letters := byteLetters()
	return each(func(s string) []string {
		if prefix && !strings.HasPrefix(s, " ") {
			s = " " + s
		}
		parts := []string{s}
		if divide {
			parts, _ = divided(m.spans(s), "Isolated")
		}
		for i, x := range parts {
			var b strings.Builder
			for k := range len(x) {
				b.WriteRune(letters[x[k]])
			}
			parts[i] = b.String()
		}
		return parts
	}), nil
}

// byteLetters are the characters that stand for bytes: printable ones for themselves.
func byteLetters() (out [256]rune) {
	next := rune(256)
	for b := range out {
		r := rune(b)
		if r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xAC || r >= 0xAE {
			out[b] = r
		} else {
			out[b], next = next, next+1
		}
	}
	return out
}

// metaspace writes spaces as a visible character, which begins a word.
func (p *rawSplit) metaspace() splitter {
	mark := p.Replacement
	if mark == "" {
		mark = "\u2581"
	}
	scheme := p.Scheme
	if scheme == "" {
		if scheme = "always"; p.PrefixSpace != nil && !*p.PrefixSpace {
			scheme = "never"
		}
	}
	divide := p.Split == nil || *p.Split
	return func(parts []part) (out []part) {
		for _, x := range parts {
			s := strings.ReplaceAll(x.text, " ", mark)
			if (scheme == "always" || scheme == "first" && x.first) && !strings.HasPrefix(s, mark) {
				s = mark + s
			}
			if !divide {
				out = append(out, part{s, x.first})
				continue
			}
			for i, word := range before(s, mark) {
				out = append(out, part{word, x.first && i == 0})
			}
		}
		return out
	}
}

// before divides a text before each mark.
func before(s, mark string) (out []string) {
	for len(s) > 0 {
		i := strings.Index(s[1:], mark)
		if strings.HasPrefix(s, mark) {
			i = strings.Index(s[len(mark):], mark) + len(mark) - 1
			if i < len(mark)-1 {
				i = -1
			}
		}
		if i < 0 {
			return append(out, s)
		}
		out, s = append(out, s[:i+1]), s[i+1:]
	}
	return out
}

// isPunctuation is BERT's: Unicode's, and every sign of ASCII.
func isPunctuation(r rune) bool {
	return r >= 33 && r <= 47 || r >= 58 && r <= 64 || r >= 91 && r <= 96 || r >= 123 && r <= 126 || unicode.IsPunct(r)
}
