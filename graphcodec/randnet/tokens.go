package randnet

import "math"

// attention is written out, with one, packed or separate projections, or grouped queries.
func (n *net) attention(v *value) *value {
	t, heads := v.dims[1], []int{2, 3, 4}[n.r.IntN(3)]
	dim := 2 + n.r.IntN(5)
	q, k, w := n.projections(v, heads, dim)
	scale := n.constant(floats(n.fresh("c"), []float32{float32(1 / math.Sqrt(float64(dim)))}))
	kt := n.transpose(k, 0, 1, 3, 2)
	s := n.node("MatMul", []int{v.dims[0], heads, t, t}, []string{q.name, kt.name})
	s = n.unary("Softmax", n.node("Mul", s.dims, []string{s.name, scale}), integer("axis", 3))
	o := n.node("MatMul", []int{v.dims[0], heads, t, w.dims[3]}, []string{s.name, w.name})
	o = n.transpose(o, 0, 2, 1, 3)
	o = n.reshape(o, v.dims[0], t, heads*w.dims[3])
	return n.with2("Add", v, n.linear(o, v.dims[2]))
}

func (n *net) projections(v *value, heads, dim int) (q, k, w *value) {
	t := v.dims[1]
	split := func(x *value, h, d int) *value {
		return n.transpose(n.reshape(x, v.dims[0], t, h, d), 0, 2, 1, 3)
	}
	switch n.r.IntN(3) {
	case 0: // separate, values of another width
		wide := 2 + n.r.IntN(5)
		return split(n.linear(v, heads*dim), heads, dim), split(n.linear(v, heads*dim), heads, dim), split(n.linear(v, heads*wide), heads, wide)
	case 1: // packed, split by the channels
		p := n.split(n.linear(v, 3*heads*dim), 2, heads*dim, heads*dim, heads*dim)
		return split(p[0], heads, dim), split(p[1], heads, dim), split(p[2], heads, dim)
	}
	x := n.reshape(n.linear(v, 3*heads*dim), v.dims[0], t, 3, heads, dim) // packed, as one view
	x = n.transpose(x, 2, 0, 3, 1, 4)
	pick := func(i int) *value {
		return n.node("Gather", x.dims[1:], []string{x.name, n.constant(scalar(n.fresh("i"), i))}, integer("axis", 0))
	}
	return pick(0), pick(1), pick(2)
}

func (n *net) mlp(v *value) *value {
	h := n.gelu(n.linear(n.layerNorm(v), 8+n.r.IntN(17)))
	return n.with2("Add", v, n.linear(h, v.dims[2]))
}

func (n *net) gatedMLP(v *value) *value {
	width := 6 + n.r.IntN(13)
	h := n.linear(v, width)
	h = n.with2("Mul", n.with2("Mul", h, n.unary("Sigmoid", h)), n.linear(v, width))
	return n.with2("Add", v, n.linear(h, v.dims[2]))
}

// mixer works on the tokens as if they were channels.
func (n *net) mixer(v *value) *value {
	h := n.linear(n.transpose(v, 0, 2, 1), 6+n.r.IntN(9))
	h = n.linear(n.unary("Relu", h), v.dims[1])
	return n.with2("Add", v, n.transpose(h, 0, 2, 1))
}

func (n *net) position(v *value) *value {
	return n.with("Add", v, n.weight("position", 0, .2, 1, v.dims[1], v.dims[2]))
}

func (n *net) classToken(v *value) *value {
	if n.Style.FreeBatch || v.dims[1] > 60 {
		return nil
	}
	c := n.weight("token", 0, .5, v.dims[0], 1, v.dims[2])
	return n.node("Concat", []int{v.dims[0], v.dims[1] + 1, v.dims[2]}, []string{c, v.name}, integer("axis", 1))
}

// recurrent runs over the tokens.
func (n *net) recurrent(v *value) *value {
	hidden, kind := 4+n.r.IntN(7), n.r.IntN(3)
	op, gates := []string{"LSTM", "GRU", "RNN"}[kind], []int{4, 3, 1}[kind]
	x := n.transpose(v, 1, 0, 2)
	std := 1 / math.Sqrt(float64(hidden))
	w, r, b := n.weight("weight", 0, std, 1, gates*hidden, v.dims[2]), n.weight("recurrence", 0, std, 1, gates*hidden, hidden), n.weight("bias", 0, .2, 1, 2*gates*hidden)
	y := n.node(op, []int{v.dims[1], 1, v.dims[0], hidden}, []string{x.name, w, r, b}, integer("hidden_size", hidden))
	y = n.node("Squeeze", []int{v.dims[1], v.dims[0], hidden}, []string{y.name, n.ints(1)})
	return n.transpose(y, 1, 0, 2)
}

func (n *net) toImage(v *value) *value {
	side := int(math.Sqrt(float64(v.dims[1])))
	if side*side != v.dims[1] {
		return nil
	}
	return n.reshape(n.transpose(v, 0, 2, 1), v.dims[0], v.dims[2], side, side)
}

// rmsNorm is written out.
func (n *net) rmsNorm(v *value) *value {
	one := []int{v.dims[0], v.dims[1], 1}
	s := n.reduce("ReduceMean", n.with2("Mul", v, v), one, true, 2)
	s = n.node("Add", one, []string{s.name, n.constant(floats(n.fresh("c"), []float32{1e-5}))})
	s = n.unary("Sqrt", s)
	return n.node("Mul", v.dims, []string{n.with2("Div", v, s).name, n.weight("scale", 1, .3, v.dims[2])})
}
