package allocate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
)

// Options of a search.
type Options struct {
	SpeedUps  []float64         // that every trial is judged at; nil is 2, 3 and 6
	Rounds    int               // of looking around; 0 is 3, negative for none
	Step      float64           // how far the first round looks: so much of a group's units leaves less or more; each further one looks 0.6 times as far; 0 is 0.15
	Criterion planner.Criterion // that ranks within groups
	Scores    planner.Scores    // of the units, in the place of Criterion's; nil to compute them
	Progress  func(done, total int, best float64)
}

const narrower = .6

func (o Options) filled() Options {
	if o.SpeedUps == nil {
		o.SpeedUps = []float64{2, 3, 6}
	}
	o.Rounds, o.Step = cmp.Or(o.Rounds, 3), cmp.Or(o.Step, .15)
	return o
}

func (o Options) validate() error {
	for _, s := range o.SpeedUps {
		if !(s > 1) {
			return fmt.Errorf("speed-up %g: want a number above 1", s)
		}
	}
	if len(o.SpeedUps) == 0 || !(o.Step > 0 && o.Step < 1) {
		return fmt.Errorf("%d speed-ups, %d rounds of step %g: want at least one speed-up and a step between 0 and 1", len(o.SpeedUps), o.Rounds, o.Step)
	}
	return nil
}

// Point is the pruned and repaired model at one speed-up.
type Point struct {
	SpeedUp float64         `json:"speed_up"`
	Before  repair.Fidelity `json:"before"` // without offsets
	After   repair.Fidelity `json:"after"`
}

// Result of a search.
type Result struct {
	Offsets     map[string]float64   `json:"offsets"`     // by group, added to the logarithm of the scores; their mean is 0
	Sensitivity map[string]Slope     `json:"sensitivity"` // by group, of the first round
	Scores      map[string][]float64 `json:"scores"`      // by group and unit, before the offsets
	Points      []Point              `json:"points"`
	Trials      int                  `json:"trials"`
}

// Slope is how the goal, the mean over speed-ups of the logarithm of the outputs' distance (one minus their cosine), changes where one group keeps less or more than its scores say.
type Slope struct {
	Less float64 `json:"less"` // with the step's share of its units gone that would stay
	More float64 `json:"more"` // with so many kept that would leave
}

// subject is a model that is searched.
type subject struct {
	analysis  *coupling.Analysis
	reference *repair.Reference
	options   Options
	groups    []string
	scores    planner.Scores
	sorted    [][]float64 // logarithms of the groups' scores, in rising order
	speedUps  []float64
	slopes    map[string]Slope
	trials    int
}

// trial is one set of offsets and its goal: the mean logarithm of the outputs' distances.
type trial struct {
	offsets []float64
	goal    float64
	points  []repair.Fidelity
	removed []int // by group, at the speed-up in the middle
}

// Search looks for the offsets of a's groups under which the pruned and repaired model comes closest to m. The reference holds the inputs to repair on and those to judge by, some hundreds of which make the
// judgement steady. The same options give the same result on one backend.
func Search(ctx context.Context, a *coupling.Analysis, r *repair.Reference, o Options) (*Result, error) {
	o = o.filled()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &subject{analysis: a, reference: r, options: o, slopes: map[string]Slope{}}
	for i := range a.Groups {
		if g := &a.Groups[i]; g.Frozen == "" {
			s.groups = append(s.groups, g.Name)
		}
	}
	if s.scores = o.Scores; s.scores == nil {
		var err error
		if s.scores, err = planner.Score(a, nil, o.Criterion); err != nil {
			return nil, err
		}
	}
	s.sort()
	start, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	best, err := s.search(ctx, start)
	if err != nil {
		return nil, err
	}
	out := &Result{Offsets: s.byName(centred(best.offsets)), Sensitivity: s.slopes, Scores: map[string][]float64{}, Trials: s.trials}
	for i := range a.Groups {
		if g := &a.Groups[i]; g.Frozen == "" {
			for _, u := range g.Units {
				out.Scores[g.Name] = append(out.Scores[g.Name], s.scores[u])
			}
		}
	}
	for i, x := range s.speedUps {
		out.Points = append(out.Points, Point{x, start.points[i], best.points[i]})
	}
	return out, nil
}

// sort orders the scores of each group.
func (s *subject) sort() {
	for i := range s.analysis.Groups {
		g := &s.analysis.Groups[i]
		if g.Frozen != "" {
			continue
		}
		var logs []float64
		for _, u := range g.Units {
			logs = append(logs, math.Log(math.Max(s.scores[u], 1e-30)))
		}
		slices.Sort(logs)
		s.sorted = append(s.sorted, logs)
	}
}

// start judges the scores as they are, and settles on speed-ups that can be reached.
func (s *subject) start(ctx context.Context) (*trial, error) {
	t := &trial{offsets: make([]float64, len(s.groups))}
	for _, x := range s.options.SpeedUps {
		for {
			f, removed, err := s.point(ctx, t.offsets, x)
			var far *planner.TargetError
			if errors.As(err, &far) && x > 1.05 {
				x = 1 + (x-1)*.8
				continue
			}
			if err != nil {
				return nil, err
			}
			t.add(f, removed, len(s.options.SpeedUps))
			break
		}
		s.speedUps = append(s.speedUps, x)
	}
	t.settle()
	s.report(t)
	return t, nil
}

// search looks around group by group, lays a parabola through what it saw of each, and goes a part of the way to where all of them are lowest; then once more around there, more narrowly.
func (s *subject) search(ctx context.Context, start *trial) (*trial, error) {
	best, step := start, s.options.Step
	if len(s.groups) < 2 {
		return start, nil
	}
	for round := range max(s.options.Rounds, 0) {
		centre := best
		to := slices.Clone(centre.offsets)
		for i, g := range s.groups {
			var seen [2]float64
			for k, share := range []float64{-step, step} {
				offsets := slices.Clone(centre.offsets)
				offsets[i] = s.moved(centre, i, share)
				t := centre
				if offsets[i] != centre.offsets[i] {
					var err error
					if t, err = s.judge(ctx, offsets); err != nil {
						return nil, err
					}
				}
				if t.goal < best.goal {
					best = t
				}
				s.report(best)
				seen[k] = t.goal - centre.goal
			}
			if round == 0 {
				s.slopes[g] = Slope{seen[0], seen[1]}
			}
			to[i] = s.moved(centre, i, step*lowest(seen[0], seen[1]))
		}
		for _, part := range []float64{.35, .7, 1} {
			t, err := s.judge(ctx, between(centre.offsets, to, part))
			if err != nil {
				return nil, err
			}
			if t.goal < best.goal {
				best = t
			}
			s.report(best)
		}
		step *= narrower
	}
	return best, nil
}

// moved is the offset with which a group keeps so large a share of its units more than in a trial, one unit at least; less where the share is negative. Scores of a group may lie close together or far apart, so that a step in the
// scores themselves would do nothing to one group and take all of another.
func (s *subject) moved(t *trial, i int, share float64) float64 {
	scores := s.sorted[i]
	n := float64(len(scores))
	by := math.Copysign(max(math.Abs(share)*n, 1), share)
	if share == 0 {
		by = 0
	}
	was := float64(t.removed[i])
	now := min(max(was-by, 0), n-1)
	return t.offsets[i] + cut(scores, was) - cut(scores, now)
}

// cut is the logarithm of the score below which so many units leave: between two of them, and beyond the ends as far as they lie apart on average.
func cut(sorted []float64, removed float64) float64 {
	n := len(sorted)
	apart := (sorted[n-1]-sorted[0])/float64(n) + 1e-6
	at := func(k int) float64 {
		switch {
		case k <= 0:
			return sorted[0] - apart
		case k >= n:
			return sorted[n-1] + apart
		}
		return (sorted[k-1] + sorted[k]) / 2
	}
	k := math.Floor(removed)
	return at(int(k)) + (removed-k)*(at(int(k)+1)-at(int(k)))
}

// lowest is where a parabola through (-1, less), (0, 0) and (1, more) is lowest between -1 and 1.
func lowest(less, more float64) float64 {
	bend := less + more
	if math.IsNaN(bend) { // out of reach
		return 0
	}
	if bend <= math.Abs(less-more)/2 { // the end that is lower
		switch {
		case less < more && less < 0:
			return -1
		case more < less && more < 0:
			return 1
		}
		return 0
	}
	return (less - more) / (2 * bend)
}

// judge tries offsets at every speed-up.
func (s *subject) judge(ctx context.Context, offsets []float64) (*trial, error) {
	t := &trial{offsets: offsets}
	for _, x := range s.speedUps {
		f, removed, err := s.point(ctx, offsets, x)
		var far *planner.TargetError
		if errors.As(err, &far) {
			f, removed, err = repair.Fidelity{Cosine: math.NaN()}, make([]int, len(s.groups)), nil
		}
		if err != nil {
			return nil, err
		}
		t.add(f, removed, len(s.speedUps))
	}
	t.settle()
	return t, nil
}

// point prunes to a speed-up and repairs; it also says how many units of each group left.
func (s *subject) point(ctx context.Context, offsets []float64, speedUp float64) (repair.Fidelity, []int, error) {
	fail := func(err error) (repair.Fidelity, []int, error) { return repair.Fidelity{}, nil, err }
	plan, err := planner.MakePlan(ctx, s.analysis, planner.Options{Target: planner.Target{SpeedUp: speedUp}, Criterion: s.options.Criterion, Scores: s.scores, Allocation: s.byName(offsets)})
	if err != nil {
		return fail(err)
	}
	small, err := planner.Apply(s.analysis, plan)
	if err != nil {
		return fail(err)
	}
	fitted, _, err := s.reference.Fit(ctx, small, plan.Removed, repair.Solve, repair.Options{})
	if err != nil {
		return fail(err)
	}
	f, err := s.reference.Fidelity(ctx, fitted)
	if err != nil {
		return fail(err)
	}
	removed := make([]int, len(plan.Groups))
	for i := range plan.Groups {
		removed[i] = len(plan.Groups[i].Removed)
	}
	return f, removed, nil
}

func (s *subject) report(best *trial) {
	s.trials++
	if s.options.Progress != nil {
		s.options.Progress(s.trials, 1+max(s.options.Rounds, 0)*(2*len(s.groups)+3), best.goal)
	}
}

func (s *subject) byName(offsets []float64) map[string]float64 {
	out := map[string]float64{}
	for i, g := range s.groups {
		out[g] = offsets[i]
	}
	return out
}

// add notes the result at the next of n speed-ups.
func (t *trial) add(f repair.Fidelity, removed []int, n int) {
	if len(t.points) == n/2 {
		t.removed = removed
	}
	t.points = append(t.points, f)
}

// settle works out the goal.
func (t *trial) settle() {
	t.goal = 0
	for _, f := range t.points {
		t.goal += math.Log(math.Max(f.Distance(), 1e-9)) / float64(len(t.points))
	}
}

func between(from, to []float64, share float64) []float64 {
	out := make([]float64, len(from))
	for i := range out {
		out[i] = from[i] + share*(to[i]-from[i])
	}
	return out
}

// centred takes the mean off, which changes nothing about the ranking.
func centred(v []float64) []float64 {
	m := 0.0
	for _, x := range v {
		m += x / float64(len(v))
	}
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = x - m
	}
	return out
}
