package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	register(Op{Name: "GroupNormalization", Since: 18, Infer: groupNorm, Patch: patchGroupNorm, Graph: GraphNorm, Vectors: &Vectors{1, []Vector{VectorScale, VectorShift}}, Train: ".nn", Static: Static{Opaque: true},
		Note: "whole groups are pruned; of one group with a scale for each channel, zeros take the place of removed channels in the mean"})
}

func groupNorm(c *Call) {
	ch, ok := c.channelAxis(2)
	if !ok {
		return
	}
	x, scale, bias := c.In[0], c.In[1], c.In[2]
	if c.cutsOneGroup() {
		for k := 2; k < len(x.Shape); k++ {
			c.freeze(x, k, "statistics are taken over this axis")
		}
		c.role(scale, 0, Norm)
		c.join(scale, 0, ch)
		c.join(bias, 0, ch)
		c.same(0, x.Type, x).zero = c.zeroVectors()
		return
	}
	groups := int(c.Int("num_groups", 1))
	var perGroup []label.Label
	if ch != nil {
		if groups < 1 || len(ch)%groups != 0 {
			c.unknown("%d channels in %d groups", len(ch), groups)
			return
		}
		var inner []label.Label
		perGroup, inner = c.Labels.Split(ch, groups, len(ch)/groups, c.because("a group normalisation can lose whole groups only"))
		c.Labels.FreezeAll(inner, c.because("a group normalisation can lose whole groups only"))
	}
	c.role(scale, 0, Norm)
	for _, p := range []*Value{scale, bias} {
		if p.Shape[0] == dim.Num(int64(groups)) && x.Shape[1] != p.Shape[0] {
			c.join(p, 0, perGroup)
		} else {
			c.join(p, 0, ch)
		}
	}
	c.same(0, x.Type, x).zero = c.zeroVectors()
}

// cutsOneGroup reports whether channels of a normalisation over all of them can be removed: they
// are zero
// when removed, and scale and shift are constants with one number for each channel. The mean is
// kept as
// it was, by zeros that are put in front of the node.
func (c *Call) cutsOneGroup() bool {
	x := c.In[0]
	if c.Int("num_groups", 1) != 1 || len(c.Out) == 0 || c.Out[0] == nil || !x.Shape[1].IsNum() || x.Type != onnxio.Float || x.Static || x.zero != isZero || c.Concealed[c.Node] || !c.stands(c.Node) {
		return false
	}
	return x.Shape[1] != dim.Num(1) && !slices.ContainsFunc(c.In[1:3], func(v *Value) bool { return !c.constant(v) || v.Shape[0] != x.Shape[1] })
}

// patchGroupNorm sets the number of groups, or keeps the mean and deviation of the only one: zeros
// are put
// behind the channels that are kept, and removed again after the normalisation.
func patchGroupNorm(p *Patching) {
	if !p.Old.hasVectors() || !p.Old.cutsOneGroup() {
		patchNumGroups(p)
		return
	}
	before, after := p.Old.In[0].Shape[1].N, p.in[0].Shape[1].N
	if before == after {
		return
	}
	name := p.Node.Outputs[0]
	full := *p.Node
	full.Inputs, full.Outputs = slices.Clone(full.Inputs), []string{p.fresh(name + "/full")}
	full.Name = full.Outputs[0]
	for i, v := range p.in {
		rank, axis := len(v.Shape), min(len(v.Shape)-1, 1)
		pads := make([]int64, 2*rank)
		pads[rank+axis] = before - after
		if full.Inputs[i] = p.through("Pad", name+"/padded", v.Name, pads); p.Err != nil {
			return
		}
	}
	p.insert(&full)
	p.Node.OpType, p.Node.Attributes = "Slice", nil
	p.Node.Inputs = []string{full.Outputs[0], p.vector(name+"/starts", 0), p.vector(name+"/ends", after), p.vector(name+"/axes", 1)}
	p.Changed = true
}

// hasVectors reports whether the node has a scale and a shift that are vectors, and channels.
func (c *Call) hasVectors() bool {
	return len(c.In) > 2 && c.In[0] != nil && len(c.In[0].Shape) > 1 && c.In[1] != nil && len(c.In[1].Shape) == 1 && c.In[2] != nil && len(c.In[2].Shape) == 1
}
