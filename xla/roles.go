package xla

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// role is what an operator makes of a constant that it reads.
type role struct {
	kind Kind
	norm bool
}

// trained is what training makes of the letters with which operators describe their inputs.
var trained = map[byte]role{'w': {kind: Weight}, 'v': {kind: Vector}, 'n': {Vector, true}, 's': {Statistic, true}}

// roles follows constants through views to the operators that use them as weights.
func (p *Program) roles(found map[string]*Param) map[string]role {
	origin := map[string]string{}
	for name := range found {
		origin[name] = name
	}
	for _, n := range p.Model.Graph.Nodes {
		if op.Describe(n.Domain, n.OpType).View && len(n.Inputs) > 0 && len(n.Outputs) > 0 && origin[n.Outputs[0]] == "" {
			if o := origin[n.Inputs[0]]; o != "" {
				origin[n.Outputs[0]] = o
			}
		}
	}
	out := map[string]role{}
	for _, n := range p.Model.Graph.Nodes {
		op := op.Describe(n.Domain, n.OpType)
		for i, in := range n.Inputs {
			name := origin[in]
			if name == "" {
				continue
			}
			letter, loose := op.Trains(i)
			r, ok := trained[letter]
			if loose {
				ok = p.learnt(found[name])
			}
			if ok && (out[name].kind == Fixed || r.kind == Statistic) && found[name].tensor.DataType.IsFloat() {
				out[name] = r
			}
		}
	}
	return out
}

// learnt guesses whether a constant of an Add, Mul or Concat was trained: an initializer with several elements that is no mask.
func (p *Program) learnt(c *Param) bool {
	if c.node >= 0 && c.copyOf == "" || c.Size() < 2 || !c.tensor.DataType.IsFloat() {
		return false
	}
	v, err := c.tensor.Float32s()
	if err != nil {
		return false
	}
	low, high := slices.Min(v), slices.Max(v)
	return low > -50 && high < 50 && finite([]float32{low, high})
}

// attrNamed returns a node's attribute, or nil.
func attrNamed(n *onnxio.Node, name string) *onnxio.Attribute {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}
