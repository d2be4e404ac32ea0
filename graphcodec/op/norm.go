package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: batchNorm, Graph: GraphNorm, Vectors: &Vectors{1, []Vector{VectorScale, VectorShift, VectorMean, VectorVariance}}, Train: ".nnss", Note: "channels = scale, bias, mean and variance"}, "BatchNormalization")
	register(
		Op{Name: "InstanceNormalization", Since: 1, Infer: instanceNorm, Means: MeansOfPlaces, Patch: patchUniform, Graph: GraphNorm, Vectors: &Vectors{1, []Vector{VectorScale, VectorShift}}, Train: ".nn", Note: "channels = scale and bias"},
		Op{Name: "LayerNormalization", Since: 1, Infer: layerNorm, Means: MeansOfLast, Patch: patchWideNorm, Graph: GraphNorm, Vectors: &Vectors{-1, []Vector{VectorScale, VectorShift}}, Train: ".nn", Note: "normalised axis = scale and bias; computes over the surviving channels"},
	)
	family(Op{Since: 1, Infer: lrn, Note: "cannot be pruned on the channels that it normalises over"}, "LRN")
	family(Op{Since: 1, Infer: lpNorm, Note: "zeros do not change the norm"}, "LpNormalization")
	family(Op{Since: 1, Infer: meanVariance, Note: "cannot be pruned on the axes that it normalises over"}, "MeanVarianceNormalization")
	family(Op{Since: 1, Infer: softmax, AnyShape: true, Sign: neverBelow, Note: "cannot be pruned on the normalised axis"}, "Softmax")
	family(Op{Since: 1, Infer: softmax, AnyShape: true, Note: "cannot be pruned on the normalised axis"}, "LogSoftmax")
	family(Op{Since: 1, Infer: softmax, Note: "cannot be pruned on the normalised axis"}, "Hardmax")
}

// channelAxis checks a normalisation's input and returns its channels.
func (c *Call) channelAxis(params int) ([]label.Label, bool) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return nil, false
	}
	for i := 1; i <= params; i++ {
		if p := c.Input(i); p == nil || len(p.Shape) != 1 {
			c.unknown("input %d is not a vector", i)
			return nil, false
		}
	}
	return c.axis(x, 1), true
}

func batchNorm(c *Call) {
	ch, ok := c.channelAxis(4)
	if !ok {
		return
	}
	x := c.In[0]
	if c.Int("training_mode", 0) != 0 {
		c.freezeOthers(x, 1)
	}
	c.role(c.In[1], 0, Norm)
	for _, p := range c.In[1:5] {
		c.join(p, 0, ch)
	}
	y := c.same(0, x.Type, x)
	y.zero = c.In[1].zero
	if c.In[2].zero != isZero {
		y.zero = nonZero
	}
	for i := 1; i < len(c.Out); i++ {
		c.set(i, c.In[1].Type, []dim.Dim{x.Shape[1]}, ch).zero = nonZero
	}
}

// freezeOthers keeps every axis but one whole: statistics are taken over them.
func (c *Call) freezeOthers(x *Value, axis int) {
	for k := range x.Shape {
		if k != axis {
			c.freeze(x, k, "statistics are taken over this axis")
		}
	}
}

func instanceNorm(c *Call) {
	ch, ok := c.channelAxis(2)
	if !ok {
		return
	}
	x := c.In[0]
	if x.Static {
		c.freezeOthers(x, 1)
	}
	grouped := false
	for k := 2; k < len(x.Shape); k++ {
		grouped = grouped || c.alive(c.axis(x, k))
	}
	switch {
	case !grouped:
	case x.Plain && c.scaledByConstant() && !c.Concealed[c.Node]:
		c.freeze(x, 1, "the number of groups of a group normalisation")
		ch = c.axis(x, 1)
	default: // whole groups leave, which changes no statistic
		for k := 2; k < len(x.Shape); k++ {
			c.freeze(x, k, "normalises over channels whose number is unknown: their shape is computed, or their scale is not constant")
		}
		grouped, ch = false, c.axis(x, 1)
	}
	for i, p := range c.In[1:3] {
		if i == 0 {
			if !grouped && c.uniform(p) {
				c.freeze(p, 0, "is shared by all channels of several normalisations")
				continue
			}
			c.role(p, 0, Norm)
		}
		c.join(p, 0, ch)
	}
	y := c.same(0, x.Type, x)
	if f := c.flat[x]; f != nil && len(c.Out) > 0 && c.Out[0] != nil {
		c.flat[c.Out[0]] = f
	}
	if grouped {
		y.zero = centered
	} else {
		y.zero = c.zeroVectors()
	}
}

// zeroVectors is what scale and shift of a normalisation, inputs 1 and 2, make of removed channels:
// zeros, if they are zeros there themselves. Dequantised ones need not be.
func (c *Call) zeroVectors() zeroState {
	for _, v := range []*Value{c.Input(1), c.Input(2)} {
		if v != nil && v.zero != isZero {
			return nonZero
		}
	}
	return isZero
}

// uniform reports whether a scale is a constant of equal elements that other nodes read too:
// exporters share those between normalisations whose channels have nothing to do with one another.
func (c *Call) uniform(scale *Value) bool {
	if scale.Const == nil || !scale.Type.IsFloat() || len(scale.Shape) != 1 || len(c.ReadersOf(scale.Name)) < 2 {
		return false
	}
	f, err := scale.Const.Tensor.Float64s()
	return err == nil && len(f) > 0 && slices.Min(f) == slices.Max(f)
}

// patchUniform gives a normalisation a shorter one of the scale that it shares with others.
func patchUniform(p *Patching) {
	channels, scale := p.in[0].Shape[1], p.Old.In[1]
	if p.in[1].Shape[0] == channels || !channels.IsNum() || scale.Const == nil || channels.N > scale.Shape[0].N {
		return
	}
	keep := make([]int, channels.N)
	for k := range keep {
		keep[k] = k
	}
	t := *scale.Const.Tensor
	if p.Err = t.Cut([][]int{keep}); p.Err == nil {
		p.setInput(1, &t)
	}
}

// scaledByConstant reports whether the groups are put back into channels and scaled by a constant
// per channel, as a group normalisation written out is: only then the
// file itself says which channels a statistic is taken over.
func (c *Call) scaledByConstant() bool {
	for _, n := range c.ReadersOf(c.outName(0)) {
		if n.OpType != "Reshape" {
			continue
		}
		if len(n.Outputs) == 0 {
			continue
		}
		for _, m := range c.ReadersOf(n.Outputs[0]) {
			for _, in := range m.Inputs {
				if v := c.Values[in]; m.OpType == "Mul" && v != nil && v.Const != nil {
					return true
				}
			}
		}
	}
	return false
}

func layerNorm(c *Call) {
	x := c.Input(0)
	if x == nil || c.Input(1) == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axis, ok := NormAxis(c.Int("axis", -1), len(x.Shape))
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	if axis != len(x.Shape)-1 || x.Static || c.In[1].Const == nil && !c.widensNorm() || c.Concealed[c.Node] {
		why := "normalises over several axes, with a computed scale or in a branch"
		if c.constant(c.In[1]) && x.zero != isZero {
			why = "normalises, with a dequantised scale, over channels that would not be zero when removed"
		}
		for k := axis; k < len(x.Shape); k++ {
			c.freeze(x, k, "%s", why)
		}
	}
	c.role(c.In[1], len(c.In[1].Shape)-1, Norm)
	for _, p := range c.In[1:] {
		if p == nil {
			continue
		}
		if !p.Ranked {
			c.freezeValue(x, "the rank of %q is unknown", p.Name)
		}
		for k := range p.Shape {
			if j := len(x.Shape) - len(p.Shape) + k; j >= 0 && p.Shape[k] != dim.Num(1) {
				c.link(p, k, x, j)
			}
		}
	}
	y := c.same(0, x.Type, x)
	y.zero = c.zeroVectors()
	stat := append([]dim.Dim(nil), x.Shape...)
	for k := axis; k < len(stat); k++ {
		stat[k] = dim.Num(1)
	}
	for i := 1; i < len(c.Out); i++ {
		axes := make([][]label.Label, len(stat))
		for k := range axis {
			axes[k] = c.axis(x, k)
		}
		c.set(i, onnxio.Float, stat, axes...).zero = nonZero
	}
	// Axes outside the normalised ones hold zeros only where the bias is none or cut with them.
	for k := range axis {
		if c.alive(c.axis(x, k)) {
			y.zero = nonZero
		}
	}
}

func unitDims(n int) []dim.Dim {
	out := make([]dim.Dim, n)
	for i := range out {
		out[i] = dim.Num(1)
	}
	return out
}

func lrn(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown")
		return
	}
	if c.Int("size", 1) > 1 {
		c.freeze(x, 1, "normalises each channel by its neighbours")
	}
	c.same(0, x.Type, x)
}

func lpNorm(c *Call) {
	x, axis, ok := c.axisOfInput(-1)
	if !ok {
		return
	}
	for k := range x.Shape {
		if x.zero != isZero || k != axis {
			c.freeze(x, k, "takes a norm over channels of which some would be zero when removed and some would not")
		}
	}
	c.same(0, x.Type, x)
}

func meanVariance(c *Call) {
	x := c.Input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axes := c.ints("axes")
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	for _, a := range axes {
		if k, ok := NormAxis(a, len(x.Shape)); ok {
			c.freeze(x, k, "normalises over this axis")
		}
	}
	c.same(0, x.Type, x)
}

func softmax(c *Call) {
	def := int64(-1)
	if c.Version < 13 {
		def = 1
	}
	x, axis, ok := c.axisOfInput(def)
	if !ok {
		return
	}
	c.freeze(x, axis, "normalises over this axis")
	if c.Version < 13 {
		for k := axis; k < len(x.Shape); k++ {
			c.freeze(x, k, "normalises over this axis")
		}
	}
	y := c.same(0, x.Type, x)
	if c.tracked(y) {
		y.zero = nonZero
	}
}
