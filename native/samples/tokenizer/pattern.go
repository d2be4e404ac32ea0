package tokenizer

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is what Split and Replace look for.
type pattern struct {
	Text  *string `json:"String"`
	Regex *string `json:"Regex"`
}

// UnmarshalJSON takes a string for itself, too.
func (p *pattern) UnmarshalJSON(data []byte) error {
	type plain pattern
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &p.Text)
	}
	return json.Unmarshal(data, (*plain)(p))
}

// matcher finds a pattern in a text.
type matcher struct {
	re    *regexp.Regexp
	ahead bool // a run of spaces gives its last one to the word after it
	lines bool // but not where that is the end of a line
}

// lookAhead is how GPT's patterns say that a run of spaces ends before the last one.
const lookAhead = `\s+(?!\S)|\s+`

// spaces are Unicode's, as the inside of a class.
const spaces = `\t-\r \x{85}\p{Z}`

func (p *pattern) matcher() (*matcher, error) {
	if p.Text != nil {
		return &matcher{re: regexp.MustCompile(regexp.QuoteMeta(*p.Text))}, nil
	}
	if p.Regex == nil {
		return nil, unsupported("pattern", "")
	}
	m := &matcher{ahead: strings.Contains(*p.Regex, lookAhead), lines: strings.Contains(*p.Regex, `[\r\n]`)}
	re, err := regexp.Compile(translated(strings.ReplaceAll(*p.Regex, lookAhead, `\s+`)))
	if err != nil {
		return nil, unsupported("pattern", *p.Regex)
	}
	m.re = re
	return m, nil
}

// translated writes classes of characters as Unicode has them; Go's are ASCII's.
func translated(pattern string) string {
	var b strings.Builder
	inside := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(escape(pattern[i], inside))
			continue
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		}
		b.WriteByte(c)
	}
	return b.String()
}

func escape(c byte, inside bool) string {
	class := map[byte]string{'s': spaces, 'd': `\p{Nd}`, 'w': `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}`}[c|0x20]
	switch {
	case class == "":
		return `\` + string(c)
	case c < 'a' && !inside:
		return "[^" + class + "]"
	case c < 'a':
		return `\` + string(c) // as ASCII
	case inside:
		return class
	}
	return "[" + class + "]"
}

// find is where the next match is, from an index on; end is below 0 where there is none.
func (m *matcher) find(s string, from int) (start, end int) {
	at := m.re.FindStringIndex(s[from:])
	if at == nil {
		return 0, -1
	}
	start, end = from+at[0], from+at[1]
	if !m.ahead || end == len(s) || end-start < 2 || strings.TrimFunc(s[start:end], unicode.IsSpace) != "" {
		return start, end
	}
	last, size := utf8.DecodeLastRuneInString(s[start:end])
	if size < end-start && !(m.lines && (last == '\r' || last == '\n')) {
		end -= size
	}
	return start, end
}

// spans are the parts of a text: those that match, and those between them.
func (m *matcher) spans(s string) (out []span) {
	from := 0
	for from < len(s) {
		start, end := m.find(s, from)
		if end < 0 {
			break
		}
		if end == start { // an empty match
			_, size := utf8.DecodeRuneInString(s[start:])
			if size == 0 {
				break
			}
			end = start + size
			out = append(out, span{s[from:end], false})
			from = end
			continue
		}
		if start > from {
			out = append(out, span{s[from:start], false})
		}
		out = append(out, span{s[start:end], true})
		from = end
	}
	if from < len(s) {
		out = append(out, span{s[from:], false})
	}
	return out
}

// span is a part of a text.
type span struct {
	text  string
	match bool
}

// replaced replaces every match.
func (m *matcher) replaced(s, with string) string {
	var b strings.Builder
	for _, x := range m.spans(s) {
		if x.match {
			b.WriteString(with)
		} else {
			b.WriteString(x.text)
		}
	}
	return b.String()
}

// divided divides a text by what matches: the parts stand alone, are removed, or belong to a neighbour.
func divided(all []span, behavior string) ([]string, bool) {
	var out []string
	join := false // the next part belongs to the last one
	for i, x := range all {
		switch {
		case behavior == "Removed" && x.match:
			continue
		case behavior == "MergedWithPrevious" && x.match && i > 0 && !all[i-1].match, join,
			behavior == "Contiguous" && i > 0 && all[i-1].match == x.match:
			out[len(out)-1] += x.text
		default:
			out = append(out, x.text)
		}
		join = behavior == "MergedWithNext" && x.match && i+1 < len(all) && !all[i+1].match
	}
	switch behavior {
	case "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous":
		return out, true
	}
	return nil, false
}

// byRune marks the characters of a text for which a property holds as matches, each alone.
func byRune(s string, is func(rune) bool) (out []span) {
	from := 0
	for i, r := range s {
		if !is(r) {
			continue
		}
		if i > from {
			out = append(out, span{s[from:i], false})
		}
		from = i + utf8.RuneLen(r)
		out = append(out, span{s[i:from], true})
	}
	if from < len(s) {
		out = append(out, span{s[from:], false})
	}
	return out
}
