package obs

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/gram"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
)

// layer is a node that reads a weight and, through it, the units of a group.
type layer struct {
	node    *onnxio.Node
	weight  string // the value that the node reads
	in      int    // the weight's axis of input channels
	channel int    // the input's axis of channels, from the end where negative
	groups  int
}

// Criteria that use the inputs of layers, on unlabelled samples.
const (
	OBS     = "obs"     // what the layers lose when least squares redistribute what a channel did
	Wanda   = "wanda"   // magnitudes of weights times the root mean square of what they read, https://arxiv.org/abs/2306.11695
	Hessian = "hessian" // half of squared weights times the mean square of what they read: the diagonal of the Hessian of the layers' squared error (Optimal Brain Damage, LeCun, Denker and Solla 1990)
)

// Scores returns the importance of every prunable unit of a, which is m's analysis, by one of the criteria on the samples in inputs. Units of frozen groups have NaN.
func Scores(ctx context.Context, e repair.Engine, m *onnxio.Model, a *coupling.Analysis, criterion string, inputs map[string]repair.Array) (planner.Scores, error) {
	out, err := planner.Score(a, nil, planner.Criterion{})
	if err != nil {
		return nil, err
	}
	layers := layersOf(m.Graph, a)
	chunks := engine.ChunksFor(e, inputs)
	for _, groups := range passes(a, layers) {
		p := &pass{analysis: a, layers: layers, groups: groups, diagonal: criterion != OBS, products: gram.NewProducts(e), moments: map[source]*moments{}}
		err := p.run(ctx, e, m, chunks)
		if err == nil {
			err = p.score(ctx, out, criterion)
		}
		p.products.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// score gives the units of a pass's groups their scores; those of a group that no layer reads keep what they have.
func (p *pass) score(ctx context.Context, out planner.Scores, criterion string) error {
	for _, g := range p.groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		views, err := p.views(g)
		if err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
		if criterion != OBS {
			diagonal(out, g, views, criterion)
			continue
		}
		spaces, err := p.spaces(ctx, views)
		if err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
		if len(spaces) > 0 {
			order, err := leaving(ctx, g, spaces)
			if err != nil {
				return err
			}
			reorder(out, mixed(order, out))
		}
	}
	return nil
}

// diagonal scores units one by one.
func diagonal(out planner.Scores, g *coupling.Group, views []view, criterion string) {
	sums, total := map[coupling.UnitID]float64{}, 0.0
	for _, v := range views {
		each := v.diagonal(criterion)
		for _, u := range g.Units {
			for _, p := range v.positions[u] {
				sums[u] += each[p]
				total += each[p]
			}
		}
	}
	if !(total > 0) {
		return
	}
	for _, u := range g.Units { // groups compare by shares, as with the normaliser "mean"
		out[u] = sums[u] / total * float64(len(g.Units))
	}
}

// layersOf lists the layers by the constant that their weight is, or is dequantised from; weights that
// several nodes read are left out.
func layersOf(g *onnxio.Graph, a *coupling.Analysis) map[string]*layer {
	stored := map[string]*op.Constant{}
	for _, l := range a.Layers() {
		stored[l.Weight] = l.Constant
	}
	out, seen := map[string]*layer{}, map[string]int{}
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			seen[in]++
		}
		l := coupling.LayerOf(n)
		if l == nil || !l.Linear {
			continue
		}
		name := l.Weight
		if k := stored[name]; k != nil && k.Counts() && !k.Tensor.DataType.IsFloat() {
			name = k.Name
		}
		out[name] = &layer{node: n, weight: l.Weight, in: l.In, channel: l.Channel, groups: l.Groups}
	}
	for name, l := range out {
		if seen[name] != 1 || seen[l.weight] != 1 {
			delete(out, name)
		}
	}
	return out
}

// reads reports whether a member is the input axis of a layer with a channel for each position.
func reads(m coupling.Member, layers map[string]*layer) *layer {
	l := layers[m.Const.Name]
	if l == nil || m.Role != op.Input || !m.Const.Counts() || l.groups > 1 && (l.in != 1 || m.Const.Tensor.Dims[1] == 1) {
		return nil
	}
	return l
}

// leaving is the order in which a group's units leave, the cheapest first.
func leaving(ctx context.Context, g *coupling.Group, spaces []*space) ([]coupling.UnitID, error) {
	left := slices.Clone(g.Units)
	out := make([]coupling.UnitID, 0, len(left))
	for len(left) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		best, at := math.Inf(1), 0
		for i, u := range left {
			cost := 0.0
			for _, s := range spaces {
				cost += s.cost(u)
			}
			if cost < best {
				best, at = cost, i
			}
		}
		for _, s := range spaces {
			if err := s.remove(ctx, left[at]); err != nil {
				return nil, err
			}
		}
		out = append(out, left[at])
		left = slices.Delete(left, at, at+1)
	}
	return out, nil
}

// ownShare is how much a unit's place in the order of its own L2 score counts beside its place among those that leave. Samples are few, and what produces a unit is not looked at above: 0.25 did better than 0, 0.5 and 0.75 on
// networks and images kept for such choices (docs/results/accuracy.md).
const ownShare = .25

// mixed orders units by the mean of their places in the order of leaving and in that of their scores.
func mixed(order []coupling.UnitID, scores planner.Scores) []coupling.UnitID {
	place := map[coupling.UnitID]float64{}
	for i, u := range order {
		place[u] = (1 - ownShare) * float64(i)
	}
	out := slices.Clone(order)
	byScore := func(x, y coupling.UnitID) int { return cmp.Compare(scores[x], scores[y]) }
	slices.SortStableFunc(out, byScore)
	for i, u := range out {
		place[u] += ownShare * float64(i)
	}
	slices.SortStableFunc(out, func(x, y coupling.UnitID) int { return cmp.Or(cmp.Compare(place[x], place[y]), byScore(x, y)) })
	return out
}

// reorder hands the scores of some units out among them, the lowest first.
func reorder(scores planner.Scores, order []coupling.UnitID) {
	own := make([]float64, len(order))
	for i, u := range order {
		own[i] = scores[u]
	}
	slices.Sort(own)
	for i, u := range order {
		scores[u] = own[i]
	}
}
