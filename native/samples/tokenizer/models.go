package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// rawModel is a model of the file.
type rawModel struct {
	Type         string          `json:"type"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
	Unknown      *string         `json:"unk_token"`
	UnknownID    *int64          `json:"unk_id"`
	Prefix       string          `json:"continuing_subword_prefix"`
	Suffix       string          `json:"end_of_word_suffix"`
	MaxChars     int             `json:"max_input_chars_per_word"`
	FuseUnknown  bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
}

// readModel reads the model; older files do not name its type.
func readModel(data json.RawMessage) (model, error) {
	var r rawModel
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	switch {
	case r.Type == "Unigram", r.Type == "" && strings.HasPrefix(strings.TrimSpace(string(r.Vocab)), "["):
		return r.unigram()
	case r.Type == "BPE", r.Type == "" && len(r.Merges) > 0:
		return r.bpe()
	case r.Type == "WordPiece", r.Type == "":
		return r.wordPiece()
	}
	return nil, unsupported("model", r.Type)
}

// vocab are ids by token.
type vocab map[string]int64

func (v vocab) id(token string) (int64, bool) {
	id, ok := v[token]
	return id, ok
}

// bytesOf are the tokens that stand for a text's bytes; false where one is missing.
func (v vocab) bytesOf(s string) ([]int64, bool) {
	out := make([]int64, len(s))
	for i := range len(s) {
		id, ok := v[fmt.Sprintf("<0x%02X>", s[i])]
		if !ok {
			return nil, false
		}
		out[i] = id
	}
	return out, true
}

// wordPiece takes the longest token from the left, again and again.
type wordPiece struct {
	vocab
	prefix   string
	maxChars int
	unknown  int64
}

func (r *rawModel) wordPiece() (model, error) {
	w := &wordPiece{prefix: r.Prefix, maxChars: r.MaxChars}
	if err := json.Unmarshal(r.Vocab, &w.vocab); err != nil {
		return nil, err
	}
	if w.maxChars == 0 {
		w.maxChars = 100
	}
	name := "[UNK]"
	if r.Unknown != nil {
		name = *r.Unknown
	}
	id, ok := w.vocab[name]
	if !ok {
		return nil, fmt.Errorf("the vocabulary has no token %q for what is unknown", name)
	}
	w.unknown = id
	return w, nil
}

func (w *wordPiece) tokens(s string) []int64 {
	if utf8.RuneCountInString(s) > w.maxChars {
		return []int64{w.unknown}
	}
	var out []int64
	for from := 0; from < len(s); {
		end, prefix := len(s), ""
		if from > 0 {
			prefix = w.prefix
		}
		id, ok := w.vocab[prefix+s[from:end]]
		for !ok && end > from {
			_, size := utf8.DecodeLastRuneInString(s[from:end])
			end -= size
			id, ok = w.vocab[prefix+s[from:end]]
		}
		if end == from {
			return []int64{w.unknown}
		}
		out, from = append(out, id), end
	}
	return out
}

// unigram takes the most probable tokens.
type unigram struct {
	vocab
	scores   []float64
	unknown  int64 // below 0: none
	lowest   float64
	longest  int // bytes of a token
	fallback bool
}

// unknownPenalty is how much less probable than any token an unknown character is.
const unknownPenalty = 10

func (r *rawModel) unigram() (model, error) {
	var list [][2]any
	if err := json.Unmarshal(r.Vocab, &list); err != nil {
		return nil, err
	}
	u := &unigram{vocab: vocab{}, unknown: -1, fallback: r.ByteFallback, lowest: math.Inf(1)}
	if r.UnknownID != nil {
		u.unknown = *r.UnknownID
	}
	for i, pair := range list {
		token, ok := pair[0].(string)
		score, number := pair[1].(float64)
		if !ok || !number {
			return nil, fmt.Errorf("entry %d of the vocabulary is no token with its score", i)
		}
		u.vocab[token], u.scores = int64(i), append(u.scores, score)
		u.longest, u.lowest = max(u.longest, len(token)), min(u.lowest, score)
	}
	return u, nil
}

// node is the best way to reach a place in the text.
type node struct {
	score float64
	from  int
	known bool
	set   bool
}

func (u *unigram) tokens(s string) []int64 {
	best := make([]node, len(s)+1)
	best[0].set = true
	for at := 0; at < len(s); {
		_, size := utf8.DecodeRuneInString(s[at:])
		single := false
		for end := at + size; end <= len(s) && end-at <= u.longest; {
			if id, ok := u.vocab[s[at:end]]; ok {
				best[end].reach(best[at].score+u.scores[id], at, true)
				single = single || end == at+size
			}
			if end == len(s) {
				break
			}
			_, next := utf8.DecodeRuneInString(s[end:])
			end += next
		}
		if !single {
			best[at+size].reach(best[at].score+u.lowest-unknownPenalty, at, false)
		}
		at += size
	}
	return u.read(s, best)
}

func (n *node) reach(score float64, from int, known bool) {
	if !n.set || score > n.score {
		*n = node{score, from, known, true}
	}
}

// read goes back along the best way; unknown characters side by side are one token.
func (u *unigram) read(s string, best []node) []int64 {
	var parts []span
	for end := len(s); end > 0; end = best[end].from {
		n := best[end]
		if k := len(parts) - 1; !n.known && k >= 0 && !parts[k].match {
			parts[k].text = s[n.from:end] + parts[k].text
			continue
		}
		parts = append(parts, span{s[n.from:end], n.known})
	}
	var out []int64
	for i := len(parts) - 1; i >= 0; i-- {
		if id, ok := u.vocab[parts[i].text]; ok {
			out = append(out, id)
		} else if ids, ok := u.bytesOf(parts[i].text); ok && u.fallback {
			out = append(out, ids...)
		} else if u.unknown >= 0 {
			out = append(out, u.unknown)
		}
	}
	return out
}

// bpe merges the pair of tokens that comes first in its list, again and again.
type bpe struct {
	vocab
	merges         map[[2]int64]merge
	prefix, suffix string
	unknown        int64 // below 0: none
	fuse           bool
	fallback       bool
	whole          bool // a piece that is a token is not merged
}

// merge is what a pair of tokens becomes, and how early.
type merge struct{ rank, id int64 }

func (r *rawModel) bpe() (model, error) {
	b := &bpe{merges: map[[2]int64]merge{}, prefix: r.Prefix, suffix: r.Suffix, unknown: -1, fuse: r.FuseUnknown, fallback: r.ByteFallback, whole: r.IgnoreMerges}
	if err := json.Unmarshal(r.Vocab, &b.vocab); err != nil {
		return nil, err
	}
	if r.Unknown != nil {
		if id, ok := b.vocab[*r.Unknown]; ok {
			b.unknown = id
		}
	}
	pairs, err := readMerges(r.Merges)
	if err != nil {
		return nil, err
	}
	for i, p := range pairs {
		left, ok1 := b.vocab[p[0]]
		right, ok2 := b.vocab[p[1]]
		id, ok3 := b.vocab[p[0]+strings.TrimPrefix(p[1], b.prefix)]
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("merge %d: the vocabulary does not have %q, %q and both together", i, p[0], p[1])
		}
		b.merges[[2]int64{left, right}] = merge{int64(i), id}
	}
	return b, nil
}

// readMerges reads pairs, or texts with a space between two tokens as in older files.
func readMerges(data json.RawMessage) ([][2]string, error) {
	var pairs [][2]string
	if json.Unmarshal(data, &pairs) == nil {
		return pairs, nil
	}
	var texts []string
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, err
	}
	pairs = nil
	for _, t := range texts {
		left, right, ok := strings.Cut(t, " ")
		if !ok {
			return nil, errors.New("a merge of one token")
		}
		pairs = append(pairs, [2]string{left, right})
	}
	return pairs, nil
}

func (b *bpe) tokens(s string) []int64 {
	if id, ok := b.vocab[s]; ok && b.whole {
		return []int64{id}
	}
	ids := b.characters(s)
	ranks := make([]merge, max(len(ids)-1, 0))
	look := func(i int) {
		if i < 0 || i >= len(ranks) {
			return
		}
		m, ok := b.merges[[2]int64{ids[i], ids[i+1]}]
		if !ok {
			m.rank = math.MaxInt64
		}
		ranks[i] = m
	}
	for i := range ranks {
		look(i)
	}
	for len(ranks) > 0 {
		best := 0
		for i, m := range ranks {
			if m.rank < ranks[best].rank {
				best = i
			}
		}
		if ranks[best].rank == math.MaxInt64 {
			break
		}
		ids[best] = ranks[best].id
		ids = append(ids[:best+1], ids[best+2:]...)
		ranks = append(ranks[:best], ranks[best+1:]...)
		look(best - 1)
		look(best)
	}
	return ids
}

// characters are the tokens of single characters, or of their bytes.
func (b *bpe) characters(s string) (out []int64) {
	unknown := false // the last one was
	for i, r := range s {
		c, size := string(r), utf8.RuneLen(r)
		name := c
		if i > 0 {
			name = b.prefix + name
		}
		if i+size == len(s) {
			name += b.suffix
		}
		id, ok := b.vocab[name]
		var ids []int64
		if !ok && b.fallback {
			ids, _ = b.bytesOf(c)
		}
		switch {
		case ok:
			out, unknown = append(out, id), false
		case ids != nil:
			out, unknown = append(out, ids...), false
		case b.unknown >= 0 && !(b.fuse && unknown):
			out, unknown = append(out, b.unknown), true
		}
	}
	return out
}
