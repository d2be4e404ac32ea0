package search

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/metaprune/metaprune/prune/planner"
)

// LatencyTarget is how fast a model has to become: one of the two is set.
type LatencyTarget struct {
	Times        float64 // so many times as fast as the original
	Milliseconds float64 // at most
}

// ParseLatency reads how many times as fast, such as 2x, or a time such as 5ms. Anything else is a [planner.OptionError].
func ParseLatency(s string) (LatencyTarget, error) {
	if v, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64); err == nil && v >= 1 && v < Top {
		return LatencyTarget{Times: v}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return LatencyTarget{Milliseconds: float64(d) / float64(time.Millisecond)}, nil
	}
	return LatencyTarget{}, &planner.OptionError{Where: "latency", Want: fmt.Sprintf("how many times as fast, from 1 to %g, or a time such as 5ms", Top), Got: s}
}

func (t LatencyTarget) reached(before, after float64) bool {
	if t.Times > 0 {
		return before/after >= t.Times
	}
	return after <= t.Milliseconds
}

// LatencyGoal is what [Latency] looks for, and how.
type LatencyGoal[M any] struct {
	Target  string // as [ParseLatency] reads it
	Engine  string // that times are measured in, for people
	RoundTo int    // channels are kept in multiples of so many; 0 and 1 try both 1 and 8
	Prune   func(ctx context.Context, speedUp float64, roundTo int) (Candidate[M], error)
	// Measure returns the milliseconds of the original and of the candidate, measured side by side.
	Measure  func(ctx context.Context, model M) (before, after float64, err error)
	Progress func(speedUp float64, t LatencyTrial) // after each measurement, with the speed-up that was asked for; nil for none
}

// LatencyTrial is one candidate that was timed.
type LatencyTrial struct {
	SpeedUp float64 `json:"speed_up"` // MACs before / after, as achieved
	RoundTo int     `json:"round_to"`
	Before  float64 `json:"milliseconds_before"`
	After   float64 `json:"milliseconds_after"`
}

// LatencyReport is what [Latency] measured.
type LatencyReport struct {
	Target  string         `json:"target"`
	Engine  string         `json:"engine"`
	Before  float64        `json:"milliseconds_before"`
	After   float64        `json:"milliseconds_after"`
	RoundTo int            `json:"round_to"`
	Tried   []LatencyTrial `json:"tried"`
	SpeedUp float64        `json:"-"` // by MACs, to ask for with RoundTo
}

// String is the report for people, in one line.
func (r *LatencyReport) String() string {
	return fmt.Sprintf("%.3g ms -> %.3g ms in %s, %.2f times as fast (target %s, multiples of %d, %d models timed)", r.Before, r.After, r.Engine, r.Before/r.After, r.Target, r.RoundTo, len(r.Tried))
}

// Latency finds the least speed-up by MACs whose model is fast enough, with channels in any number or in multiples of
// eight, whichever is faster. The report's SpeedUp and RoundTo make that model again. [FailedError] where no candidate is
// fast enough.
func Latency[M any](ctx context.Context, g LatencyGoal[M]) (*LatencyReport, error) {
	target, err := ParseLatency(g.Target)
	if err != nil {
		return nil, err
	}
	r, fastest := &LatencyReport{Target: g.Target, Engine: g.Engine}, 0.0
	rounds := []int{1, 8}
	if g.RoundTo > 1 {
		rounds = []int{g.RoundTo}
	}
	slow := func(speedUp float64) (bool, error) {
		fast, small := false, false
		for _, round := range rounds {
			t, err := g.trial(ctx, speedUp, round)
			if outOfReach(err) {
				continue
			}
			if err != nil {
				return false, err
			}
			small = true
			r.Tried = append(r.Tried, t)
			fastest = max(fastest, t.Before/t.After)
			if target.reached(t.Before, t.After) && (!fast || t.After < r.After) {
				fast = true
				r.SpeedUp, r.Before, r.After, r.RoundTo = speedUp, t.Before, t.After, round
			}
		}
		return small && !fast, nil
	}
	if err := bisect(slow); err != nil {
		return nil, err
	}
	if r.SpeedUp == 0 {
		why := fmt.Sprintf("not reached in %s; the fastest of %d models was %.2f times as fast as the original", g.Engine, len(r.Tried), fastest)
		return nil, &FailedError{Option: "latency", Got: g.Target, Why: why}
	}
	return r, nil
}

// trial prunes and times one candidate.
func (g *LatencyGoal[M]) trial(ctx context.Context, speedUp float64, roundTo int) (LatencyTrial, error) {
	c, err := g.Prune(ctx, speedUp, roundTo)
	if err != nil {
		return LatencyTrial{}, err
	}
	t := LatencyTrial{SpeedUp: c.SpeedUp, RoundTo: roundTo}
	if t.Before, t.After, err = g.Measure(ctx, c.Model); err == nil && g.Progress != nil {
		g.Progress(speedUp, t)
	}
	return t, err
}
