package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/spf13/pflag"
)

// numbers is what a flag takes: how a number is written, and its range. The zero value takes any whole number.
type numbers struct {
	read   func(string) (float64, error) // nil for a whole number
	noun   string                        // such as "a share such as 0.3 or 30%"
	least  float64
	most   float64 // 0 for any
	above  bool    // least itself is not in the range
	below  bool    // most itself is not in the range
	verbal bool    // the flag keeps the text as it was given
}

// The kinds of numbers that flags take.
func whole(least, most float64) numbers { return numbers{least: least, most: most} }
func decimal(least, most float64) numbers {
	return numbers{read: plainNumber, noun: "a number", least: least, most: most}
}
func factor(least float64) numbers {
	return numbers{read: planner.ParseFactor, noun: "a number such as 2 or 2x", least: least}
}
func share(least, most float64) numbers {
	return numbers{read: planner.ParseShare, noun: "a share such as 0.3 or 30%", least: least, most: most}
}
func positive() numbers { return decimal(0, 0).over() }
func span() numbers {
	return numbers{read: seconds, noun: "a time above 0, such as 30s or 5m", verbal: true}.over()
}
func bytesOf() numbers {
	return numbers{read: parseSize, noun: "a size such as 10MB", most: 1 << 62, verbal: true}.over()
}
func bytesFromZero() numbers { n := bytesOf(); n.above = false; return n }
func bytesOrShare() numbers {
	return numbers{read: sizeOrShare, noun: "a size such as 10MB, or a share of the file such as 50%", most: 1 << 62, verbal: true}.over()
}

// over excludes the lower bound.
func (n numbers) over() numbers { n.above = true; return n }

// under excludes the upper bound.
func (n numbers) under() numbers { n.below = true; return n }

func plainNumber(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		return 0, strconv.ErrRange
	}
	return v, err
}

func seconds(text string) (float64, error) {
	d, err := time.ParseDuration(text)
	return d.Seconds(), err
}

func parseSize(text string) (float64, error) {
	n, err := humanize.ParseBytes(text)
	return float64(n), err
}

// sizeOrShare reads a share below 100 % as its number of percent, which is above 0 as well.
func sizeOrShare(text string) (float64, error) {
	if !strings.HasSuffix(text, "%") {
		return parseSize(text)
	}
	v, err := planner.ParseShare(text)
	if err == nil && v > 1 {
		err = strconv.ErrRange
	}
	return v, err
}

// String is what the flag takes, for its errors.
func (n numbers) String() string {
	noun := n.noun
	if n.read == nil {
		noun = "a whole number"
	}
	low, high := strconv.FormatFloat(n.least, 'g', -1, 64), strconv.FormatFloat(n.most, 'g', -1, 64)
	switch {
	case n.verbal:
		return noun
	case n.most == 0 && n.above:
		return noun + " above " + low
	case n.most == 0:
		return noun + ", at least " + low
	case n.above && n.below:
		return fmt.Sprintf("%s, above %s and below %s", noun, low, high)
	case n.above:
		return fmt.Sprintf("%s, above %s and at most %s", noun, low, high)
	case n.below:
		return fmt.Sprintf("%s, at least %s and below %s", noun, low, high)
	}
	return fmt.Sprintf("%s, from %s to %s", noun, low, high)
}

// parse reads one number and returns it as the flag's own value reads it.
func (n numbers) parse(text string) (string, error) {
	text = strings.TrimSpace(text)
	if n.read == nil {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !n.holds(float64(v)) {
			return "", fmt.Errorf("want %s", n)
		}
		return text, nil
	}
	v, err := n.read(text)
	if err != nil || !n.holds(v) {
		return "", fmt.Errorf("want %s", n)
	}
	if n.verbal {
		return text, nil
	}
	return strconv.FormatFloat(v, 'g', -1, 64), nil
}

func (n numbers) holds(v float64) bool {
	low := v > n.least || v == n.least && !n.above
	high := n.most == 0 || v < n.most || v == n.most && !n.below
	return low && high
}

// numeral is a flag's value that is read and bounded as numbers say.
type numeral struct {
	pflag.Value
	numbers numbers
}

// Wants says what the flag takes.
func (n numeral) Wants() string {
	if strings.HasSuffix(n.Type(), "Slice") {
		return n.numbers.String() + ", with commas between several"
	}
	return n.numbers.String()
}

// Set reads a number, or numbers with commas between them where the flag takes several.
func (n numeral) Set(text string) error {
	if !strings.HasSuffix(n.Type(), "Slice") {
		v, err := n.numbers.parse(text)
		if err != nil {
			return err
		}
		return n.Value.Set(v)
	}
	var all []string
	for _, part := range strings.Split(text, ",") {
		v, err := n.numbers.parse(part)
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	return n.Value.Set(strings.Join(all, ","))
}

// takes bounds flags that are there already.
func takes(f *pflag.FlagSet, n numbers, names ...string) {
	for _, name := range names {
		flag := f.Lookup(name)
		flag.Value = numeral{flag.Value, n}
		if flag.DefValue == "[]" {
			flag.DefValue = "" // which help shows as no default
		}
	}
}

// choice is a flag's value that is one of some names, or several of them with commas between.
type choice struct {
	pflag.Value
	names []string
}

// Set refuses other names, with the one that was probably meant.
func (c choice) Set(text string) error {
	all := []string{text}
	if strings.HasSuffix(c.Type(), "Slice") {
		all = strings.Split(text, ",")
	}
	for _, name := range all {
		if err := planner.OneOf("", strings.TrimSpace(name), c.names...); err != nil {
			return err
		}
	}
	return c.Value.Set(text)
}

// oneOf bounds a flag to names. A default that is none of them, such as "", stays possible.
func oneOf(f *pflag.FlagSet, name string, names ...string) {
	flag := f.Lookup(name)
	flag.Value = choice{flag.Value, names}
}

// sparsityPattern is a flag's value that is "channels" or a pattern of zeros.
type sparsityPattern struct {
	pflag.Value
	names []string
}

func (p sparsityPattern) Set(text string) error {
	if !slices.Contains(p.names, text) {
		if _, _, err := planner.ParsePattern(text); err != nil {
			return &planner.OptionError{Want: strings.Join(p.names, ", ") + " or N:M such as 2:4", Got: text, Near: planner.Nearest(text, p.names)}
		}
	}
	return p.Value.Set(text)
}

// patterns bounds a flag to patterns of zeros and some names.
func patterns(f *pflag.FlagSet, name string, names ...string) {
	flag := f.Lookup(name)
	flag.Value = sparsityPattern{flag.Value, names}
}
