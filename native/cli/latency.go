package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/search"
)

// timePerShot is how long original and candidate run in turns for one comparison.
const timePerShot = 1500 * time.Millisecond

// byLatency looks for the least speed-up whose model is fast enough in ONNX Runtime, makes that model again and repairs it.
func (a *app) byLatency(ctx context.Context, s *prune.Model, prepared *prune.Prepared, w *mender, f *pruneFlags) (*cut, error) {
	report, err := a.latency(ctx, s, prepared, f)
	if err != nil {
		return nil, asFlag(err, "latency")
	}
	c, err := a.candidate(ctx, prepared, w, f, report.SpeedUp, report.RoundTo)
	if err != nil {
		return nil, err
	}
	c.Model.timings = report
	return c.Model, nil
}

// latency times original and candidates side by side in ONNX Runtime.
func (a *app) latency(ctx context.Context, s *prune.Model, prepared *prune.Prepared, f *pruneFlags) (*search.LatencyReport, error) {
	if _, err := search.ParseLatency(f.latency); err != nil {
		return nil, err
	}
	l, err := ort.Find()
	if err != nil {
		return nil, fmt.Errorf("--latency: %w", err)
	}
	engine := ort.NewEngine(l, ort.Options{Spinning: true}) // as other programs run models
	defer a.stage("search of a model that is fast enough").end()
	g := search.LatencyGoal[*cut]{Target: f.latency, Engine: engine.Name(), RoundTo: f.roundTo, Progress: a.latencyProgress()}
	g.Prune = func(ctx context.Context, x float64, roundTo int) (search.Candidate[*cut], error) {
		return a.candidate(ctx, prepared, nil, f, x, roundTo)
	}
	g.Measure = func(ctx context.Context, c *cut) (before, after float64, err error) {
		return engine.Times(ctx, s.ONNX, c.model, timePerShot)
	}
	return search.Latency(ctx, g)
}

// latencyProgress prints what the search times, nil with --quiet.
func (a *app) latencyProgress() func(float64, search.LatencyTrial) {
	if a.quiet {
		return nil
	}
	return func(speedUp float64, t search.LatencyTrial) {
		fmt.Fprintf(a.err, "%.2fx, multiples of %d: %.3g ms -> %.3g ms\n", speedUp, t.RoundTo, t.Before, t.After)
	}
}
