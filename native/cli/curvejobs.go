package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
)

// pointsFile is the last file of a job's folder: it says that the job is done.
const pointsFile = "points.json"

// curveVersion counts up when what the points count, or the options that they follow from, change. Version 1 had no number, knew files by their names alone, and did not count products of integers.
const curveVersion = 2

// curveJob is what one machine measures at a time: a model by one criterion and one seed at all speed-ups, or the model itself.
type curveJob struct {
	Version     int          `json:"version"`
	Model       string       `json:"model"`
	ModelSHA256 string       `json:"model_sha256"`
	Criterion   string       `json:"criterion"`
	Seed        int64        `json:"seed"`
	Options     curveOptions `json:"options"`
	Points      []curvePoint `json:"points"`
}

// curveOptions is what the numbers follow from beside model, criterion and seed.
type curveOptions struct {
	SpeedUps   []string `json:"speed_ups"`
	Weights    string   `json:"weights"`
	Allocation string   `json:"allocation"` // name and hash of the file
	Ranking    string   `json:"ranking"`
	Metanet    string   `json:"metanet"` // name and hash of the file
	Repair     string   `json:"repair"`
	Calibrate  string   `json:"calibrate"`
	Samples    int      `json:"samples"`
	Data       []string `json:"data"` // the set, and how its inputs are made
	Limit      int      `json:"limit"`
}

func (f *curveFlags) options() (curveOptions, error) {
	d := &f.data
	files := map[string]string{}
	for _, path := range []string{f.allocation, f.metanet.file} {
		sum, err := hashedFile(path)
		if err != nil {
			return curveOptions{}, err
		}
		files[path] = sum
	}
	return curveOptions{SpeedUps: f.speedUps, Weights: f.weights, Allocation: files[f.allocation], Ranking: f.ranking, Metanet: files[f.metanet.file], Repair: f.repair.mode, Calibrate: f.repair.calibrate, Samples: f.repair.samples,
		Data: []string{d.spec, d.images, d.labels, d.mean, d.std, fmt.Sprintf("%q", d.inputs)}, Limit: d.limit}, nil
}

// hashedFile is the name of a file with the hash of what it holds, so that another file of that name is another option; nothing for no file.
func hashedFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Sprintf("%s sha256:%x", filepath.Base(path), sum.Sum(nil)), nil
}

func (j *curveJob) folder() string {
	if j.Criterion == "none" {
		return j.Model + ".none"
	}
	return fmt.Sprintf("%s.%s.s%d", j.Model, j.Criterion, j.Seed)
}

// jobs lists what there is to measure of a model, in one order.
func (f *curveFlags) jobs(name, sha string, options curveOptions) []*curveJob {
	job := func(criterion string, seed int64) *curveJob {
		return &curveJob{Version: curveVersion, Model: name, ModelSHA256: sha, Criterion: criterion, Seed: seed, Options: options}
	}
	out := []*curveJob{job("none", f.seeds[0])}
	for _, c := range f.criteria {
		for _, seed := range f.seeds {
			out = append(out, job(c, seed))
		}
	}
	return out
}

// curveRun is one call of curve: its part of the jobs, and where their points go.
type curveRun struct {
	*curveFlags
	app     *app
	backend *xla.Backend
	place   *place // nil where nothing is kept
	k, n    int    // jobs whose number leaves k when divided by n
	number  int    // of the next job
	images  int
	missing int // jobs of others that are not done
}

// measuring is a model with what its jobs share; all of it is made when a job needs it.
type measuring struct {
	s       *prune.Session
	set     *data.Set
	menders map[int64]*mender // by seed; nil without a repair
}

// mender is the repair of a seed, which all criteria share.
func (r *curveRun) mender(ctx context.Context, m *measuring, seed int64) (*mender, error) {
	if w, ok := m.menders[seed]; ok {
		return w, nil
	}
	w, err := r.app.mender(ctx, &r.repair, &r.data, r.backend, m.s.Model, seed)
	if err == nil {
		m.menders[seed] = w
	}
	return w, err
}

// model measures this run's jobs of one model and gathers what others have measured.
func (r *curveRun) model(ctx context.Context, name string, s *prune.Session) ([]curvePoint, error) {
	m := &measuring{s: s, menders: map[int64]*mender{}}
	var out []curvePoint
	options, err := r.options()
	if err != nil {
		return nil, err
	}
	for _, j := range r.jobs(name, s.SHA256(), options) {
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
func (r *curveRun) kept(ctx context.Context, j *curveJob, do func(done bool) error) error {
	if r.place == nil {
		return do(false)
	}
	return r.place.with(ctx, j.folder(), pointsFile, func(folder string) error {
		path := filepath.Join(folder, j.folder(), pointsFile)
		text, err := os.ReadFile(path)
		if err == nil {
			return errors.Join(j.take(text, path), do(true))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := do(false); err != nil || j.Points == nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return outfile.Write(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(j) })
	})
}

// take takes over the points of an earlier run, which has to have measured the same.
func (j *curveJob) take(text []byte, path string) error {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("%s: %w; remove it to measure these points again", path, err)
	}
	if head.Version != curveVersion {
		return fmt.Errorf("%s holds points of version %d, and this program measures version %d; choose another --output, or remove it to measure these points again", path, max(head.Version, 1), curveVersion)
	}
	var had curveJob
	if err := planner.Strict(text, &had); err != nil {
		return fmt.Errorf("%s: %w; remove it to measure these points again", path, err)
	}
	if had.ModelSHA256 != j.ModelSHA256 || had.Criterion != j.Criterion || had.Seed != j.Seed || !reflect.DeepEqual(had.Options, j.Options) {
		return fmt.Errorf("%s holds points of another model or of other options; give another --output", path)
	}
	j.Points = had.Points
	return nil
}

// measure fills in the job's points.
func (r *curveRun) measure(ctx context.Context, m *measuring, j *curveJob) error {
	defer r.app.stage(j.Model + " by " + j.Criterion).end()
	if m.set == nil {
		splits, err := r.data.open(m.s.Model)
		if err != nil {
			return err
		}
		if m.set, err = r.data.labelled(splits); err != nil {
			return err
		}
	}
	if j.Criterion == "none" {
		base, err := score(ctx, r.backend, m.s.Model, m.set, r.data.batch)
		if err != nil {
			return err
		}
		j.Points = []curvePoint{{Model: j.Model, Criterion: "none", Wanted: 1, SpeedUp: 1, Params: m.s.Analysis.NewState().Params(), Bytes: m.s.Size() + m.s.Model.ExternalSize(), Accuracy: base.Accuracy, Loss: base.Loss, Repair: "none"}}
		return nil
	}
	w, err := r.mender(ctx, m, j.Seed)
	if err != nil {
		return err
	}
	j.Points, err = r.criterion(ctx, w, j, m)
	return err
}

// averaged is a point's mean over the seeds, with the standard deviation of its accuracy.
type averaged struct {
	curvePoint
	seeds  int
	spread float64
}

// average gathers the seeds of each model, criterion and target, in the order in which they come.
func average(points []curvePoint) []averaged {
	type key struct {
		model, criterion string
		wanted           float64
	}
	by := map[key][]curvePoint{}
	var order []key
	for _, p := range points {
		k := key{p.Model, p.Criterion, p.Wanted}
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], p)
	}
	var out []averaged
	for _, k := range order {
		a := averaged{curvePoint: by[k][0], seeds: len(by[k])}
		n := float64(a.seeds)
		a.SpeedUp, a.Accuracy, a.Loss = 0, 0, 0
		for _, p := range by[k] {
			a.SpeedUp += p.SpeedUp / n
			a.Accuracy += p.Accuracy / n
			a.Loss += p.Loss / n
		}
		for _, p := range by[k] {
			a.spread += (p.Accuracy - a.Accuracy) * (p.Accuracy - a.Accuracy) / n
		}
		a.spread = math.Sqrt(a.spread)
		out = append(out, a)
	}
	return out
}
