package graphcodec

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	family(Op{Since: 1, Infer: batchNorm, Graph: graphNorm, Vectors: &Vectors{1, []Vector{vectorScale, vectorShift, vectorMean, vectorVariance}}, Train: ".nnss", Note: "channels = scale, bias, mean and variance"}, "BatchNormalization")
	register(
		Op{Name: "InstanceNormalization", Since: 1, Infer: instanceNorm, Patch: patchUniform, Graph: graphNorm, Vectors: &Vectors{1, []Vector{vectorScale, vectorShift}}, Train: ".nn", Note: "channels = scale and bias"},
		Op{Name: "LayerNormalization", Since: 1, Infer: layerNorm, Graph: graphNorm, Vectors: &Vectors{-1, []Vector{vectorScale, vectorShift}}, Train: ".nn", Note: "normalised axis = scale and bias; computes over the surviving channels"},
	)
	family(Op{Since: 1, Infer: lrn, Note: "cannot be pruned on the channels that it normalises over"}, "LRN")
	family(Op{Since: 1, Infer: lpNorm, Note: "zeros do not change the norm"}, "LpNormalization")
	family(Op{Since: 1, Infer: meanVariance, Note: "cannot be pruned on the axes that it normalises over"}, "MeanVarianceNormalization")
	family(Op{Since: 1, Infer: softmax, AnyShape: true, Sign: neverBelow, Note: "cannot be pruned on the normalised axis"}, "Softmax")
	family(Op{Since: 1, Infer: softmax, AnyShape: true, Note: "cannot be pruned on the normalised axis"}, "LogSoftmax")
	family(Op{Since: 1, Infer: softmax, Note: "cannot be pruned on the normalised axis"}, "Hardmax")
}

// channelAxis checks a normalisation's input and returns its channels.
func (c *call) channelAxis(params int) ([]label, bool) {
	x := c.input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return nil, false
	}
	for i := 1; i <= params; i++ {
		if p := c.input(i); p == nil || len(p.Shape) != 1 {
			c.unknown("input %d is not a vector", i)
			return nil, false
		}
	}
	return c.axis(x, 1), true
}

func batchNorm(c *call) {
	ch, ok := c.channelAxis(4)
	if !ok {
		return
	}
	x := c.in[0]
	if c.int("training_mode", 0) != 0 {
		c.freezeOthers(x, 1)
	}
	c.role(c.in[1], 0, Norm)
	for _, p := range c.in[1:5] {
		c.join(p, 0, ch)
	}
	y := c.same(0, x.Type, x)
	y.zero = c.in[1].zero
	if c.in[2].zero != isZero {
		y.zero = nonZero
	}
	for i := 1; i < len(c.out); i++ {
		c.set(i, c.in[1].Type, []Dim{x.Shape[1]}, ch).zero = nonZero
	}
}

// freezeOthers keeps every axis but one whole: statistics are taken over them.
func (c *call) freezeOthers(x *Value, axis int) {
	for k := range x.Shape {
		if k != axis {
			c.freeze(x, k, "statistics are taken over this axis")
		}
	}
}

func instanceNorm(c *call) {
	ch, ok := c.channelAxis(2)
	if !ok {
		return
	}
	x := c.in[0]
	if x.static {
		c.freezeOthers(x, 1)
	}
	grouped := false
	for k := 2; k < len(x.Shape); k++ {
		grouped = grouped || c.alive(c.axis(x, k))
	}
	switch {
	case !grouped:
	case x.plain && c.scaledByConstant() && !c.concealed[c.node]:
		c.freeze(x, 1, "the number of groups of a group normalisation")
		ch = c.axis(x, 1)
	default: // whole groups leave, which changes no statistic
		for k := 2; k < len(x.Shape); k++ {
			c.freeze(x, k, "normalises over channels whose number is unknown: their shape is computed, or their scale is not constant")
		}
		grouped, ch = false, c.axis(x, 1)
	}
	for i, p := range c.in[1:3] {
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
	if grouped {
		y.zero = centered
	} else {
		y.zero = isZero
	}
}

// uniform reports whether a scale is a constant of equal elements that other nodes read too: exporters share those between normalisations whose channels have nothing to do with one another.
func (c *call) uniform(scale *Value) bool {
	if scale.Const == nil || !scale.Type.IsFloat() || len(scale.Shape) != 1 || len(c.readersOf(scale.Name)) < 2 {
		return false
	}
	f, err := scale.Const.Tensor.Float64s()
	return err == nil && len(f) > 0 && slices.Min(f) == slices.Max(f)
}

// patchUniform gives a normalisation a shorter one of the scale that it shares with others.
func patchUniform(p *patching) {
	channels, scale := p.in[0].Shape[1], p.old.in[1]
	if p.in[1].Shape[0] == channels || !channels.IsNum() || scale.Const == nil || channels.N > scale.Shape[0].N {
		return
	}
	keep := make([]int, channels.N)
	for k := range keep {
		keep[k] = k
	}
	t := *scale.Const.Tensor
	if p.err = t.Cut([][]int{keep}); p.err == nil {
		p.setInput(1, &t)
	}
}

// scaledByConstant reports whether the groups are put back into channels and scaled by a constant per channel, as a group normalisation written out is: only then the
// file itself says which channels a statistic is taken over.
func (c *call) scaledByConstant() bool {
	for _, n := range c.readersOf(c.outName(0)) {
		if n.OpType != "Reshape" {
			continue
		}
		if len(n.Outputs) == 0 {
			continue
		}
		for _, m := range c.readersOf(n.Outputs[0]) {
			for _, in := range m.Inputs {
				if v := c.values[in]; m.OpType == "Mul" && v != nil && v.Const != nil {
					return true
				}
			}
		}
	}
	return false
}

func layerNorm(c *call) {
	x := c.input(0)
	if x == nil || c.input(1) == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axis, ok := normAxis(c.int("axis", -1), len(x.Shape))
	if !ok {
		c.unknown("axis is out of range")
		return
	}
	if axis != len(x.Shape)-1 || x.static || c.in[1].Const == nil || c.concealed[c.node] {
		for k := axis; k < len(x.Shape); k++ {
			c.freeze(x, k, "normalises over several axes, with a computed scale or in a branch")
		}
	}
	c.role(c.in[1], len(c.in[1].Shape)-1, Norm)
	for _, p := range c.in[1:] {
		if p == nil {
			continue
		}
		if !p.Ranked {
			c.freezeValue(x, "the rank of %q is unknown", p.Name)
		}
		for k := range p.Shape {
			if j := len(x.Shape) - len(p.Shape) + k; j >= 0 && p.Shape[k] != Num(1) {
				c.link(p, k, x, j)
			}
		}
	}
	y := c.same(0, x.Type, x)
	y.zero = isZero
	stat := append([]Dim(nil), x.Shape...)
	for k := axis; k < len(stat); k++ {
		stat[k] = Num(1)
	}
	for i := 1; i < len(c.out); i++ {
		axes := make([][]label, len(stat))
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

func unitDims(n int) []Dim {
	out := make([]Dim, n)
	for i := range out {
		out[i] = Num(1)
	}
	return out
}

func lrn(c *call) {
	x := c.input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown")
		return
	}
	if c.int("size", 1) > 1 {
		c.freeze(x, 1, "normalises each channel by its neighbours")
	}
	c.same(0, x.Type, x)
}

func lpNorm(c *call) {
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

func meanVariance(c *call) {
	x := c.input(0)
	if x == nil || !x.Ranked {
		c.unknown("the rank of the input is unknown")
		return
	}
	axes := c.ints("axes")
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	for _, a := range axes {
		if k, ok := normAxis(a, len(x.Shape)); ok {
			c.freeze(x, k, "normalises over this axis")
		}
	}
	c.same(0, x.Type, x)
}

func softmax(c *call) {
	def := int64(-1)
	if c.version < 13 {
		def = 1
	}
	x, axis, ok := c.axisOfInput(def)
	if !ok {
		return
	}
	c.freeze(x, axis, "normalises over this axis")
	if c.version < 13 {
		for k := axis; k < len(x.Shape); k++ {
			c.freeze(x, k, "normalises over this axis")
		}
	}
	y := c.same(0, x.Type, x)
	if c.tracked(y) {
		y.zero = nonZero
	}
}
