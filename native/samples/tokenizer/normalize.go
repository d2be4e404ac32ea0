package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// readNormalizer reads a normaliser; nil where there is none.
func readNormalizer(data json.RawMessage) (func(string) string, error) {
	kind, err := typed(data)
	if err != nil || kind == "" {
		return nil, err
	}
	var n struct {
		CleanText    bool              `json:"clean_text"`
		Chinese      bool              `json:"handle_chinese_chars"`
		StripAccents *bool             `json:"strip_accents"`
		Lowercase    bool              `json:"lowercase"`
		Left         bool              `json:"strip_left"`
		Right        bool              `json:"strip_right"`
		Prepend      string            `json:"prepend"`
		Pattern      pattern           `json:"pattern"`
		Content      string            `json:"content"`
		List         []json.RawMessage `json:"normalizers"`
		Charsmap     []byte            `json:"precompiled_charsmap"`
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, err
	}
	switch kind {
	case "BertNormalizer":
		accents := n.Lowercase
		if n.StripAccents != nil {
			accents = *n.StripAccents
		}
		return bert(n.CleanText, n.Chinese, accents, n.Lowercase), nil
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "Lowercase":
		return lower, nil
	case "StripAccents":
		return withoutMarks, nil
	case "Strip":
		return func(s string) string {
			if n.Left {
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
			if n.Right {
				s = strings.TrimRightFunc(s, unicode.IsSpace)
			}
			return s
		}, nil
	case "Prepend":
		return func(s string) string {
			if s == "" {
				return s
			}
			return n.Prepend + s
		}, nil
	case "Replace":
		m, err := n.Pattern.matcher()
		if err != nil {
			return nil, err
		}
		return func(s string) string { return m.replaced(s, n.Content) }, nil
	case "Precompiled":
		return readCharsmap(n.Charsmap)
	case "Sequence":
		return inTurn(n.List)
	}
	return nil, unsupported("normaliser", kind)
}

// inTurn runs normalisers one after the other.
func inTurn(list []json.RawMessage) (func(string) string, error) {
	var all []func(string) string
	for _, data := range list {
		f, err := readNormalizer(data)
		if err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, f)
		}
	}
	return func(s string) string {
		for _, f := range all {
			s = f(s)
		}
		return s
	}, nil
}

// lower is the lower case of every letter, without regard to its neighbours.
func lower(s string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, s), "İ", "i\u0307")
}

// withoutMarks removes combining marks.
func withoutMarks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, s)
}

// bert is BERT's normaliser.
func bert(clean, chinese, accents, lowercase bool) func(string) string {
	return func(s string) string {
		if clean {
			s = strings.Map(cleaned, s)
		}
		if chinese {
			var b strings.Builder
			for _, r := range s {
				if isChinese(r) {
					b.WriteString(" " + string(r) + " ")
				} else {
					b.WriteRune(r)
				}
			}
			s = b.String()
		}
		if accents {
			s = withoutMarks(norm.NFD.String(s))
		}
		if lowercase {
			s = lower(s)
		}
		return s
	}
}

// cleaned removes what cannot be seen, and makes every space the same.
func cleaned(r rune) rune {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return ' '
	case r == 0, r == 0xFFFD, unicode.Is(unicode.C, r), !assigned(r):
		return -1
	case unicode.Is(unicode.White_Space, r):
		return ' '
	}
	return r
}

// assigned reports whether Unicode has a character of this number.
func assigned(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z)
}

// isChinese reports the ideographs that BERT puts spaces around.
func isChinese(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF || r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}
