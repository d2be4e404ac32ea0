package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	const rms = "normalised axis = scale; the sum of squares is still divided by the original number of channels"
	register(
		Op{Name: "RMSNormalization", Since: 23, Infer: fusedNorm(1, 1), Patch: patchRMS(1, 1e-5), Graph: GraphNorm, Vectors: &Vectors{-1, []Vector{VectorScale}}, Train: ".n", Note: rms},
		Op{Name: "SimplifiedLayerNormalization", Since: 1, Infer: fusedNorm(1, 1), Patch: patchRMS(1, 1e-5), Train: ".n", Static: Static{Opaque: true}, Note: rms},
		Op{Domain: Microsoft, Name: "SkipSimplifiedLayerNormalization", Since: 1, Infer: fusedNorm(2, 3), Patch: patchRMS(2, 1e-12), Train: "..nv", Note: rms},
		Op{Domain: Microsoft, Name: "SkipLayerNormalization", Since: 1, Infer: fusedNorm(2, 3), Patch: patchSkipNorm, Train: "..nnv", Note: "normalised axis = scale, shift and bias; zeros take the place of removed channels in the mean"},
	)
}

// fusedNorm is a normalisation of the sum of its first inputs, followed by their parameters; the
// sum itself is the output of the given index, where that is not 1.
//
//go:noinline
func fusedNorm(summed, sum int) func(c *Call) {
	return func(c *Call) {
		x, axis, ok := c.axisOfInput(-1)
		if !ok {
			return
		}
		if c.Input(summed) == nil {
			c.unknown("has no scale")
			return
		}
		if slices.ContainsFunc(c.In[:summed], func(v *Value) bool { return v == nil || !v.Ranked }) {
			c.unknown("an input is missing or its rank is unknown")
			return
		}
		c.role(c.In[summed], len(c.In[summed].Shape)-1, Norm)
		zero, shape, axes := isZero, slices.Clone(x.Shape), make([][]label.Label, len(x.Shape))
		if c.cutsNorm(x, axis, summed, sum) {
			c.linkNorm(x, summed)
			axes[axis] = c.axis(x, axis)
		} else {
			for i := range summed {
				for k := axis; k < len(x.Shape); k++ {
					if j := len(c.In[i].Shape) - len(x.Shape) + k; j >= 0 {
						c.freeze(c.In[i], j, "normalises over this axis, whose channels would not be zero when removed, or with a computed scale, in a branch or with its statistics given out")
					}
				}
			}
			for _, p := range c.In[summed:] {
				c.freezeValue(p, "belongs to a normalisation whose axis cannot be pruned")
			}
		}
		left := slices.ContainsFunc(c.In[:summed], func(v *Value) bool { return c.zeroed(v) != isZero })
		for k := range axis {
			shape[k], axes[k] = c.broadcastAxis(c.In[:summed], k-len(x.Shape))
			if c.alive(axes[k]) && (left || len(c.In) > summed+1) {
				zero = nonZero
			}
		}
		c.set(0, x.Type, shape, axes...).zero = zero
		stat := append(slices.Clone(shape[:axis]), unitDims(len(shape)-axis)...)
		for i := 1; i < len(c.Out); i++ {
			if i == sum && sum > 1 {
				y := c.set(i, x.Type, slices.Clone(shape), axes...)
				y.zero = nonZero
				if !left && zero == isZero && !slices.ContainsFunc(c.In[summed+1:], func(p *Value) bool { return p != nil && p.zero != isZero }) {
					y.zero = isZero
				}
				continue
			}
			c.set(i, onnxio.Float, slices.Clone(stat), axes[:axis]...).zero = nonZero
		}
	}
}

// ofSquares reports whether the node divides by a mean of squares alone.
func ofSquares(n *onnxio.Node) bool { return n.OpType != "SkipLayerNormalization" }

// cutsNorm reports whether channels of the normalised axis can be removed: it is the last one, of
// every input; they are zero when removed; the scale is a constant; nobody reads the statistics.
// Means are kept as they are: those of squares by
// another scale, which only such normalisations may read, others by zeros that are put in front of
// the node.
func (c *Call) cutsNorm(x *Value, axis, summed, sum int) bool {
	scale, last := c.In[summed], len(x.Shape)-1
	width := x.Shape[last]
	if len(c.Out) == 0 || c.Out[0] == nil || axis != last || x.Static || !c.constant(scale) || ofSquares(c.Node) && (scale.Const == nil || scale.Const.Own) || !width.IsNum() || c.Concealed[c.Node] || !c.stands(c.Node) {
		return false
	}
	for i, v := range c.In {
		switch {
		case v == nil && i > summed:
			continue
		case v == nil || len(v.Shape) == 0 || v.Shape[len(v.Shape)-1] != width, i >= summed && len(v.Shape) != 1:
			return false
		case v.zero != isZero:
			return false
		}
	}
	for i := 1; i < len(c.Out); i++ {
		if i != sum && c.Out[i] != nil && (len(c.ReadersOf(c.Out[i].Name)) > 0 || c.Infos[c.Out[i].Name] != nil) {
			return false
		}
	}
	if !ofSquares(c.Node) {
		return x.Type == onnxio.Float && c.Versions[""] >= 11
	}
	return !c.given[scale.Name] && !slices.ContainsFunc(c.ReadersOf(scale.Name), func(n *onnxio.Node) bool { return n.OpType != c.Node.OpType })
}

// widensNorm reports whether channels of a normalisation with a dequantised scale can be removed:
// as those of a SkipLayerNormalization, with zeros in their place, since a plan names no constant
// that the node reads.
func (c *Call) widensNorm() bool {
	x, last := c.In[0], len(c.In[0].Shape)-1
	if last < 0 || len(c.Out) == 0 || c.Out[0] == nil || x.Type != onnxio.Float || x.zero != isZero || x.Static || !x.Shape[last].IsNum() || !c.constant(c.Input(1)) || !c.stands(c.Node) {
		return false
	}
	for _, v := range c.In[1:] {
		if v != nil && (len(v.Shape) != 1 || v.Shape[0] != x.Shape[last]) {
			return false
		}
	}
	return !slices.ContainsFunc(c.Out[1:], func(v *Value) bool { return v != nil })
}

// patchWideNorm gives a normalisation with a dequantised scale its original width.
func patchWideNorm(p *Patching) {
	if scale := p.Old.Input(1); scale != nil && scale.Const == nil && p.Old.In[0] != nil && p.Old.widensNorm() {
		patchSkipNorm(p)
	}
}

// linkNorm joins the last axes of what is summed and of the parameters.
func (c *Call) linkNorm(x *Value, summed int) {
	last := len(x.Shape) - 1
	for i, v := range c.In {
		if v == nil || i == 0 {
			continue
		}
		c.link(v, len(v.Shape)-1, x, last)
	}
	if ofSquares(c.Node) {
		c.In[summed].Const.Packed = true // its numbers change, so that a plan cannot name them
	}
}

// patchRMS keeps what a mean of squares gives: over fewer channels it is larger by the ratio of
// their numbers, which epsilon and scale make up for.
//
//go:noinline
func patchRMS(scale int, epsilon float64) func(p *Patching) {
	return func(p *Patching) {
		old := p.Old.In[0]
		if !old.Ranked || len(old.Shape) == 0 || p.Old.Input(scale) == nil || p.Old.In[scale].Const == nil || !p.Old.In[scale].Const.Packed {
			return
		}
		before, after := p.Old.In[scale].Shape[0], p.in[scale].Shape[0]
		if before == after || after.N < 1 {
			return
		}
		ratio := float64(before.N) / float64(after.N)
		p.setAttr(&onnxio.Attribute{Name: "epsilon", Type: onnxio.AttrFloat, F: float32(p.Old.float("epsilon", epsilon) * ratio)})
		t := p.in[scale].Const.Tensor
		f, err := t.Float64s()
		if err != nil {
			p.Err = err
			return
		}
		scaled := make([]float32, len(f))
		for i, x := range f {
			scaled[i] = float32(x * math.Sqrt(ratio))
		}
		now := &onnxio.Tensor{DataType: t.DataType, Dims: slices.Clone(t.Dims)}
		if p.Err = now.SetFloat32s(scaled); p.Err == nil {
			p.setInput(scale, now)
		}
	}
}

// patchSkipNorm keeps the mean and deviation of the sum: what is normalised gets zeros for the
// removed channels at its end, which are removed again after it.
func patchSkipNorm(p *Patching) {
	old := p.Old.In[0]
	if !old.Ranked || len(old.Shape) == 0 {
		return
	}
	last := len(old.Shape) - 1
	before, after := old.Shape[last], p.in[0].Shape[last]
	if before == after {
		return
	}
	full := *p.Node
	full.Inputs, full.Outputs = slices.Clone(full.Inputs), []string{p.fresh(full.Outputs[0] + "/full")}
	full.Name = full.Outputs[0]
	for i, v := range p.in {
		if v == nil || p.Err != nil {
			continue
		}
		pads := make([]int64, 2*len(v.Shape))
		pads[len(pads)-1] = before.N - after.N
		full.Inputs[i] = p.through("Pad", fmt.Sprintf("%s/input%d", p.Node.Outputs[0], i), v.Name, pads)
	}
	if p.Err != nil {
		return
	}
	p.insert(&full)
	p.sumBeside()
	if p.Err != nil {
		return
	}
	name := p.Node.Outputs[0]
	p.Node.OpType, p.Node.Domain, p.Node.Attributes, p.Node.Outputs = "Slice", "", nil, []string{name}
	p.Node.Inputs = []string{full.Outputs[0], p.vector(name+"/starts", 0), p.vector(name+"/ends", after.N), p.vector(name+"/axes", int64(last))}
	p.Changed = true
}

// sumBeside gives out the sum that the node would.
func (p *Patching) sumBeside() {
	if len(p.Node.Outputs) < 4 || p.Node.Outputs[3] == "" || p.Err != nil {
		return
	}
	terms, total := []string{p.Node.Inputs[1]}, p.Node.Inputs[0]
	if len(p.Node.Inputs) > 4 && p.Node.Inputs[4] != "" {
		terms = append(terms, p.Node.Inputs[4])
	}
	for i, term := range terms {
		out := p.Node.Outputs[3]
		if i < len(terms)-1 {
			out = p.fresh(out + "/part")
		}
		if p.insert(&onnxio.Node{OpType: "Add", Name: out, Inputs: []string{total, term}, Outputs: []string{out}}); p.Err != nil {
			return
		}
		total = out
	}
}

// vector adds a constant of integers and returns its name.
func (p *Patching) vector(base string, v ...int64) string {
	t := onnxio.NewInt64s(p.fresh(base), v)
	p.addConstant(t)
	return t.Name
}

// through puts an operator with a vector as its second input in front of the node and returns the
// name of its output.
func (p *Patching) through(op, base, input string, v []int64) string {
	out := p.fresh(base)
	p.insert(&onnxio.Node{OpType: op, Name: out, Inputs: []string{input, p.vector(out+"/pads", v...)}, Outputs: []string{out}})
	return out
}
