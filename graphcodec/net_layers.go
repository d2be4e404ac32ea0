package graphcodec

import "github.com/metaprune/metaprune/graphcodec/op"

// encoder adds a node of the model to the parameter graph; false leaves its outputs with the provenance of its inputs.
type encoder func(b *netBuilder, c *op.Call) bool

// encoders are how nodes are added, by what they are.
var encoders = map[op.GraphKind]encoder{
	op.GraphConv: encodeConv, op.GraphTransposed: encodeConvTranspose, op.GraphMatrix: encodeMatMul, op.GraphPacked: encodePackedAttention, op.GraphTable: encodeGather, op.GraphRecurrent: encodeRecurrent,
	op.GraphSum: encodeAdd, op.GraphProduct: encodeMul, op.GraphConcat: encodeConcat, op.GraphParts: encodeParts, op.GraphNorm: encodeNorm,
}

// encodeConv is a convolution, to whose output another value may be added.
func encodeConv(b *netBuilder, c *op.Call) bool {
	layer := c.Op().Layer
	x, w, y := c.Input(0), c.Input(layer.Weight), c.Out[0]
	view := b.weight(c, w, 0, 1)
	groups := int(c.Int("group", 1))
	if view == nil || groups < 1 || view.rows%groups != 0 || axisLength(x, 1) != view.cols*groups {
		return false
	}
	ids := b.nodes(x, 1)
	s := b.layer(c, view, view.rows, y, 1, x)
	fixed := b.take(view.c)
	rows := view.rows / groups
	if view.cols == 1 && rows == 1 && groups > 1 {
		s.depthwise = true
		b.depthwise(s, ids, view, fixed)
	} else {
		for g := range groups {
			b.dense(s, g*rows, rows, ids[g*view.cols:(g+1)*view.cols], view, g*rows*view.rowStride, fixed)
		}
	}
	b.from[y] = &provenance{main: []*nodeSet{s}}
	b.bias(c, c.Input(layer.Bias), y, 1)
	if layer.Added == 0 {
		return true
	}
	if z := c.Input(layer.Added); z != nil && b.from[z] != nil {
		b.joinSummand(y, z)
		p := *b.from[y]
		p.rest = b.otherAxes(&p, z)
		b.from[y] = &p
	}
	return true
}

func encodeConvTranspose(b *netBuilder, c *op.Call) bool {
	x, w, y := c.Input(0), c.Input(1), c.Out[0]
	view := b.weight(c, w, 1, 0)
	groups := int(c.Int("group", 1))
	if view == nil || groups < 1 || view.cols%groups != 0 || axisLength(x, 1) != view.cols {
		return false
	}
	ids := b.nodes(x, 1)
	s := b.layer(c, view, view.rows*groups, y, 1, x)
	fixed := b.take(view.c)
	cols := view.cols / groups
	for g := range groups {
		b.dense(s, g*view.rows, view.rows, ids[g*cols:(g+1)*cols], view, g*cols*view.colStride, fixed)
	}
	b.from[y] = &provenance{main: []*nodeSet{s}}
	b.bias(c, c.Input(2), y, 1)
	return true
}

// bias attaches a layer's own bias to its nodes.
func (b *netBuilder) bias(c *op.Call, v, y *op.Value, k int) {
	if v != nil {
		b.attach(c, y, k, []slot{layerBias}, []*op.Value{v})
	}
}

func encodeMatMul(b *netBuilder, c *op.Call) bool {
	o, ok := c.Matrices()
	if !ok {
		return false
	}
	y := c.Out[0]
	view := b.weight(c, o.W, o.WOut, o.WIn)
	if view == nil || axisLength(o.X, o.XIn) != view.cols {
		return b.attention(c)
	}
	ids := b.nodes(o.X, o.XIn)
	p := &provenance{}
	if old := b.from[o.X]; old != nil {
		if p.rest = old.rest; b.channelAxis(o.X) != o.XIn {
			p.rest = append([][]*nodeSet{old.main}, old.rest[:min(len(old.rest), 3)]...)
		}
	}
	s := b.layer(c, view, view.rows, y, o.Out, o.X)
	b.dense(s, 0, view.rows, ids, view, 0, b.take(view.c))
	p.main = []*nodeSet{s}
	b.from[y] = p
	if c.Node.OpType == "Gemm" && c.Input(2) != nil {
		b.bias(c, c.Input(2), y, o.Out)
	}
	return true
}

// encodePackedAttention is ONNX Runtime's fused attention, a layer whose nodes are query, key and value one behind the other; what follows sees the values. The operator of ONNX itself has no weights.
func encodePackedAttention(b *netBuilder, c *op.Call) bool {
	if c.Node.Domain != op.Microsoft {
		return false
	}
	x, y := c.Input(0), c.Out[0]
	view := b.weight(c, c.Input(1), 1, 0)
	values := axisLength(y, 2)
	if view == nil || axisLength(x, 2) != view.cols || values > view.rows {
		return false
	}
	ids := b.nodes(x, 2)
	s := b.layer(c, view, view.rows, y, 2, x)
	b.dense(s, 0, view.rows, ids, view, 0, b.take(view.c))
	b.from[y] = &provenance{main: []*nodeSet{s}}
	if values < view.rows {
		b.from[y].main = b.views(upFrom(s.base, s.size)[view.rows-values:])
	}
	return true
}

// attention links the channels of two activations that are multiplied as matrices, one by one, and goes on with the second's.
func (b *netBuilder) attention(c *op.Call) bool {
	x, y := c.Input(0), c.Input(1)
	p, q := b.from[x], b.from[y]
	if p == nil || q == nil {
		return false
	}
	b.from[c.Out[0]] = q
	from, to := allNodes(p.main), allNodes(q.main)
	if len(b.scheme.Edges) > edgeAttention && len(from) == len(to) {
		b.connect(from, to, edgeAttention)
	}
	return true
}

func allNodes(sets []*nodeSet) []int32 {
	var out []int32
	for _, s := range sets {
		if s.size > 0 {
			out = append(out, upFrom(s.base, s.size)...)
		}
	}
	return out
}

// encodeGather makes the channels of an embedding table nodes without incoming edges.
func encodeGather(b *netBuilder, c *op.Call) bool {
	table, y := c.Input(0), c.Out[0]
	if table == nil || table.Const == nil || !table.Type.IsFloat() || len(table.Shape) != 2 || !y.Ranked || len(y.Shape) < 2 || c.Int("axis", 0) != 0 {
		return false
	}
	k := len(y.Shape) - 1
	if n := axisLength(y, k); n > 0 {
		s := &nodeSet{name: table.Const.Name, kind: "embedding", out: y}
		b.place(s, n, labelsOf(y, k))
		b.from[y] = &provenance{main: []*nodeSet{s}}
		return true
	}
	return false
}

// encodeRecurrent makes the hidden channels of LSTM, GRU and RNN nodes: edges from the input's channels and from one another, whose kernels are the gates of all directions.
func encodeRecurrent(b *netBuilder, c *op.Call) bool {
	gates := c.Op().Gates
	x, y := c.Input(op.InputX), c.Out[0]
	for _, v := range c.Out {
		if y == nil {
			y = v
		}
	}
	w, r := b.weight(c, c.Input(op.InputW), 1, 2), b.weight(c, c.Input(op.InputR), 1, 2)
	if w == nil || r == nil || x == nil || y == nil || !y.Ranked || w.rows != r.rows || w.rows != gates*r.cols || axisLength(x, 2) != w.cols {
		return false
	}
	w.stack(gates)
	r.stack(gates)
	ids := b.nodes(x, 2)
	s := b.layer(c, w, w.rows, y, len(y.Shape)-1, x)
	b.dense(s, 0, w.rows, ids, w, 0, b.take(w.c))
	b.dense(s, 0, r.rows, upFrom(s.base, s.size), r, 0, b.take(r.c))
	for _, v := range c.Out {
		if v != nil {
			b.from[v] = &provenance{main: []*nodeSet{s}}
		}
	}
	return true
}
