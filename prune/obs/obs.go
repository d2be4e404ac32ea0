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
	values, err := run(ctx, e, m, needed(a, layers), inputs)
	if err != nil {
		return nil, err
	}
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := score(out, a, g, layers, values, criterion); err != nil {
			return nil, fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	return out, nil
}

// score gives a group's units their scores; those of a group that no layer reads keep what they have.
func score(out planner.Scores, a *coupling.Analysis, g *coupling.Group, layers map[string]*layer, values map[string]repair.Array, criterion string) error {
	if criterion == OBS {
		readers, err := readersOf(a, g, layers, values)
		if len(readers) > 0 {
			reorder(out, mixed(leaving(g, readers), out))
		}
		return err
	}
	sums, total := map[coupling.UnitID]float64{}, 0.0
	err := eachView(a, g, layers, values, func(v view) {
		each := v.diagonal(criterion)
		for _, u := range g.Units {
			for _, p := range v.positions[u] {
				sums[u] += each[p]
				total += each[p]
			}
		}
	})
	if err != nil || !(total > 0) {
		return err
	}
	for _, u := range g.Units { // groups compare by shares, as with the normaliser "mean"
		out[u] = sums[u] / total * float64(len(g.Units))
	}
	return nil
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

// needed lists the values that the layers of all groups read.
func needed(a *coupling.Analysis, layers map[string]*layer) []string {
	var out []string
	for i := range a.Groups {
		if a.Groups[i].Frozen != "" {
			continue
		}
		for _, m := range a.Groups[i].Members {
			if l := reads(m, layers); l != nil {
				out = append(out, l.node.Inputs[0])
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// run gets values of the model on inputs.
func run(ctx context.Context, e repair.Engine, m *onnxio.Model, names []string, inputs map[string]repair.Array) (map[string]repair.Array, error) {
	open, g := *m, *m.Graph
	open.Graph, g.Outputs = &g, nil
	out := map[string]repair.Array{}
	var asked []string
	for _, name := range names {
		if v, ok := inputs[name]; ok {
			out[name] = v
			continue
		}
		asked = append(asked, name)
		g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float}}})
	}
	if len(asked) == 0 {
		return out, nil
	}
	values, err := e.Run(ctx, &open, inputs)
	if err != nil {
		return nil, err
	}
	for i, name := range asked {
		out[name] = values[i]
	}
	return out, nil
}

// leaving is the order in which a group's units leave, the cheapest first.
func leaving(g *coupling.Group, readers []*reader) []coupling.UnitID {
	left := slices.Clone(g.Units)
	out := make([]coupling.UnitID, 0, len(left))
	for len(left) > 0 {
		best, at := math.Inf(1), 0
		for i, u := range left {
			cost := 0.0
			for _, r := range readers {
				cost += r.cost(u)
			}
			if cost < best {
				best, at = cost, i
			}
		}
		for _, r := range readers {
			r.remove(left[at])
		}
		out = append(out, left[at])
		left = slices.Delete(left, at, at+1)
	}
	return out
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
