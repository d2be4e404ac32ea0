package randnet

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// Permute exchanges units within their groups at random: the model that it returns computes the same function with its channels in another order. Weights have to be float32 initializers. The
// second result is, by unit, which one now stands at its positions.
func Permute(a *coupling.Analysis, r *rand.Rand) (*onnxio.Model, []coupling.UnitID, error) {
	from := make([]coupling.UnitID, a.NumUnits())
	for u := range from {
		from[u] = coupling.UnitID(u)
	}
	orders := map[*op.Constant][][]int{}
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		mixed := slices.Clone(g.Units)
		r.Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
		for k, u := range g.Units {
			from[u] = mixed[k]
		}
		for _, m := range g.Members {
			if err := exchange(a, m, g.Units, from, orders); err != nil {
				return nil, nil, err
			}
		}
	}
	out, graph := *a.Source(), *a.Source().Graph
	graph.Initializers = slices.Clone(graph.Initializers)
	out.Graph = &graph
	for c, order := range orders {
		i := slices.IndexFunc(graph.Initializers, func(t *onnxio.Tensor) bool { return t.Name == c.Name })
		if i < 0 || c.Tensor.DataType != onnxio.Float {
			return nil, nil, fmt.Errorf("%s is not a float32 initializer", c.Name)
		}
		moved, err := reorder(c.Tensor, order)
		if err != nil {
			return nil, nil, err
		}
		graph.Initializers[i] = moved
	}
	return &out, from, nil
}

// exchange notes, for one axis of a constant, which index comes to stand where.
func exchange(a *coupling.Analysis, m coupling.Member, units, from []coupling.UnitID, orders map[*op.Constant][][]int) error {
	axes := orders[m.Const]
	if axes == nil {
		axes = make([][]int, len(m.Const.Tensor.Dims))
		orders[m.Const] = axes
	}
	if axes[m.Axis] == nil {
		for i := range m.Const.Tensor.Dims[m.Axis] {
			axes[m.Axis] = append(axes[m.Axis], int(i))
		}
	}
	before := slices.Clone(axes[m.Axis])
	for _, u := range units {
		to, at := a.Positions(u, m), a.Positions(from[u], m)
		if len(to) != len(at) {
			return fmt.Errorf("%s axis %d: units of one group stand at %d and %d positions", m.Const.Name, m.Axis, len(to), len(at))
		}
		for i := range to {
			axes[m.Axis][to[i]] = before[at[i]]
		}
	}
	return nil
}

// reorder is the tensor with the index order[k][i] of axis k at i; nil leaves an axis as it is.
func reorder(t *onnxio.Tensor, order [][]int) (*onnxio.Tensor, error) {
	src, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	dst := make([]float32, len(src))
	index := make([]int, len(t.Dims))
	for i := range dst {
		rest, from, stride := i, 0, 1
		for k := len(t.Dims) - 1; k >= 0; k-- {
			n := int(t.Dims[k])
			index[k], rest = rest%n, rest/n
			j := index[k]
			if order[k] != nil {
				j = order[k][j]
			}
			from += j * stride
			stride *= n
		}
		dst[i] = src[from]
	}
	dims := make([]int, len(t.Dims))
	for k, d := range t.Dims {
		dims[k] = int(d)
	}
	return floats(t.Name, dst, dims...), nil
}
