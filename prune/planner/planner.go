package planner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/metaprune/metaprune/graphcodec/coupling"
)

// Target is what to reach; exactly one field is set.
type Target struct {
	SpeedUp float64 `json:"speed_up,omitempty"` // MACs before / after, with shapes evaluated and at static shapes (graphcodec.State.VisibleMACs)
	Params  float64 `json:"params,omitempty"`   // share of the parameters that may stay
	Bytes   int64   `json:"bytes,omitempty"`    // size of the files that are written: the model and its external data
	Ratio   float64 `json:"ratio,omitempty"`    // share of the prunable units that leave

	Computed bool `json:"computed,omitempty"` // SpeedUp counts MACs with shapes evaluated and nothing else
}

// Options of planning. The zero value but for the target ranks globally in one shot.
type Options struct {
	Target     Target
	Criterion  Criterion
	Ranking    string             // "global" (also ""), "group", "isomorphic"
	Steps      int                // importance is recomputed on what is left after each; 0 is 1
	RoundTo    int                // groups keep a multiple of this many units; 0 is 1
	MaxRatio   float64            // remove at most this share of each group, 0 to 1; 0 is 1
	Ignore     []string           // names or globs of tensors, nodes or groups, or IDs of groups: these groups are kept whole, and get no zeros; an OptionError where one fits nothing
	Attention  coupling.Kind      // of an attention, only heads or only channels of heads leave; empty for both
	Allocation map[string]float64 // by a group's ID, name or tensor: added to the logarithm of its units' scores, so that it keeps more or less than its share
	DataFile   string             // name of the file of external data that the model is written with, for a target in bytes; empty where there is none
	Scores     Scores             // of the units, from Score with the same criterion while everything is left; nil to compute them
	Progress   func(done, total float64)
}

// TargetError reports a target that cannot be reached.
type TargetError struct {
	Want, Got string
	Advice    string // what to do about it, where the model tells
}

func (e *TargetError) Error() string {
	said := fmt.Sprintf("the target %s cannot be reached; the most that can be removed gives %s", e.Want, e.Got)
	if e.Advice != "" {
		said += ". " + e.Advice
	}
	return said
}

func (t Target) validate() error {
	n := 0
	for _, set := range []bool{t.SpeedUp != 0, t.Params != 0, t.Bytes != 0, t.Ratio != 0} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return &OptionError{Where: "target", Want: "exactly one target: speed-up, params, size or ratio"}
	case t.SpeedUp != 0 && !(t.SpeedUp >= 1):
		return outOfRange("speed-up", "at least 1", t.SpeedUp)
	case t.Params != 0 && !(t.Params > 0 && t.Params <= 1):
		return outOfRange("params", aShare, t.Params)
	case t.Ratio != 0 && !(t.Ratio > 0 && t.Ratio < 1):
		return outOfRange("ratio", aShare, t.Ratio)
	case t.Computed && t.SpeedUp == 0:
		return fmt.Errorf("count-computed applies only to a speed-up")
	case t.Bytes < 0:
		return outOfRange("size", "a positive number of bytes", float64(t.Bytes))
	}
	return nil
}

const aShare = "a share between 0 and 1"

func outOfRange(where, want string, got float64) error {
	return &OptionError{Where: where, Want: want, Got: strconv.FormatFloat(got, 'g', -1, 64)}
}

// progress returns how far the state is on the way to the target: 1 or more is there.
func (p *planner) progress() float64 {
	t, start, s := p.o.Target, p.start, p.state
	share := func(whole, left, goal float64) float64 {
		if whole <= goal {
			return 1
		}
		return (whole - left) / (whole - goal)
	}
	switch {
	case t.SpeedUp != 0:
		if start.MACs() == 0 {
			return 0
		}
		// Both counts have to reach it, so that whoever measures the smaller model finds what was asked for.
		if p.computed {
			return t.speedUp(start.MACs(), s.MACs())
		}
		return min(t.speedUp(start.MACs(), s.MACs()), t.speedUp(start.VisibleMACs(), s.VisibleMACs()))
	case t.Params != 0:
		return share(float64(start.Params()), float64(s.Params()), t.Params*float64(start.Params()))
	case t.Bytes != 0:
		return share(float64(start.Bytes()+p.rest), float64(s.Bytes()+p.rest), float64(t.Bytes))
	}
	if p.total == 0 {
		return 0
	}
	return float64(s.Count()) / (t.Ratio * float64(p.total))
}

// speedUp returns how far a cost is on its way from whole to whole / SpeedUp.
func (t Target) speedUp(whole, left int64) float64 {
	w, l := float64(whole), float64(left)
	if w >= t.SpeedUp*l {
		return 1
	}
	return min((w-l)/(w-w/t.SpeedUp), 1-1e-12)
}

func (p *planner) describe() (want, got string) {
	t, start, s, units := p.o.Target, p.start, p.state, p.total
	switch {
	case t.SpeedUp != 0 && start.MACs() == 0:
		return fmt.Sprintf("speed-up %g", t.SpeedUp), "none: no layer with known MACs can be pruned"
	case t.SpeedUp != 0:
		real, seen := float64(start.MACs())/float64(max(s.MACs(), 1)), float64(start.VisibleMACs())/float64(max(s.VisibleMACs(), 1))
		if p.computed || start.VisibleMACs() == 0 {
			seen = real
		}
		got = fmt.Sprintf("%.3f", math.Floor(min(real, seen)*1000)/1000) // what is said can be asked for
		if real > 1.01*seen {
			got += fmt.Sprintf(", counted at static shapes (%.2f with shapes evaluated: give count-computed to count only these, or give params, a size, a ratio or a latency instead)", real)
		}
		return fmt.Sprintf("speed-up %g", t.SpeedUp), got
	case t.Params != 0:
		return fmt.Sprintf("params %g", t.Params), fmt.Sprintf("%.3f", float64(s.Params())/float64(max(start.Params(), 1)))
	case t.Bytes != 0:
		return fmt.Sprintf("size %d bytes", t.Bytes), fmt.Sprintf("%d bytes", s.Bytes()+p.rest)
	}
	if units == 0 {
		return fmt.Sprintf("ratio %g", t.Ratio), "none: no channel of this model can be pruned"
	}
	return fmt.Sprintf("ratio %g", t.Ratio), fmt.Sprintf("%.3f", float64(s.Count())/float64(max(units, 1)))
}

type planner struct {
	a     *coupling.Analysis
	o     Options
	start *coupling.State
	state *coupling.State
	total int       // prunable units
	limit []int     // by group: how many may leave
	gone  []int     // by group
	bias  []float64 // by group: factors of the scores, nil for none
	rest  int64     // bytes of the files that are no constants, for a target in bytes

	computed bool // a speed-up goes by the MACs with shapes evaluated alone
}

// MakePlan chooses the units that leave. ModelSHA256 is left to the caller.
func MakePlan(ctx context.Context, a *coupling.Analysis, o Options) (*Plan, error) {
	if err := o.Target.validate(); err != nil {
		return nil, err
	}
	if !(o.MaxRatio >= 0 && o.MaxRatio <= 1) {
		return nil, outOfRange("max-ratio", aShare, o.MaxRatio)
	}
	if err := OneOf("ranking", cmp.Or(o.Ranking, "global"), "global", "group", "isomorphic"); err != nil {
		return nil, err
	}
	if err := OneOf("attention", cmp.Or(string(o.Attention), string(coupling.Heads)), string(coupling.Heads), string(coupling.HeadDim)); err != nil {
		return nil, err
	}
	if o.Scores != nil && len(o.Scores) != a.NumUnits() {
		return nil, fmt.Errorf("%d scores for %d units", len(o.Scores), a.NumUnits())
	}
	p := &planner{a: a, o: o, start: a.NewState(), state: a.NewState(), limit: make([]int, len(a.Groups)), gone: make([]int, len(a.Groups))}
	p.computed = o.Target.Computed || !p.start.StaticCounts()
	if err := p.limits(); err != nil {
		return nil, err
	}
	if len(o.Allocation) > 0 && o.Ranking != "" && o.Ranking != "global" {
		return nil, fmt.Errorf("an allocation shifts the scores of whole groups, which ranking %s ignores; give only one of them", o.Ranking)
	}
	if err := p.allocation(); err != nil {
		return nil, err
	}
	choose := p.choose
	switch {
	case o.Target.Bytes != 0:
		choose = p.chooseBySize
	case o.Target.SpeedUp != 0 && !p.computed:
		choose = p.chooseBalanced
	}
	if err := choose(ctx); err != nil {
		if t := (*TargetError)(nil); errors.As(err, &t) {
			t.Advice = a.Advice()
		}
		return nil, err
	}
	c := o.Criterion
	plan := &Plan{Format: "metaprune-plan", Version: PlanVersion, Criterion: cmp.Or(c.Kind, "l2"), Reduction: cmp.Or(c.Reduction, "mean"),
		Normalizer: cmp.Or(c.Normalizer, "mean"), Ranking: cmp.Or(o.Ranking, "global"), Seed: c.Seed, Repair: "none", Weights: "original", Target: o.Target}
	plan.Allocation, plan.Attention = o.Allocation, o.Attention
	plan.record(a, p.state)
	return plan, nil
}

// choose removes units until the target is reached, in as many steps as are wanted.
func (p *planner) choose(ctx context.Context) error {
	steps := max(p.o.Steps, 1)
	for i := 1; i <= steps; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		scores := p.o.Scores
		if scores == nil || i > 1 {
			var err error
			if scores, err = Score(p.a, p.state, p.o.Criterion); err != nil {
				return err
			}
			if i == 1 {
				p.o.Scores = scores // of the whole model, should it be asked again
			}
		}
		p.fill(p.rank(p.allocated(scores)), float64(i)/float64(steps))
		if p.o.Progress != nil {
			p.o.Progress(float64(i), float64(steps))
		}
	}
	if p.progress() < 1 {
		want, got := p.describe()
		return &TargetError{Want: want, Got: got}
	}
	return nil
}

// allocation checks that every offset is a number and belongs to a group.
func (p *planner) allocation() error {
	left := maps.Clone(p.o.Allocation)
	for i := range p.a.Groups {
		for _, name := range []string{p.a.Groups[i].ID, p.a.Groups[i].Name, p.a.Groups[i].Tensor} {
			delete(left, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		return fmt.Errorf("allocation: the model has no group %q", name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.o.Allocation)) {
		if v := p.o.Allocation[name]; !(math.Abs(v) <= 100) {
			return fmt.Errorf("allocation: the offset of group %q is %g; want a number between -100 and 100", name, v)
		}
	}
	return nil
}

// allocated are scores with their groups' offsets.
func (p *planner) allocated(scores Scores) Scores {
	if len(p.o.Allocation) == 0 && p.bias == nil {
		return scores
	}
	out := slices.Clone(scores)
	for i := range p.a.Groups {
		g := &p.a.Groups[i]
		if p.bias != nil {
			for _, u := range g.Units {
				out[u] *= p.bias[i]
			}
		}
		if v, _ := coupling.Of(p.o.Allocation, g); v != 0 {
			for _, u := range g.Units {
				out[u] *= math.Exp(v)
			}
		}
	}
	return out
}

// limits works out how many units of each group may be removed.
func (p *planner) limits() error {
	whole, err := ignored(p.a, p.o.Ignore)
	if err != nil {
		return err
	}
	for i := range p.a.Groups {
		g := &p.a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		p.total += len(g.Units)
		p.limit[i] = len(g.Units)
		if p.o.MaxRatio > 0 {
			p.limit[i] = int(math.Floor(p.o.MaxRatio*float64(len(g.Units)) + 1e-9))
		}
		if whole[i] || p.o.Attention != "" && g.Kind != "" && g.Kind != p.o.Attention {
			p.limit[i] = 0
		}
	}
	return nil
}

// chunk is what leaves at once: one unit, or as many as round-to asks for.
type chunk struct {
	key   float64
	group int
	units []coupling.UnitID
}

// rank orders what can be removed: least important first, ties by the tensors that groups are called by, then by position.
func (p *planner) rank(scores Scores) []chunk {
	var all []chunk
	for i := range p.a.Groups {
		if p.a.Groups[i].Frozen == "" {
			all = append(all, p.chunks(i, scores)...)
		}
	}
	if p.o.Ranking == "group" || p.o.Ranking == "isomorphic" {
		p.percentiles(all)
	}
	order := make([]int32, len(all)) // numbers are sorted and not the chunks themselves: the program has that code already
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(i, j int32) int {
		x, y := &all[i], &all[j]
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(p.a.Groups[x.group].Tensor, p.a.Groups[y.group].Tensor), cmp.Compare(x.units[0], y.units[0]))
	})
	sorted := make([]chunk, len(all))
	for at, i := range order {
		sorted[at] = all[i]
	}
	return sorted
}

// chunks cuts a group's units, least important first, so that whole multiples of round-to stay.
func (p *planner) chunks(i int, scores Scores) []chunk {
	g := &p.a.Groups[i]
	var left []coupling.UnitID
	for _, u := range g.Units {
		if !p.state.Removed(u) {
			left = append(left, u)
		}
	}
	slices.SortStableFunc(left, func(a, b coupling.UnitID) int { return cmp.Compare(scores[a], scores[b]) })
	round := max(p.o.RoundTo, 1)
	var out []chunk
	key := math.Inf(-1)
	for len(left) > 0 {
		n := len(left) % round
		if n == 0 {
			n = round
		}
		if len(left) <= n && round > 1 {
			break
		}
		key = max(key, scores[left[n-1]])
		out = append(out, chunk{key, i, left[:n]})
		left = left[n:]
	}
	return out
}

// percentiles replaces scores by ranks within each group or each class of groups of equal structure.
func (p *planner) percentiles(all []chunk) {
	classes := map[string][]int32{}
	for i, c := range all {
		g := &p.a.Groups[c.group]
		key := fmt.Sprint(c.group)
		if p.o.Ranking == "isomorphic" {
			key = p.a.Signature(g)
		}
		classes[key] = append(classes[key], int32(i))
	}
	for _, members := range classes {
		slices.SortStableFunc(members, func(a, b int32) int { return cmp.Compare(all[a].key, all[b].key) })
		for rank, i := range members {
			all[i].key = (float64(rank) + 0.5) / float64(len(members))
		}
	}
}

// fill removes chunks in order until the share of the way to the target is done.
func (p *planner) fill(order []chunk, share float64) {
	reached := func() bool { return p.progress() >= share }
	if reached() {
		return
	}
	for _, c := range order {
		if p.gone[c.group]+len(c.units) > p.limit[c.group] || !p.state.CanRemove(c.units...) {
			continue
		}
		for _, u := range c.units {
			p.state.Remove(u)
		}
		p.gone[c.group] += len(c.units)
		if reached() {
			return
		}
	}
}
