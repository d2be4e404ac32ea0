package op

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// A tensor that the graph computes from constants may have to stay whole on an axis: a standardised
// kernel has mean and deviation over its input channels. It can be read in part all the same. Where
// an operator meets such an axis with one
// that can be cut, the smaller model picks what is left in front of that operator. No constant
// loses anything by it, so a plan does not name it, and runtimes that fold constants fold it.

// selection is an axis of a node's input that is picked from.
type selection struct {
	input, axis int
	labels      []label.Label
}

// computed reports whether an input is computed from constants.
func (c *Call) computed(v *Value) bool { return v.Const == nil && v.Static && !c.Derived }

// selectable reports whether the kept part of the labels' axis can be picked from axis k of an
// input.
func (c *Call) selectable(v *Value, k int, labels []label.Label) bool {
	return c.computed(v) && v.Type.IsFloat() && c.stands(c.Node) &&
		v.Shape[k].IsNum() && int64(len(labels)) == v.Shape[k].N && c.alive(labels) && !c.alive(c.axis(v, k)) && slices.Contains(c.In, v)
}

// meet joins axis k of input v with labels, or picks from it.
func (c *Call) meet(v *Value, k int, labels []label.Label) {
	if !c.selectable(v, k, labels) {
		c.join(v, k, labels)
		return
	}
	for i, in := range c.In {
		if in == v {
			c.selections = append(c.selections, selection{i, k, labels})
		}
	}
}

// picks reports whether the kept part of another input's axis j is picked from axis k of input v,
// which a product sums over: the other one has to be zero where a channel has left.
func (c *Call) picks(v *Value, k int, other *Value, j int) bool {
	if !c.computed(v) || !c.selectable(v, k, c.axis(other, j)) {
		return false
	}
	if other.zero != isZero {
		c.freeze(other, j, "sums over channels that would not be zero when removed")
	}
	c.meet(v, k, c.axis(other, j))
	return true
}

// zeroed is what an input, as the node reads it, holds at removed positions: what is picked from is
// not zero where a channel has left.
func (c *Call) zeroed(v *Value) zeroState {
	if slices.ContainsFunc(c.selections, func(s selection) bool { return c.In[s.input] == v }) {
		return nonZero
	}
	return v.zero
}

// SelectInputs puts a Gather in front of the node for every axis of its inputs that is picked from.
func (p *Patching) SelectInputs() {
	for _, s := range p.Old.selections {
		keep := p.Keep(s.labels)
		if keep == nil {
			continue
		}
		at := make([]int64, len(keep))
		for i, k := range keep {
			at[i] = int64(k)
		}
		out := p.fresh(fmt.Sprintf("%s/input%d", p.base(), s.input))
		index := onnxio.NewInt64s(p.fresh(out+"/kept"), at)
		p.addConstant(index)
		p.insert(&onnxio.Node{OpType: "Gather", Name: out, Inputs: []string{p.Node.Inputs[s.input], index.Name}, Outputs: []string{out},
			Attributes: []*onnxio.Attribute{{Name: "axis", Type: onnxio.AttrInt, I: int64(s.axis)}}})
		if p.Err != nil {
			return
		}
		if p.rewire(s.input, out); p.Err != nil {
			return
		}
	}
}

// read are the labels of an input's axis as the node reads it.
func (c *Call) read(v *Value, k int) []label.Label {
	for _, s := range c.selections {
		if s.axis == k && c.In[s.input] == v {
			return s.labels
		}
	}
	return c.axis(v, k)
}
