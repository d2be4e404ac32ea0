package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// ignored are the groups that Options.Ignore keeps whole, by index. A pattern that cannot be read, or that
// fits nothing of the model, is an error: what was to be kept would be pruned.
func ignored(a *coupling.Analysis, patterns []string) (whole map[int]bool, err error) {
	whole = map[int]bool{}
	for _, pattern := range patterns {
		groups, err := a.Matching(pattern)
		if err != nil {
			return nil, fmt.Errorf("ignore: %w", err)
		}
		if len(groups) == 0 && !a.Has(pattern) {
			return nil, NoSuchName("ignore", pattern, a.Names())
		}
		for _, i := range groups {
			whole[i] = true
		}
	}
	return whole, nil
}

// nearNames is how many names an error proposes.
const nearNames = 3

// NoSuchName reports a pattern that fits no name of the model, with the names that come near it, or of a
// pattern with a * at its end, the patterns.
func NoSuchName(where, pattern string, names []string) *OptionError {
	typed, some := strings.CutSuffix(pattern, "*")
	if some {
		for i, name := range names {
			names[i] = name[:min(len(name), len(typed)+1)] + "*"
		}
		typed = pattern
	}
	var near []string
	for len(near) < nearNames {
		name := Nearest(typed, names)
		if name == "" {
			break
		}
		near = append(near, name)
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	}
	return &OptionError{Where: where, Want: `a node, a tensor or a group of the model (inspect lists them with option "all" and option "groups"), or a pattern that fits one`, Got: pattern, Near: Listed(near)}
}

// withoutZeros are the constants that Options.Ignore keeps without zeros: those of the layers and tensors whose names fit, and those whose output channels are the channels of a group whose name or ID fits.
func withoutZeros(a *coupling.Analysis, patterns []string) (map[*op.Constant]bool, error) {
	out := map[*op.Constant]bool{}
	for _, pattern := range patterns {
		groups, err := a.Matching(pattern)
		if err != nil {
			return nil, fmt.Errorf("ignore: %w", err)
		}
		fits := coupling.Fitting(pattern)
		for _, i := range groups {
			g := &a.Groups[i]
			called := fits(g.ID) || fits(g.Name)
			for _, m := range g.Members {
				if called && m.Role == op.Output {
					out[m.Const] = true
				}
			}
		}
		for _, w := range a.Weights() {
			if fits(w.Const.Name) || fits(a.LayerOf(w.Const)) {
				out[w.Const] = true
			}
		}
	}
	return out, nil
}
