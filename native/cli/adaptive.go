package cli

import (
	"context"
	"fmt"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/search"
)

// validation are the images that models are chosen by: some of the training images, or all where there are no others. They are never the test images of a set that has both.
func (d *dataFlags) validation(s *data.Splits) (*data.Set, string, error) {
	set, name := s.Train, "training images that were drawn by seed"
	if set == nil {
		set, name = s.Test, "images"
	}
	if set.Labels == nil {
		return nil, "", fmt.Errorf("%s has no labels; give --labels, or class folders", set.Name)
	}
	limit := d.limit
	if limit == 0 {
		limit = 5000
	}
	return set.Shuffled(limit, 1), name, nil
}

// adaptive looks for the largest speed-up at which the accuracy holds.
func (a *app) adaptive(ctx context.Context, b *engines.Runtime, s *prune.Model, prepared *prune.Prepared, w *mender, f *pruneFlags) (*cut, error) {
	splits, err := f.data.open(s.ONNX)
	if err != nil {
		return nil, err
	}
	set, name, err := f.data.validation(splits)
	if err != nil {
		return nil, err
	}
	defer a.stage("search of the smallest model with this accuracy").end()
	accuracy := func(ctx context.Context, m *onnxio.Model) (float64, error) {
		v, err := b.Score(ctx, m, set, f.data.batch)
		return v.Accuracy, err
	}
	base, err := accuracy(ctx, s.ONNX)
	if err != nil {
		return nil, err
	}
	g := search.AccuracyGoal[*cut]{Target: f.accuracy, Original: base, Images: set.N, Set: name, Progress: a.accuracyProgress()}
	g.Prune = func(ctx context.Context, x float64) (search.Candidate[*cut], error) {
		return a.candidate(ctx, prepared, w, f, x, f.roundTo)
	}
	g.Measure = func(ctx context.Context, c *cut) (float64, error) { return accuracy(ctx, c.model) }
	c, report, err := search.Accuracy(ctx, g)
	if err != nil {
		return nil, asFlag(err, "accuracy")
	}
	c.search = report
	return c, nil
}

// accuracyProgress prints what the search measures, nil with --quiet.
func (a *app) accuracyProgress() func(search.AccuracyTrial) {
	if a.quiet {
		return nil
	}
	return func(t search.AccuracyTrial) { fmt.Fprintf(a.err, "%.2fx: %.2f %%\n", t.SpeedUp, 100*t.Accuracy) }
}

// candidate prunes the model to a speed-up, for a search.
func (a *app) candidate(ctx context.Context, s *prune.Prepared, w *mender, f *pruneFlags, speedUp float64, roundTo int) (search.Candidate[*cut], error) {
	own := *f
	own.speedUp, own.roundTo = speedUp, roundTo
	r, err := own.request()
	if err != nil {
		return search.Candidate[*cut]{}, err
	}
	p, err := s.MakePlan(ctx, r)
	if err != nil {
		return search.Candidate[*cut]{}, err
	}
	c, err := carry(ctx, s, p, w)
	return search.Candidate[*cut]{Model: c, SpeedUp: float64(p.Achieved.MACs[0]) / float64(max(p.Achieved.MACs[1], 1))}, err
}
