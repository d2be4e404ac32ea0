package search

import (
	"context"
	"fmt"
)

// Candidate is a pruned model of a search.
type Candidate[M any] struct {
	Model   M       // whatever the caller prunes to
	SpeedUp float64 // MACs before / after, as achieved
}

// AccuracyGoal is what [Accuracy] looks for, and how.
type AccuracyGoal[M any] struct {
	Target   float64 // least accuracy, a share from 0 to 1
	Original float64 // accuracy of the unpruned model on the same images
	Images   int     // that accuracy is measured on
	Set      string  // what these images are, for people
	Prune    func(ctx context.Context, speedUp float64) (Candidate[M], error)
	Measure  func(ctx context.Context, model M) (float64, error) // accuracy, a share from 0 to 1
	Progress func(AccuracyTrial)                                 // after each measurement; nil for none
}

// AccuracyTrial is one candidate that was measured.
type AccuracyTrial struct {
	SpeedUp  float64 `json:"speed_up"`
	Accuracy float64 `json:"accuracy"`
}

// AccuracyReport is what [Accuracy] tried.
type AccuracyReport struct {
	Target   float64         `json:"target"`
	Original float64         `json:"original"`
	Accuracy float64         `json:"accuracy"` // of the candidate that was chosen
	Images   int             `json:"images"`
	Set      string          `json:"set"`
	Tried    []AccuracyTrial `json:"tried"`
}

// String is the report for people, in one line.
func (r *AccuracyReport) String() string {
	return fmt.Sprintf("accuracy %.2f %% -> %.2f %% on %d %s (target %.2f %%, %d models tried)", 100*r.Original, 100*r.Accuracy, r.Images, r.Set, 100*r.Target, len(r.Tried))
}

// Accuracy returns the candidate with the largest speed-up that keeps the accuracy: the speed-up is doubled until the
// accuracy is lost, then the interval is halved. [FailedError] where the original itself, or every candidate, has less.
func Accuracy[M any](ctx context.Context, g AccuracyGoal[M]) (M, *AccuracyReport, error) {
	var best M
	r := &AccuracyReport{Target: g.Target, Original: g.Original, Images: g.Images, Set: g.Set}
	failed := func(format string, args ...any) error {
		return &FailedError{Option: "accuracy", Got: fmt.Sprintf("%g", g.Target), Why: fmt.Sprintf(format, args...)}
	}
	if g.Original < g.Target {
		return best, r, failed("the model itself has %.4f on %d %s", g.Original, g.Images, g.Set)
	}
	found := false
	err := bisect(func(speedUp float64) (bool, error) {
		c, err := g.Prune(ctx, speedUp)
		if outOfReach(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		accuracy, err := g.Measure(ctx, c.Model)
		if err != nil {
			return false, err
		}
		trial := AccuracyTrial{c.SpeedUp, accuracy}
		r.Tried = append(r.Tried, trial)
		if g.Progress != nil {
			g.Progress(trial)
		}
		if accuracy < g.Target {
			return false, nil
		}
		best, r.Accuracy, found = c.Model, accuracy, true
		return true, nil
	})
	if err == nil && !found {
		err = failed("not kept even at %gx; try a repair, a lower accuracy or finetuning", Step)
	}
	return best, r, err
}
