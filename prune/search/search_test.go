package search

import (
	"context"
	"errors"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// falling has accuracy 1 - speedUp/10 and cannot be pruned beyond a speed-up.
func falling(target, reach float64) AccuracyGoal[float64] {
	return AccuracyGoal[float64]{Target: target, Original: .95, Images: 100, Set: "images",
		Prune: func(_ context.Context, x float64) (Candidate[float64], error) {
			if x > reach {
				return Candidate[float64]{}, &planner.TargetError{}
			}
			return Candidate[float64]{x, x}, nil
		},
		Measure: func(_ context.Context, x float64) (float64, error) { return 1 - x/10, nil }}
}

func TestAccuracyFindsTheLargestSpeedUp(t *testing.T) {
	for name, c := range map[string]struct{ target, reach, want float64 }{
		"by accuracy": {.6, 100, 4}, "by reach": {.1, 3, 3}, "all the way": {-10, 100, Top},
	} {
		got, r, err := Accuracy(t.Context(), falling(c.target, c.reach))
		require.NoError(t, err, name)
		require.LessOrEqual(t, got, c.want, name)
		require.Greater(t, got, c.want/Step, name)
		require.Equal(t, 1-got/10, r.Accuracy, name)
		require.GreaterOrEqual(t, len(r.Tried), 2, name)
	}
}

func TestAccuracySaysWhyItFails(t *testing.T) {
	var failed *FailedError
	_, _, err := Accuracy(t.Context(), falling(.99, 100))
	require.ErrorAs(t, err, &failed)
	require.EqualError(t, err, "accuracy 0.99: the model itself has 0.9500 on 100 images")
	g := falling(.9, 100)
	g.Measure = func(context.Context, float64) (float64, error) { return 0, nil }
	_, _, err = Accuracy(t.Context(), g)
	require.ErrorContains(t, err, "not kept even at 1.02x")
	broken := errors.New("broken")
	g.Measure = func(context.Context, float64) (float64, error) { return 0, broken }
	_, _, err = Accuracy(t.Context(), g)
	require.ErrorIs(t, err, broken)
}

// timed takes 10 ms at first and 10/x ms after pruning; without multiples of eight it takes twice as long.
func timed(target string, reach float64) LatencyGoal[float64] {
	return LatencyGoal[float64]{Target: target, Engine: "a clock",
		Prune: func(_ context.Context, x float64, round int) (Candidate[float64], error) {
			if x > reach {
				return Candidate[float64]{}, &planner.TargetError{}
			}
			return Candidate[float64]{x * min(float64(round), 2) / 2, x}, nil
		},
		Measure: func(_ context.Context, x float64) (float64, float64, error) { return 10, 10 / x, nil }}
}

func TestLatencyFindsTheLeastSpeedUp(t *testing.T) {
	for _, target := range []string{"4x", "4", "2.5ms"} {
		r, err := Latency(t.Context(), timed(target, 100))
		require.NoError(t, err)
		require.GreaterOrEqual(t, r.SpeedUp, 4.0)
		require.Less(t, r.SpeedUp, 4*Step)
		require.Equal(t, 8, r.RoundTo)
		require.LessOrEqual(t, r.After, 2.5)
	}
	_, err := Latency(t.Context(), timed("4x", 3))
	require.ErrorContains(t, err, "latency 4x: not reached in a clock; the fastest of")
	for _, target := range []string{"soon", "0.5x", "64", "-1ms", ""} {
		_, err := Latency(t.Context(), timed(target, 100))
		var option *planner.OptionError
		require.ErrorAs(t, err, &option, target)
		require.Equal(t, "latency", option.Where)
	}
}
