package planner

import (
	"fmt"

	"github.com/metaprune/metaprune/graphcodec"
)

// ignored are the groups that Options.Ignore keeps whole, by index, and the patterns that fit nothing of the model. A pattern that cannot be read is an error.
func ignored(a *graphcodec.Analysis, patterns []string) (whole map[int]bool, unmatched []string, err error) {
	whole = map[int]bool{}
	for _, pattern := range patterns {
		groups, err := a.Matching(pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("ignore: %w", err)
		}
		if len(groups) == 0 && !a.Has(pattern) {
			unmatched = append(unmatched, pattern)
		}
		for _, i := range groups {
			whole[i] = true
		}
	}
	return whole, unmatched, nil
}

// withoutZeros are the constants that Options.Ignore keeps without zeros: those of the layers and tensors whose names fit, and those whose output channels are the channels of a group whose name or ID fits.
func withoutZeros(a *graphcodec.Analysis, patterns []string) (map[*graphcodec.Constant]bool, error) {
	out := map[*graphcodec.Constant]bool{}
	for _, pattern := range patterns {
		groups, err := a.Matching(pattern)
		if err != nil {
			return nil, fmt.Errorf("ignore: %w", err)
		}
		fits := graphcodec.Fitting(pattern)
		for _, i := range groups {
			g := &a.Groups[i]
			called := fits(g.ID) || fits(g.Name)
			for _, m := range g.Members {
				if called && m.Role == graphcodec.Output {
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
