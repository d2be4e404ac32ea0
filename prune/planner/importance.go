package planner

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// Criterion says how units are scored. Its zero value is group L2 with mean reduction and mean normaliser.
type Criterion struct {
	Kind       string `json:"kind"`       // "l2" (also ""), "l1", "bn", "fpgm" (distance to the other slices, https://arxiv.org/abs/1811.00250), "random", "metanet": l2 of Weights
	Reduction  string `json:"reduction"`  // over a group's members: "mean" (also ""), "sum", "max", "first"
	Normalizer string `json:"normalizer"` // within a group: "mean" (also ""), "max", "none", "lamp" (by the sum of those that are as large or larger, https://arxiv.org/abs/2010.07611); "original": the mean that the model's own weights give where Weights stands in for them, so that whole groups can gain and lose; "order": the scores of the model's own weights, handed out within the group in the order that Weights gives
	Seed       int64  `json:"seed"`       // of random
	// Weights gives what a constant is scored by in its place: a metanetwork's output, with the same dims; nil for the constant itself. Kind "metanet" needs it.
	Weights func(c *op.Constant) (*onnxio.Tensor, error) `json:"-"`
}

// Criteria lists the kinds that need nothing but the model.
var Criteria = []string{"l2", "l1", "bn", "fpgm", "random"}

func (c Criterion) validate() error {
	check := func(what, v string, names ...string) error {
		if v == "" {
			return nil
		}
		return OneOf(what, v, names...)
	}
	if err := check("criterion", c.Kind, "l2", "l1", "bn", "fpgm", "random", "metanet"); err != nil {
		return err
	}
	if c.Kind == "metanet" && c.Weights == nil {
		return errors.New("criterion metanet: no metanetwork's weights are given")
	}
	if err := check("reduction", c.Reduction, "mean", "sum", "max", "first"); err != nil {
		return err
	}
	return check("normalizer", c.Normalizer, "mean", "max", "none", "lamp", "original", "order")
}

// Scores holds the importance of every prunable unit by its id; the others have NaN.
type Scores []float64

// Score computes the importance of every unit that is left in state.
func Score(a *coupling.Analysis, state *coupling.State, c Criterion) (Scores, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &scorer{a: a, state: state, c: c, sums: map[*op.Constant]axisSums{}}
	out := make(Scores, a.NumUnits())
	for i := range out {
		out[i] = math.NaN()
	}
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		v, err := s.group(g)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", g.Name, err)
		}
		for k, u := range g.Units {
			out[u] = v[k]
		}
	}
	return out, nil
}

type scorer struct {
	a     *coupling.Analysis
	state *coupling.State
	c     Criterion
	sums  map[*op.Constant]axisSums
	plain *scorer
}

// group returns the importance of a group's units.
func (s *scorer) group(g *coupling.Group) ([]float64, error) {
	if s.c.Kind == "random" {
		h := fnv.New64a()
		h.Write([]byte(g.Tensor))
		r := rand.New(rand.NewPCG(uint64(s.c.Seed), h.Sum64()))
		out := make([]float64, len(g.Units))
		for i := range out {
			out[i] = r.Float64()
		}
		return out, nil
	}
	var members []coupling.Member
	for _, m := range g.Members {
		if s.counts(m) {
			members = append(members, m)
		}
	}
	return s.Reduce(g, members)
}

// counts reports whether a member takes part in the score.
func (s *scorer) counts(m coupling.Member) bool {
	if !m.Const.Counts() {
		return false
	}
	switch s.c.Kind {
	case "bn":
		return m.Role == op.Norm
	case "fpgm":
		return m.Role == op.Output || m.Role == op.Input
	}
	return m.Role == op.Output || m.Role == op.Input || m.Role == op.Norm
}

// Reduce scores the units of a group over the given members, in their order. Where a unit stands at several positions of a member (a flattened map), mean and sum add them up, max and
// first take the last one, as Torch-Pruning's scatter does.
func (s *scorer) Reduce(g *coupling.Group, members []coupling.Member) ([]float64, error) {
	out := make([]float64, len(g.Units))
	for n, m := range members {
		sums, err := s.axis(m)
		if err != nil {
			return nil, err
		}
		for i, u := range g.Units {
			local := 0.0
			for _, p := range s.a.Positions(u, m) {
				if s.c.Reduction == "max" || s.c.Reduction == "first" {
					local = sums[p]
				} else {
					local += sums[p]
				}
			}
			switch {
			case s.c.Reduction == "max" && n > 0:
				out[i] = max(out[i], local)
			case s.c.Reduction == "max", s.c.Reduction == "first" && n == 0:
				out[i] = local
			case s.c.Reduction != "first":
				out[i] += local
			}
		}
	}
	if s.c.Reduction == "" || s.c.Reduction == "mean" {
		for i := range out {
			out[i] /= float64(max(len(members), 1))
		}
	}
	by := out
	if s.c.Weights != nil && (s.c.Normalizer == "original" || s.c.Normalizer == "order") {
		var err error
		if by, err = s.own().Reduce(g, members); err != nil {
			return nil, err
		}
	}
	if s.c.Normalizer == "order" {
		out = s.ordered(g, out, by)
		by = out
	}
	s.normalize(g, out, by)
	return out, nil
}

// ordered hands scores out among the units that are left, in the order of others; equal ones keep theirs.
func (s *scorer) ordered(g *coupling.Group, order, scores []float64) []float64 {
	out := slices.Clone(scores)
	var left []int32
	for i, u := range g.Units {
		if s.state == nil || !s.state.Removed(u) {
			left = append(left, int32(i))
		}
	}
	own := make([]float64, len(left))
	for k, i := range left {
		own[k] = scores[i]
	}
	slices.Sort(own)
	slices.SortStableFunc(left, func(i, k int32) int {
		return cmp.Or(cmp.Compare(order[i], order[k]), cmp.Compare(scores[i], scores[k]))
	})
	for k, i := range left {
		out[i] = own[k]
	}
	return out
}

// own scores by the model's own weights, without normalising.
func (s *scorer) own() *scorer {
	if s.plain == nil {
		c := s.c
		c.Weights, c.Normalizer = nil, "none"
		s.plain = &scorer{a: s.a, state: s.state, c: c, sums: map[*op.Constant]axisSums{}}
	}
	return s.plain
}

// normalize divides by the mean or the maximum of scores over the units that are left.
func (s *scorer) normalize(g *coupling.Group, v, of []float64) {
	switch s.c.Normalizer {
	case "none":
		return
	case "lamp":
		s.lamp(g, v)
		return
	}
	sum, top, n := 0.0, 0.0, 0
	for i, u := range g.Units {
		if s.state == nil || !s.state.Removed(u) {
			sum += of[i]
			top = max(top, of[i])
			n++
		}
	}
	by := sum / float64(max(n, 1))
	if s.c.Normalizer == "max" {
		by = top
	}
	if by == 0 {
		return
	}
	for i := range v {
		v[i] /= by
	}
}

// ByMean divides scores by the mean of their group, as the normaliser "mean" does.
func ByMean(a *coupling.Analysis, scores Scores) Scores {
	out := slices.Clone(scores)
	for i := range a.Groups {
		g := &a.Groups[i]
		mean := 0.0
		for _, u := range g.Units {
			mean += scores[u] / float64(len(g.Units))
		}
		for _, u := range g.Units {
			if mean > 0 {
				out[u] /= mean
			}
		}
	}
	return out
}

// lamp divides each score by the sum of those that are as large or larger, ties in the order of the units.
func (s *scorer) lamp(g *coupling.Group, v []float64) {
	var left []int32
	for i, u := range g.Units {
		if s.state == nil || !s.state.Removed(u) {
			left = append(left, int32(i))
		}
	}
	slices.SortStableFunc(left, func(i, k int32) int { return cmp.Compare(v[k], v[i]) })
	sum := 0.0
	for _, i := range left {
		if sum += v[i]; sum > 0 {
			v[i] /= sum
		}
	}
}

// axis returns the sums over a member's axis.
func (s *scorer) axis(m coupling.Member) ([]float64, error) {
	sums, ok := s.sums[m.Const]
	if ok && m.Axis <= 1 && s.c.Kind != "fpgm" {
		return sums[m.Axis], nil
	}
	t, err := m.Const.Real()
	if err != nil {
		return nil, err
	}
	if s.c.Weights != nil {
		w, err := s.c.Weights(m.Const)
		if err != nil {
			return nil, err
		}
		if w != nil {
			t = w
		}
	}
	if s.c.Kind == "fpgm" {
		return s.distances(t, m)
	}
	if m.Axis > 1 {
		return s.anyAxis(t, m)
	}
	var dead [2][]bool
	if s.state != nil {
		for k := range min(2, len(t.Dims)) {
			dead[k] = s.state.Dead(m.Const, k)
		}
	}
	if sums, err = weightSums(t, s.power(), dead); err != nil {
		return nil, err
	}
	s.sums[m.Const] = sums
	return sums[m.Axis], nil
}

func (s *scorer) power() int {
	if s.c.Kind == "l1" || s.c.Kind == "bn" {
		return 1
	}
	return 2
}

// anyAxis sums over everything but an axis after the second, without regard to what is removed.
func (s *scorer) anyAxis(t *onnxio.Tensor, m coupling.Member) ([]float64, error) {
	v, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	inner := 1
	for _, d := range t.Dims[m.Axis+1:] {
		inner *= int(d)
	}
	n := int(t.Dims[m.Axis])
	out := make([]float64, n)
	for i, x := range v {
		x = math.Abs(x)
		if s.power() == 2 {
			x = float64(x * x)
		}
		out[i/inner%n] += x
	}
	return out, nil
}
