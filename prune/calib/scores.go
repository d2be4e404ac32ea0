package calib

import (
	"context"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/obs"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
)

// LooksAtSamples reports whether a criterion needs calibration samples.
func LooksAtSamples(criterion string) bool {
	return slices.Contains([]string{obs.OBS, obs.Wanda, obs.Hessian}, criterion)
}

// Scores ranks every unit by what the samples say; nil for a criterion that does not look at samples.
func Scores(ctx context.Context, e repair.Engine, m *onnxio.Model, a *coupling.Analysis, criterion string, samples map[string]repair.Array) (planner.Scores, error) {
	if !LooksAtSamples(criterion) {
		return nil, nil
	}
	s, err := obs.Scores(ctx, e, m, a, criterion, samples)
	if err != nil {
		return nil, fmt.Errorf("criterion %s: %w", criterion, err)
	}
	return s, nil
}
