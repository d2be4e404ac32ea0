package planner

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// cuts gathers what a plan removes by constant.
func (p *Plan) cuts(a *coupling.Analysis) (map[*op.Constant][][]int, []*op.Constant, error) {
	byName := map[string]*op.Constant{}
	for _, c := range a.Constants() {
		byName[c.Name] = c
	}
	gone, order := map[*op.Constant][][]int{}, []*op.Constant{}
	for _, r := range p.Removed {
		c := byName[r.Tensor]
		if c == nil || r.Axis < 0 || r.Axis >= len(c.Tensor.Dims) {
			return nil, nil, &PlanError{fmt.Sprintf("the model has no constant %q with an axis %d", r.Tensor, r.Axis)}
		}
		if gone[c] == nil {
			gone[c] = make([][]int, len(c.Tensor.Dims))
			order = append(order, c)
		}
		for _, i := range r.Indices {
			if i < 0 || int64(i) >= c.Tensor.Dims[r.Axis] {
				return nil, nil, &PlanError{fmt.Sprintf("%q has no index %d on axis %d", r.Tensor, i, r.Axis)}
			}
		}
		gone[c][r.Axis] = append(gone[c][r.Axis], r.Indices...)
	}
	return gone, order, nil
}

// Expected returns the constants that the plan cuts or repairs, as the smaller model must have them.
func Expected(a *coupling.Analysis, p *Plan) ([]*onnxio.Tensor, error) {
	gone, order, err := p.cuts(a)
	if err != nil {
		return nil, err
	}
	var out []*onnxio.Tensor
	for _, c := range order {
		keep := make([][]int, len(c.Tensor.Dims))
		for k, g := range gone[c] {
			if g == nil {
				continue
			}
			keep[k] = []int{}
			for i := range int(c.Tensor.Dims[k]) {
				if !slices.Contains(g, i) {
					keep[k] = append(keep[k], i)
				}
			}
		}
		t := *c.Tensor
		t.Name = c.Name
		if err := t.Cut(keep); err != nil {
			return nil, err
		}
		out = append(out, &t)
	}
	return p.withRepaired(a, out)
}

// withRepaired gives the cut constants the numbers of the plan's repair, and adds those that only the repair changed.
func (p *Plan) withRepaired(a *coupling.Analysis, list []*onnxio.Tensor) ([]*onnxio.Tensor, error) {
	if err := p.attached(); err != nil || p.repaired == nil {
		return list, err
	}
	seen := map[string]int{}
	for i, t := range list {
		seen[t.Name] = i
	}
	for _, c := range a.Constants() {
		v, ok := p.repaired[c.Name]
		if !ok {
			continue
		}
		i, ok := seen[c.Name]
		if !ok {
			i, list = len(list), append(list, c.Tensor)
		}
		t, err := renumbered(list[i], c.Name, v)
		if err != nil {
			return nil, err
		}
		list[i] = t
	}
	return list, nil
}

// Masked returns the original with every slice that the plan removes set to zero: where no operator computes statistics over cut axes, its outputs are those of the
// smaller model.
func Masked(a *coupling.Analysis, p *Plan) (*onnxio.Model, error) {
	gone, order, err := p.cuts(a)
	if err != nil {
		return nil, err
	}
	m, g := *a.Model, *a.Model.Graph
	m.Graph = &g
	g.Initializers, g.Nodes = slices.Clone(g.Initializers), slices.Clone(g.Nodes)
	for _, c := range order {
		t := onnxio.Tensor{Name: c.Name, Dims: c.Tensor.Dims, DataType: c.Tensor.DataType}
		raw, err := c.Tensor.Bytes()
		if err != nil {
			return nil, err
		}
		t.SetRaw(slices.Clone(raw))
		maskTensor(&t, gone[c])
		i := slices.IndexFunc(g.Initializers, func(x *onnxio.Tensor) bool { return x.Name == c.Name })
		if i >= 0 {
			g.Initializers[i] = &t
			continue
		}
		g.Nodes[c.Node] = onnxio.ConstantNode(c.Name, &t)
	}
	return a.Unjoin(&m), nil
}

func maskTensor(t *onnxio.Tensor, gone [][]int) {
	width := max(t.DataType.Bits()/8, 1)
	inner := width
	for k := len(t.Dims) - 1; k >= 0; k-- {
		d := int(t.Dims[k])
		for _, i := range gone[k] {
			for at := i * inner; at < len(t.RawData); at += d * inner {
				clear(t.RawData[at : at+inner])
			}
		}
		inner *= d
	}
}
