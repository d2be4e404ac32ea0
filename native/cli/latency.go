package cli

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
)

//go:embed latency.py
var latencyScript string

// latencyGoal is what --latency asks for: so many times as fast as the original, or at most so many milliseconds.
type latencyGoal struct {
	times, milliseconds float64
}

func parseLatency(s string) (latencyGoal, error) {
	if v, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64); err == nil && v >= 1 && v < searchTop {
		return latencyGoal{times: v}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return latencyGoal{milliseconds: float64(d) / float64(time.Millisecond)}, nil
	}
	return latencyGoal{}, &planner.OptionError{Where: "--latency", Want: fmt.Sprintf("how many times as fast, from 1 to %g, or a time such as 5ms", searchTop), Got: s}
}

func (g latencyGoal) reached(before, after float64) bool {
	if g.times > 0 {
		return before/after >= g.times
	}
	return after <= g.milliseconds
}

// timings is what --latency measured.
type timings struct {
	Target  string        `json:"target"`
	Engine  string        `json:"engine"`
	Before  float64       `json:"milliseconds_before"`
	After   float64       `json:"milliseconds_after"`
	RoundTo int           `json:"round_to"`
	Tried   []latencyShot `json:"tried"`
	best    float64       // speed-up by multiply-accumulates
}

type latencyShot struct {
	SpeedUp float64 `json:"speed_up"`
	RoundTo int     `json:"round_to"`
	Before  float64 `json:"milliseconds_before"`
	After   float64 `json:"milliseconds_after"`
}

func (t *timings) sentence() string {
	return fmt.Sprintf("%.3g ms -> %.3g ms in %s, %.2f times as fast (target %s, multiples of %d, %d models timed)", t.Before, t.After, t.Engine, t.Before/t.After, t.Target, t.RoundTo, len(t.Tried))
}

// secondsPerShot is how long original and candidate run in turns for one comparison.
const secondsPerShot = 1.5

// latency looks for the least speed-up by multiply-accumulates whose model is fast enough in ONNX Runtime, with channels in any number or in multiples of eight, whichever is faster.
func (a *app) latency(ctx context.Context, s *prune.Session, prepared *prune.Prepared, f *pruneFlags) (*timings, error) {
	goal, err := parseLatency(f.latency)
	if err != nil {
		return nil, err
	}
	dir, remove, err := endingOf(ctx).tempDir("metaprune-latency")
	if err != nil {
		return nil, err
	}
	defer remove()
	original := filepath.Join(dir, "original.onnx")
	external := s.Model.HasExternal()
	if err := a.write(original, s.Model, external, true); err != nil {
		return nil, err
	}
	t := &timings{Target: f.latency, Engine: "ONNX Runtime"}
	rounds := []int{1, 8}
	if f.roundTo > 1 {
		rounds = []int{f.roundTo}
	}
	fastest := 0.0
	defer a.stage("search of a model that is fast enough").end()
	slow := func(x float64) (bool, error) {
		fast, small := false, false
		for _, round := range rounds {
			shot, err := a.shot(ctx, prepared, f, x, round, original, external)
			if err != nil {
				return false, err
			}
			if shot == nil {
				continue // so much cannot leave
			}
			small = true
			t.Tried = append(t.Tried, *shot)
			fastest = max(fastest, shot.Before/shot.After)
			if !a.quiet {
				fmt.Fprintf(a.err, "%.2fx, multiples of %d: %.3g ms -> %.3g ms\n", x, round, shot.Before, shot.After)
			}
			if goal.reached(shot.Before, shot.After) && (!fast || shot.After < t.After) {
				fast = true
				t.best, t.Before, t.After, t.RoundTo = x, shot.Before, shot.After, round
			}
		}
		return small && !fast, nil
	}
	if err := bisect(searchStep, searchTop, slow); err != nil {
		return nil, err
	}
	if t.best == 0 {
		return nil, failedCheck{fmt.Errorf("--latency %s: not reached in %s; the fastest of %d models was %.2f times as fast as the original", f.latency, t.Engine, len(t.Tried), fastest)}
	}
	return t, nil
}

// shot cuts a model to a speed-up and times it against the original; nil where it cannot become so small.
func (a *app) shot(ctx context.Context, prepared *prune.Prepared, f *pruneFlags, speedUp float64, round int, original string, external bool) (*latencyShot, error) {
	own := *f
	own.roundTo = round
	c, err := a.at(ctx, prepared, nil, &own, speedUp)
	if c == nil || err != nil {
		return nil, err
	}
	candidate := filepath.Join(filepath.Dir(original), "candidate.onnx")
	if err := a.write(candidate, c.model, external, true); err != nil {
		return nil, err
	}
	out, err := runPython(ctx, latencyScript, original, candidate, fmt.Sprint(secondsPerShot))
	if err != nil {
		return nil, err
	}
	shot := &latencyShot{SpeedUp: float64(c.plan.Achieved.MACs[0]) / float64(max(c.plan.Achieved.MACs[1], 1)), RoundTo: round}
	_, err = fmt.Sscan(out, &shot.Before, &shot.After)
	return shot, err
}
