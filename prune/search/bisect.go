package search

import (
	"errors"
	"math"

	"github.com/metaprune/metaprune/prune/planner"
)

// Bounds of a search: the largest speed-up that is tried, and the ratio of two speed-ups at which a search ends.
const (
	Top  = 64.0
	Step = 1.02
)

// FailedError reports that no candidate reaches the goal.
type FailedError struct {
	Option string // "accuracy" or "latency"
	Got    string // the value of the option
	Why    string
}

func (e *FailedError) Error() string { return e.Option + " " + e.Got + ": " + e.Why }

// outOfReach reports whether an error says that the model cannot be pruned so far.
func outOfReach(err error) bool {
	var short *planner.TargetError
	return errors.As(err, &short)
}

// bisect calls try with growing speed-ups until one fails, then between the last two; it ends when they are within a factor of Step.
func bisect(try func(speedUp float64) (bool, error)) error {
	low, high := 1.0, Top*2
	for x := 1.5; high > low*Step; {
		ok, err := try(x)
		if err != nil {
			return err
		}
		if ok {
			low = x
		} else {
			high = x
		}
		switch {
		case low >= Top:
			return nil
		case high > Top:
			x = min(2*low, Top)
		default:
			x = math.Sqrt(low * high)
		}
	}
	return nil
}
