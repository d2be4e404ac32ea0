package planner

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// OptionError reports an option that has no meaning: an unknown name, a number out of range, or an option that another one excludes.
//
// Sentences of libraries name an option so: option "ranking", or option "repair noise" with its value. A front end that
// spells options otherwise, as the command line does with --ranking, rewrites that.
type OptionError struct {
	Where string // the option, such as "ranking"; a front end may give it its own spelling, such as "--steps"
	Want  string // what it takes
	Got   string // what it was given; empty where it was given nothing
	Near  string // the name that was probably meant; empty where no name is near
}

func (e *OptionError) Error() string {
	s := e.Where
	if e.Got != "" {
		s += " " + shown(e.Got)
	}
	s += ": want " + e.Want
	if e.Near != "" {
		s += "; did you mean " + e.Near + "?"
	}
	return s
}

// shown quotes what is not a number.
func shown(s string) string {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return strconv.Quote(s)
}

// OneOf returns an OptionError unless got is one of the names.
func OneOf(where, got string, names ...string) error {
	if slices.Contains(names, got) {
		return nil
	}
	return &OptionError{Where: where, Want: Listed(names), Got: got, Near: Nearest(got, names)}
}

// Listed joins names as a sentence does: "a, b or c".
func Listed(names []string) string {
	n := len(names)
	if n < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
}

// Nearest returns the name that differs in the fewest letters from a mistyped one, or "" where every name differs in more than a third of them. Case, hyphens and underscores do not count.
func Nearest(typed string, names []string) string {
	best, least := "", 0
	for _, name := range names {
		a, b := folded(typed), folded(name)
		most := max(len(a), len(b)) / 3
		if len(a) > 2 && len(a) < len(b) && strings.HasPrefix(b, a) {
			most = len(b) // the beginning of a name stands for it
		}
		if d := editDistance(a, b); d <= most && (best == "" || d < least) {
			best, least = name, d
		}
	}
	return best
}

func folded(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// editDistance counts the letters that are inserted, removed, replaced or swapped with their neighbour. Long texts are not compared.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// ParseFactor reads how many times as much: 2 or 2x.
func ParseFactor(text string) (float64, error) {
	v, err := finite(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(text), "x"), "X"))
	if err != nil {
		return 0, errors.New("a number such as 2 or 2x")
	}
	return v, nil
}

// ParseShare reads a share: 0.3 or 30%.
func ParseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := finite(strings.TrimSpace(number))
	if err != nil {
		return 0, errors.New("a share such as 0.3 or 30%")
	}
	if percent {
		v /= 100
	}
	return v, nil
}

// finite reads a decimal number that is neither infinite nor NaN.
func finite(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errors.New("not finite")
	}
	return v, err
}
