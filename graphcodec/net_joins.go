package graphcodec

import (
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// Edge types of the universal scheme.
const (
	edgeKernel = iota
	edgeResidual
	edgeGate
	edgeAttention
)

// encodeNorm attaches a normalisation's vectors to the channels.
func encodeNorm(b *netBuilder, c *op.Call) bool {
	x, o := c.Input(0), c.Op().Vectors
	if x == nil || !x.Ranked || b.from[x] == nil {
		return false
	}
	k := o.Axis
	if k < 0 {
		k += len(x.Shape)
	}
	var at []slot
	var vectors []*op.Value
	for i, kind := range o.Kind {
		if v := c.Input(i + 1); v != nil {
			at, vectors = append(at, slot(kind)), append(vectors, v)
		}
	}
	b.from[c.Out[0]] = b.from[x]
	return b.attach(c, x, k, at, vectors)
}

// sides splits a node's inputs into those that carry channels and those that are constants.
func (b *netBuilder) sides(c *op.Call) (carry, constant []*op.Value) {
	for _, v := range c.In {
		switch {
		case v == nil:
		case b.from[v] != nil:
			carry = append(carry, v)
		default:
			constant = append(constant, v)
		}
	}
	return carry, constant
}

// encodeAdd attaches a vector that is added as a bias, and lets the others of several summands reach the deepest one by residual edges.
func encodeAdd(b *netBuilder, c *op.Call) bool {
	carry, constant := b.sides(c)
	if len(carry) == 1 && len(constant) == 1 {
		return b.addVector(c, carry[0], constant[0])
	}
	if len(carry) < 2 {
		return false
	}
	main := carry[0]
	for _, v := range carry[1:] {
		if b.depthOf(v) > b.depthOf(main) {
			main = v
		}
	}
	p := *b.from[main]
	for _, v := range carry {
		if v == main {
			continue
		}
		b.joinSummand(main, v)
		p.rest = append(p.rest[:len(p.rest):len(p.rest)], b.otherAxes(&p, v)...)
	}
	b.from[c.Out[0]] = &p
	return true
}

// otherAxes lists what v carries that p does not, a few at most.
func (b *netBuilder) otherAxes(p *provenance, v *op.Value) [][]*nodeSet {
	if len(p.rest) >= 4 || b.sameChannels(p.main, b.from[v].main) {
		return nil
	}
	return [][]*nodeSet{b.from[v].main}
}

// sameChannels reports whether two lists of sets have the same units, so that one can stand for the other.
func (b *netBuilder) sameChannels(a, c []*nodeSet) bool {
	if len(a) == 0 || len(c) == 0 || a[0].size <= 0 || c[0].size <= 0 {
		return true
	}
	x, y := a[0].labels, c[0].labels
	return len(x) > 0 && len(y) > 0 && b.a.Analyzer.Labels.Identity(x[0]) == b.a.Analyzer.Labels.Identity(y[0])
}

// opposite returns the nodes of two operands along main's channels; nil where they do not stand opposite each other.
func (b *netBuilder) opposite(main, other *op.Value) (to, from []int32) {
	k := b.channelAxis(main)
	j := k - len(main.Shape) + len(other.Shape)
	if k < 0 || j < 0 || axisLength(main, k) != axisLength(other, j) {
		return nil, nil
	}
	to, from = b.match(main, k), b.match(other, j)
	if to == nil || from == nil {
		return nil, nil
	}
	return to, from
}

func (b *netBuilder) joinSummand(main, other *op.Value) {
	to, from := b.opposite(main, other)
	if to == nil {
		return
	}
	if b.ref && b.shareNodes(to, from) {
		return
	}
	b.connect(from, to, min(edgeResidual, len(b.scheme.Edges)-1))
}

// shareNodes lets a downsampling convolution use the nodes of the branch that it is added to, as the reference does: where nothing else reads it and it has one partner each.
func (b *netBuilder) shareNodes(to, from []int32) bool {
	s, t := b.owner[from[0]], b.owner[to[0]]
	if s == t || s.size != len(from) || t.size != len(to) || s.kind != "layer" || s.feeds || s.into != nil || t.into != nil {
		return false
	}
	for i := range from {
		if from[i] != int32(s.base+i) || to[i] != int32(t.base+i) || b.slot(shortcutNorm, to[i]).c != nil {
			return false
		}
	}
	s.into = t
	copy(t.slots[shortcutNorm:], s.slots[:4])
	s.slots = [numSlots][]slotRef{}
	return true
}

// addVector attaches a vector added to channels: as the bias of their layer, or of the normalisation whose scale came before.
func (b *netBuilder) addVector(c *op.Call, x, v *op.Value) bool {
	k := b.vectorAxis(c, x, v)
	if k < 0 || c.Node.OpType == "Sub" {
		return false
	}
	b.from[c.Out[0]] = b.from[x]
	order := []slot{layerBias, normBias}
	if b.scaled[x] {
		order = []slot{normBias, layerBias}
	}
	ids := b.match(x, k)
	if ids != nil && !b.free(order[:1], ids) && b.free(order[1:], ids) {
		order = order[1:]
	}
	return b.attach(c, x, k, order[:1], []*op.Value{v})
}

// vectorAxis returns the axis of x along which v is a vector, one element for each channel; -1 where it is none.
func (b *netBuilder) vectorAxis(c *op.Call, x, v *op.Value) int {
	at := -1
	if !v.Ranked || len(v.Shape) > len(x.Shape) {
		return -1
	}
	for j, d := range v.Shape {
		if d == dim.Num(1) {
			continue
		}
		if at >= 0 || !d.IsNum() {
			return -1
		}
		at = len(x.Shape) - len(v.Shape) + j
	}
	if at < 0 || axisLength(x, at) < 2 || b.vector(c, v, axisLength(x, at)) == nil || b.match(x, at) == nil {
		return -1
	}
	return at
}

// encodeMul attaches a vector that scales channels, and links a gate with what it multiplies.
func encodeMul(b *netBuilder, c *op.Call) bool {
	carry, constant := b.sides(c)
	switch {
	case len(carry) == 1 && len(constant) == 1:
		x, v := carry[0], constant[0]
		k := b.vectorAxis(c, x, v)
		if k < 0 || c.Node.OpType == "Div" {
			return false
		}
		b.from[c.Out[0]] = b.from[x]
		b.scaled[c.Out[0]] = true
		return b.attach(c, x, k, []slot{normWeight}, []*op.Value{v})
	case len(carry) == 2:
		main, gate := carry[0], carry[1]
		if narrower(main, gate) || !narrower(gate, main) && b.depthOf(gate) > b.depthOf(main) {
			main, gate = gate, main
		}
		if to, from := b.opposite(main, gate); to != nil && len(b.scheme.Edges) > edgeGate {
			b.connect(from, to, edgeGate)
		}
		b.from[c.Out[0]] = b.from[main]
		return true
	}
	return false
}

// narrower reports whether a is broadcast to b.
func narrower(a, b *op.Value) bool {
	if !a.Ranked || !b.Ranked {
		return false
	}
	if len(a.Shape) != len(b.Shape) {
		return len(a.Shape) < len(b.Shape)
	}
	for k := range a.Shape {
		if a.Shape[k] == dim.Num(1) && b.Shape[k] != dim.Num(1) {
			return true
		}
	}
	return false
}

// encodeConcat joins the channels of its inputs where they stand along the axis.
func encodeConcat(b *netBuilder, c *op.Call) bool {
	y := c.Out[0]
	if !y.Ranked {
		return false
	}
	axis, ok := op.NormAxis(c.Int("axis", 1), len(y.Shape))
	carry, _ := b.sides(c)
	if !ok || len(carry) == 0 {
		return false
	}
	for _, v := range carry {
		if p := b.from[v]; len(p.main) == 1 && p.main[0].size < 0 {
			return false
		}
		if b.channelAxis(v) != axis {
			return false
		}
	}
	p := &provenance{}
	seen := map[*nodeSet]bool{}
	for _, v := range c.In {
		if b.from[v] == nil {
			if n := axisLength(v, axis); n > 0 {
				s := &nodeSet{name: v.Name, kind: "constant"}
				b.place(s, n, labelsOf(v, axis))
				p.main = append(p.main, s)
			}
			continue
		}
		for _, s := range b.from[v].main {
			if !seen[s] {
				seen[s] = true
				p.main = append(p.main, s)
			}
		}
	}
	if len(p.main) > maxJoined {
		return false
	}
	b.from[y] = p
	return true
}

// encodeParts lets every output along the channels carry just its part of them.
func encodeParts(b *netBuilder, c *op.Call) bool {
	x := c.Input(0)
	if x == nil || b.from[x] == nil || !x.Ranked {
		return false
	}
	k := b.channelAxis(x)
	ids := []int32(nil)
	if k >= 0 {
		ids = b.match(x, k)
	}
	total := 0
	for _, y := range c.Out {
		total += axisLength(y, k)
	}
	if ids == nil || (c.Node.OpType == "Split" && total != len(ids)) {
		return false
	}
	at := 0
	for _, y := range c.Out {
		if y == nil {
			return false
		}
		n := axisLength(y, k)
		part := b.byUnits(b.from[x].main, labelsOf(y, k))
		if part == nil && c.Node.OpType == "Split" {
			part = ids[at : at+n]
		}
		at += n
		p := *b.from[x]
		if part != nil && n < len(ids) {
			p.main = b.views(part)
		}
		b.from[y] = &p
	}
	return true
}

// views returns node sets that stand for runs of other sets' nodes.
func (b *netBuilder) views(ids []int32) []*nodeSet {
	var out []*nodeSet
	for _, r := range b.runs(ids, ids) {
		s := b.owner[r.from]
		v := &nodeSet{name: s.name, kind: s.kind, base: int(r.from), size: r.n, depth: s.depth, out: s.out}
		if off := int(r.from) - s.base; len(s.labels) == s.size {
			v.labels = s.labels[off : off+r.n]
		}
		if out = append(out, v); len(out) > maxJoined {
			return nil
		}
	}
	return out
}
