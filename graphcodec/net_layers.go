package graphcodec

import "slices"

// encoder adds a node of the model to the parameter graph; false leaves its outputs with the provenance of its inputs.
type encoder func(b *netBuilder, c *call) bool

// encodeConv is a convolution whose bias is the given input.
//
//go:noinline
func encodeConv(bias int) encoder {
	return func(b *netBuilder, c *call) bool {
		x, w, y := c.input(0), c.input(1), c.out[0]
		view := b.weight(c, w, 0, 1)
		groups := int(c.int("group", 1))
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
		b.bias(c, c.input(bias), y, 1)
		return true
	}
}

func encodeConvTranspose(b *netBuilder, c *call) bool {
	x, w, y := c.input(0), c.input(1), c.out[0]
	view := b.weight(c, w, 1, 0)
	groups := int(c.int("group", 1))
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
	b.bias(c, c.input(2), y, 1)
	return true
}

// bias attaches a layer's own bias to its nodes.
func (b *netBuilder) bias(c *call, v, y *Value, k int) {
	if v != nil {
		b.attach(c, y, k, []slot{layerBias}, []*Value{v})
	}
}

// product is the operands of a matrix product: which axes are contracted, and which stay.
type operands struct {
	x, w             *Value
	xIn, wIn, wOut   int
	out              int // axis of the product that w's wOut becomes
	weightOnTheRight bool
}

// matrices returns the operands of a product of two matrices with the weight, if there is one, as w.
func (c *call) matrices() (operands, bool) {
	if c.node.OpType == "Einsum" {
		return c.einsumMatrices()
	}
	a, w := c.input(0), c.input(1)
	if a == nil || w == nil || len(a.Shape) < 2 || len(w.Shape) < 2 || !c.out[0].Ranked || len(c.out[0].Shape) < 2 {
		return operands{}, false
	}
	ra, rw, ro := len(a.Shape), len(w.Shape), len(c.out[0].Shape)
	am, ak, wk, wn := ra-2, ra-1, rw-2, rw-1
	if c.int("transA", 0) != 0 {
		am, ak = ak, am
	}
	if c.int("transB", 0) != 0 {
		wk, wn = wn, wk
	}
	if w.Const == nil && c.traces[w] == nil && (a.Const != nil || c.traces[a] != nil) {
		return operands{w, a, wk, ak, am, ro - 2, false}, true
	}
	return operands{a, w, ak, wk, wn, ro - 1, true}, true
}

// einsumMatrices does so for an equation that multiplies with a matrix, or with one for each of some positions: one of its letters is summed over, another one is in the result.
func (c *call) einsumMatrices() (operands, bool) {
	in, out, ok := c.einsumTerms()
	if !ok || len(in) != 2 || !c.out[0].Ranked {
		return operands{}, false
	}
	x, w, right := in[0], in[1], true
	if w.value.Const == nil && c.traces[w.value] == nil {
		x, w, right = w, x, false
	}
	o := operands{x: x.value, w: w.value, xIn: -1, wOut: -1, weightOnTheRight: right}
	for k, l := range w.letters {
		at, result := slices.Index(x.letters, l), slices.Index(out, l)
		source, _ := c.origin(w.value, k)
		switch {
		case source == nil && result >= 0: // a matrix for each, picked at run time
		case at >= 0 && result < 0 && o.xIn < 0:
			o.xIn, o.wIn = at, k
		case at < 0 && result >= 0 && o.wOut < 0:
			o.wOut, o.out = k, result
		case at >= 0 && result >= 0: // a matrix for each
		default:
			return operands{}, false
		}
	}
	return o, o.xIn >= 0 && o.wOut >= 0
}

func encodeMatMul(b *netBuilder, c *call) bool {
	o, ok := c.matrices()
	if !ok {
		return false
	}
	y := c.out[0]
	view := b.weight(c, o.w, o.wOut, o.wIn)
	if view == nil || axisLength(o.x, o.xIn) != view.cols {
		return b.attention(c)
	}
	ids := b.nodes(o.x, o.xIn)
	p := &provenance{}
	if old := b.from[o.x]; old != nil {
		if p.rest = old.rest; b.channelAxis(o.x) != o.xIn {
			p.rest = append([][]*nodeSet{old.main}, old.rest[:min(len(old.rest), 3)]...)
		}
	}
	s := b.layer(c, view, view.rows, y, o.out, o.x)
	b.dense(s, 0, view.rows, ids, view, 0, b.take(view.c))
	p.main = []*nodeSet{s}
	b.from[y] = p
	if c.node.OpType == "Gemm" && c.input(2) != nil {
		b.bias(c, c.input(2), y, o.out)
	}
	return true
}

// encodePackedAttention is ONNX Runtime's fused attention, a layer whose nodes are query, key and value one behind the other; what follows sees the values. The operator of ONNX itself has no weights.
func encodePackedAttention(b *netBuilder, c *call) bool {
	if c.node.Domain != microsoft {
		return false
	}
	x, y := c.input(0), c.out[0]
	view := b.weight(c, c.input(1), 1, 0)
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
func (b *netBuilder) attention(c *call) bool {
	x, y := c.input(0), c.input(1)
	p, q := b.from[x], b.from[y]
	if p == nil || q == nil {
		return false
	}
	b.from[c.out[0]] = q
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
func encodeGather(b *netBuilder, c *call) bool {
	table, y := c.input(0), c.out[0]
	if table == nil || table.Const == nil || !table.Type.IsFloat() || len(table.Shape) != 2 || !y.Ranked || len(y.Shape) < 2 || c.int("axis", 0) != 0 {
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
func encodeRecurrent(b *netBuilder, c *call) bool {
	gates := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[c.node.OpType]
	x, y := c.input(inputX), c.out[0]
	for _, v := range c.out {
		if y == nil {
			y = v
		}
	}
	w, r := b.weight(c, c.input(inputW), 1, 2), b.weight(c, c.input(inputR), 1, 2)
	if w == nil || r == nil || x == nil || y == nil || !y.Ranked || w.rows != r.rows || w.rows != gates*r.cols || axisLength(x, 2) != w.cols {
		return false
	}
	w.stack(gates)
	r.stack(gates)
	ids := b.nodes(x, 2)
	s := b.layer(c, w, w.rows, y, len(y.Shape)-1, x)
	b.dense(s, 0, w.rows, ids, w, 0, b.take(w.c))
	b.dense(s, 0, r.rows, upFrom(s.base, s.size), r, 0, b.take(r.c))
	for _, v := range c.out {
		if v != nil {
			b.from[v] = &provenance{main: []*nodeSet{s}}
		}
	}
	return true
}
