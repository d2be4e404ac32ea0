package cli

import (
	"context"
	"fmt"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/native/experiment"
	"github.com/metaprune/metaprune/prune"
)

func (f *curveFlags) options() (experiment.Options, error) {
	d := &f.data
	files := map[string]string{}
	for _, path := range []string{f.allocation, f.metanet.file} {
		sum, err := experiment.HashedFile(path)
		if err != nil {
			return experiment.Options{}, err
		}
		files[path] = sum
	}
	return experiment.Options{SpeedUps: f.speedUps, Weights: f.weights, Allocation: files[f.allocation], Ranking: f.ranking, Metanet: files[f.metanet.file], Repair: f.repair.mode, Calibrate: f.repair.calibrate, Samples: f.repair.samples,
		Data: []string{d.spec, d.images, d.labels, d.mean, d.std, fmt.Sprintf("%q", d.inputs)}, Limit: d.limit}, nil
}

// curveRun is one call of curve: its part of the jobs, and where their points go.
type curveRun struct {
	*curveFlags
	app     *app
	runtime *engines.Runtime
	place   *place // nil where nothing is kept
	k, n    int    // jobs whose number leaves k when divided by n
	number  int    // of the next job
	images  int
	missing int // jobs of others that are not done
}

// measuring is a model with what its jobs share; all of it is made when a job needs it.
type measuring struct {
	s       *prune.Model
	set     *data.Set
	menders map[int64]*mender // by seed; nil without a repair
}

// mender is the repair of a seed, which all criteria share.
func (r *curveRun) mender(ctx context.Context, m *measuring, seed int64) (*mender, error) {
	if w, ok := m.menders[seed]; ok {
		return w, nil
	}
	w, err := r.app.mender(ctx, &r.repair, &r.data, r.runtime, m.s.ONNX, seed)
	if err == nil {
		m.menders[seed] = w
	}
	return w, err
}

// model measures this run's jobs of one model and gathers what others have measured.
func (r *curveRun) model(ctx context.Context, name string, s *prune.Model) ([]experiment.Point, error) {
	m := &measuring{s: s, menders: map[int64]*mender{}}
	var out []experiment.Point
	options, err := r.options()
	if err != nil {
		return nil, err
	}
	for _, j := range experiment.Jobs(name, s.SHA256(), r.criteria, r.seeds, options) {
		own := r.number%r.n == r.k
		r.number++
		if err := r.kept(ctx, j, func(done bool) error {
			if done {
				return nil
			}
			if !own {
				r.missing++
				return nil
			}
			return r.measure(ctx, m, j)
		}); err != nil {
			return nil, err
		}
		out = append(out, j.Points...)
	}
	if m.set != nil {
		r.images = m.set.N
	}
	return out, nil
}

// kept calls do with whether the place has the job's points, and keeps those that it makes.
func (r *curveRun) kept(ctx context.Context, j *experiment.Job, do func(done bool) error) error {
	if r.place == nil {
		return do(false)
	}
	return r.place.with(ctx, j.Folder(), experiment.PointsFile, func(folder string) error { return j.Keep(folder, do) })
}

// measure fills in the job's points.
func (r *curveRun) measure(ctx context.Context, m *measuring, j *experiment.Job) error {
	defer r.app.stage(j.Model + " by " + j.Criterion).end()
	if m.set == nil {
		splits, err := r.data.open(m.s.ONNX)
		if err != nil {
			return err
		}
		if m.set, err = r.data.labelled(splits); err != nil {
			return err
		}
	}
	if j.Criterion == "none" {
		base, err := r.runtime.Score(ctx, m.s.ONNX, m.set, r.data.batch)
		if err != nil {
			return err
		}
		j.Points = []experiment.Point{{Model: j.Model, Criterion: "none", Wanted: 1, SpeedUp: 1, Params: m.s.Analysis.NewState().Params(), Bytes: m.s.Size() + m.s.ONNX.ExternalSize(), Accuracy: base.Accuracy, Loss: base.Loss, Repair: "none"}}
		return nil
	}
	w, err := r.mender(ctx, m, j.Seed)
	if err != nil {
		return err
	}
	j.Points, err = r.criterion(ctx, w, j, m)
	return err
}
