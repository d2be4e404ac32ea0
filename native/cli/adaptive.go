package cli

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// search is what --accuracy tried.
type search struct {
	Target   float64 `json:"target"`
	Original float64 `json:"original"`
	Accuracy float64 `json:"accuracy"`
	Images   int     `json:"images"`
	Set      string  `json:"set"`
	Tried    []tried `json:"tried"`
	best     *cut
}

type tried struct {
	SpeedUp  float64 `json:"speed_up"`
	Accuracy float64 `json:"accuracy"`
}

func (s *search) sentence() string {
	return fmt.Sprintf("accuracy %.2f %% -> %.2f %% on %d %s (target %.2f %%, %d models tried)", 100*s.Original, 100*s.Accuracy, s.Images, s.Set, 100*s.Target, len(s.Tried))
}

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

// Bounds of the search: the largest speed-up that is tried, and the ratio of speed-ups at which it ends.
const (
	searchTop  = 64.0
	searchStep = 1.02
)

// adaptive looks for the largest speed-up at which the accuracy holds: doubling until it does not, then halving the interval.
func (a *app) adaptive(ctx context.Context, b *xla.Backend, s *prune.Session, prepared *prune.Prepared, w *mender, f *pruneFlags) (*cut, error) {
	splits, err := f.data.open(s.Model)
	if err != nil {
		return nil, err
	}
	set, name, err := f.data.validation(splits)
	if err != nil {
		return nil, err
	}
	defer a.stage("search of the smallest model with this accuracy").end()
	base, err := score(ctx, b, s.Model, set, f.data.batch)
	if err != nil {
		return nil, err
	}
	q := &search{Target: f.accuracy, Original: base.Accuracy, Images: set.N, Set: name}
	if base.Accuracy < f.accuracy {
		return nil, failedCheck{fmt.Errorf("--accuracy %g: the model itself has %.4f on %d %s", f.accuracy, base.Accuracy, set.N, name)}
	}
	try := func(x float64) (bool, error) {
		c, err := a.at(ctx, prepared, w, f, x)
		if c == nil || err != nil {
			return false, err
		}
		e, err := score(ctx, b, c.model, set, f.data.batch)
		if err != nil {
			return false, err
		}
		q.Tried = append(q.Tried, tried{float64(c.plan.Achieved.MACs[0]) / float64(c.plan.Achieved.MACs[1]), e.Accuracy})
		if !a.quiet {
			fmt.Fprintf(a.err, "%.2fx: %.2f %%\n", q.Tried[len(q.Tried)-1].SpeedUp, 100*e.Accuracy)
		}
		if e.Accuracy < f.accuracy {
			return false, nil
		}
		q.best, q.Accuracy = c, e.Accuracy
		return true, nil
	}
	if err := bisect(searchStep, searchTop, try); err != nil {
		return nil, err
	}
	if q.best == nil {
		return nil, failedCheck{fmt.Errorf("--accuracy %g: not kept even at %gx; try --repair, a lower accuracy or finetuning", f.accuracy, searchStep)}
	}
	q.best.search = q
	return q.best, nil
}

// bisect calls try with growing speed-ups until one fails, then between the last two; it ends when they are within a factor of searchStep.
func bisect(from, top float64, try func(float64) (bool, error)) error {
	low, high := 1.0, top*2
	for x := max(from, 1.5); high > low*searchStep; {
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
		case low >= top:
			return nil
		case high > top:
			x = min(2*low, top)
		default:
			x = math.Sqrt(low * high)
		}
	}
	return nil
}

// at makes the model at a speed-up; nil where the model cannot become so fast.
func (a *app) at(ctx context.Context, s *prune.Prepared, w *mender, f *pruneFlags, speedUp float64) (*cut, error) {
	own := *f
	own.speedUp = speedUp
	r, err := own.request()
	if err != nil {
		return nil, err
	}
	p, err := s.MakePlan(ctx, r)
	var short *planner.TargetError
	if errors.As(err, &short) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return carry(ctx, s, p, w)
}
