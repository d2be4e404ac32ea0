package cli

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/search"
)

//go:embed latency.py
var latencyScript string

// secondsPerShot is how long original and candidate run in turns for one comparison.
const secondsPerShot = 1.5

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
	dir, remove, err := endingOf(ctx).tempDir("metaprune-latency")
	if err != nil {
		return nil, err
	}
	defer remove()
	original, candidate, external := filepath.Join(dir, "original.onnx"), filepath.Join(dir, "candidate.onnx"), s.ONNX.HasExternal()
	if err := a.write(original, s.ONNX, external, true); err != nil {
		return nil, err
	}
	defer a.stage("search of a model that is fast enough").end()
	g := search.LatencyGoal[*cut]{Target: f.latency, Engine: "ONNX Runtime", RoundTo: f.roundTo, Progress: a.latencyProgress()}
	g.Prune = func(ctx context.Context, x float64, roundTo int) (search.Candidate[*cut], error) {
		return a.candidate(ctx, prepared, nil, f, x, roundTo)
	}
	g.Measure = func(ctx context.Context, c *cut) (before, after float64, err error) {
		if err := a.write(candidate, c.model, external, true); err != nil {
			return 0, 0, err
		}
		out, err := runPython(ctx, latencyScript, original, candidate, fmt.Sprint(secondsPerShot))
		if err != nil {
			return 0, 0, err
		}
		_, err = fmt.Sscan(out, &before, &after)
		return before, after, err
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
