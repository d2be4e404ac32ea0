package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is found in the text before the model sees it.
type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Left       bool   `json:"lstrip"`
	Right      bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

// addedTokens are tokens that are looked for in a text, by the first byte of what they look like.
type addedTokens struct {
	ids   map[string]int64
	first map[byte][]addedToken
}

func (l *addedTokens) add(a addedToken, looks string) {
	if looks == "" {
		return
	}
	if l.first == nil {
		l.ids, l.first = map[string]int64{}, map[byte][]addedToken{}
	}
	l.ids[a.Content] = a.ID
	a.Content = looks
	l.first[looks[0]] = append(l.first[looks[0]], a)
}

// addTokens sorts the added tokens by whether they are found in normalised text.
func (t *Tokenizer) addTokens(all []addedToken) {
	for _, a := range all {
		switch {
		case !a.Normalized:
			t.added.add(a, a.Content)
		case t.normalize != nil:
			t.late.add(a, t.normalize(a.Content))
		default:
			t.late.add(a, a.Content)
		}
	}
}

// each hands out a text's parts in order: added tokens with their id, the text between them with -1.
func (l *addedTokens) each(text string, first bool, visit func(s string, id int64, first bool)) {
	from := 0
	for at := 0; at < len(text) && l.first != nil; {
		a, ok := l.at(text, at)
		if !ok {
			at++
			continue
		}
		start, end := at, at+len(a.Content)
		if a.Left {
			start = from + len(strings.TrimRightFunc(text[from:start], unicode.IsSpace))
		}
		if a.Right {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		if start > from {
			visit(text[from:start], -1, first && from == 0)
		}
		visit(text[start:end], a.ID, false)
		from, at = end, end
	}
	if from < len(text) {
		visit(text[from:], -1, first && from == 0)
	}
}

// at is the longest added token that a text holds at an index.
func (l *addedTokens) at(text string, i int) (best addedToken, ok bool) {
	for _, a := range l.first[text[i]] {
		if len(a.Content) <= len(best.Content) || !strings.HasPrefix(text[i:], a.Content) {
			continue
		}
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(a.Content):])
		if a.SingleWord && (i > 0 && isWord(before) || i+len(a.Content) < len(text) && isWord(after)) {
			continue
		}
		best, ok = a, true
	}
	return best, ok
}

// isWord is \w of a regular expression.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic) || r == 0x200c || r == 0x200d
}
