package xla

import (
	"math"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/xla/kernel"
)

func init() {
	kernels["Conv"] = planConv
	kernels["Gemm"] = planGemm
	kernels["MatMul"] = planMatMul
	kernels["GlobalAveragePool"] = planGlobalAverage
	for _, name := range []string{"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"} {
		kernels[name] = planView
	}
	kernels["Relu"] = planRelu
	kernels["Add"] = planAdd
}

// tail is what directly follows a layer and is computed with it.
type tail struct {
	scale, shift []float32 // of a BatchNormalization, nil for none
	add          string    // a value that is added
	bounds       kernel.Bounds
	nodes        []*onnxio.Node
	out          string
}

// tail follows a layer's output through a BatchNormalization, a sum and an activation.
func (b *planning) tail(out string, channels int, adds bool) tail {
	t := tail{bounds: kernel.Free(), out: out}
	next := func() *onnxio.Node { return b.only(t.out) }
	take := func(n *onnxio.Node) { t.nodes, t.out = append(t.nodes, n), n.Outputs[0] }
	if n := next(); n != nil && key(n) == "BatchNormalization" && n.Inputs[0] == t.out && len(n.Inputs) == 5 {
		if t.scale, t.shift = b.folded(n, channels); t.scale != nil {
			take(n)
		}
	}
	if n := next(); adds && n != nil && key(n) == "Add" && len(n.Inputs) == 2 {
		other := n.Inputs[0]
		if other == t.out {
			other = n.Inputs[1]
		}
		if _, there := b.at[other]; there && other != t.out && slices.Equal(b.dims(other), b.dims(t.out)) {
			t.add = other
			take(n)
		}
	}
	if n := next(); n != nil && key(n) == "Relu" {
		t.bounds.Low = 0
		take(n)
	}
	return t
}

// folded returns a BatchNormalization as a factor and an addend of each channel, nil for one that is computed otherwise.
func (b *planning) folded(n *onnxio.Node, channels int) (scale, shift []float32) {
	o := b.op(n)
	var v [4][]float32
	for i := range v {
		if v[i] = b.constant(o, i+1); len(v[i]) != channels {
			return nil, nil
		}
	}
	if o.intOr("training_mode", 0) != 0 || len(n.Outputs) > 1 {
		return nil, nil
	}
	eps := o.floatOr("epsilon", 1e-5)
	scale, shift = make([]float32, channels), make([]float32, channels)
	for i := range scale {
		a := float64(v[0][i]) / math.Sqrt(float64(v[3][i])+eps)
		scale[i], shift[i] = float32(a), float32(float64(v[1][i])-float64(v[2][i])*a)
	}
	return scale, shift
}

// close marks the nodes of a tail as planned.
func (b *planning) close(t tail) {
	for _, n := range t.nodes {
		b.done[n] = true
	}
}

func planConv(b *planning, o *nodeOp) bool {
	w := b.constant(o, 1)
	d, dw := o.in[0].dims(), o.in[1].dims()
	bias := b.constant(o, 2)
	if w == nil || len(d) != 4 || len(dw) != 4 || o.has(2) && bias == nil || product(b.dims(o.Outputs[0])) == 0 {
		return false
	}
	p := o.spatial(d[2:], dw[2:])
	g := kernel.Geometry{Kernel: [2]int(dw[2:]), Strides: [2]int(p.strides), Dilations: [2]int(p.dilations), Pads: [2][2]int(p.pads)}
	for _, pad := range p.pads {
		if pad[0] < 0 || pad[1] < 0 {
			return false
		}
	}
	depthwise := p.groups == d[1] && p.groups == dw[0] && p.groups > 1
	t := b.tail(o.Outputs[0], dw[0], !depthwise)
	if t.scale != nil {
		w, bias = scaled(w, bias, t.scale, t.shift)
	}
	c := kernel.NewConv(w, dw[0], d[1], g, p.groups, bias, t.bounds)
	if c == nil {
		return false
	}
	in := []int{b.last(o.Inputs[0])}
	if t.add != "" {
		in = append(in, b.last(t.add))
	}
	n, h, wide := d[0], d[2], d[3]
	b.setLast(t.out, b.add(product(b.dims(t.out)), in, func(c2 []cell, out []float32) {
		var add []float32
		if len(in) > 1 {
			add = c2[in[1]].floats
		}
		c.Run(out, c2[in[0]].floats, n, h, wide, add)
	}))
	b.close(t)
	return true
}

// scaled multiplies the weights of each output by its scale and moves its bias along.
func scaled(w, bias, scale, shift []float32) (nw, nb []float32) {
	nw, nb = slices.Clone(w), slices.Clone(shift)
	each := len(w) / len(scale)
	for o, s := range scale {
		for i := range nw[o*each : (o+1)*each] {
			nw[o*each+i] *= s
		}
		if bias != nil {
			nb[o] += bias[o] * s
		}
	}
	return nw, nb
}

func planGemm(b *planning, o *nodeOp) bool {
	w, bias := b.constant(o, 1), b.constant(o, 2)
	d, dw := o.in[0].dims(), o.in[1].dims()
	if w == nil || o.intOr("transA", 0) != 0 || o.floatOr("alpha", 1) != 1 || o.floatOr("beta", 1) != 1 || len(d) != 2 {
		return false
	}
	k, n, rowStep, colStep := dw[0], dw[1], dw[1], 1
	if o.intOr("transB", 0) != 0 {
		k, n, rowStep, colStep = dw[1], dw[0], 1, dw[1]
	}
	if o.has(2) && len(bias) != n || k == 0 {
		return false
	}
	b.product(o, kernel.Pack(w, k, n, rowStep, colStep, bias), d[0])
	return true
}

func planMatMul(b *planning, o *nodeOp) bool {
	w, d, dw := b.constant(o, 1), o.in[0].dims(), o.in[1].dims()
	if w == nil || len(dw) != 2 || len(d) < 2 || dw[0] == 0 {
		return false
	}
	b.product(o, kernel.Pack(w, dw[0], dw[1], dw[1], 1, nil), product(d[:len(d)-1]))
	return true
}

// product plans rows times a matrix.
func (b *planning) product(o *nodeOp, m *kernel.Matrix, rows int) {
	in := b.plain(o.Inputs[0])
	b.setPlain(o.Outputs[0], b.add(rows*m.Cols, []int{in}, func(c []cell, out []float32) {
		m.Multiply(out, c[in].floats, rows, nil, kernel.Free())
	}))
}

func planGlobalAverage(b *planning, o *nodeOp) bool {
	d := o.in[0].dims()
	if len(d) != 4 || product(d) == 0 {
		return false
	}
	in := b.last(o.Inputs[0])
	b.setLast(o.Outputs[0], b.add(d[0]*d[1], []int{in}, func(c []cell, out []float32) {
		kernel.Mean(out, c[in].floats, d[0], d[2]*d[3], d[1])
	}))
	return true
}

// planView gives a value another shape; its numbers stay where they are.
func planView(b *planning, o *nodeOp) bool {
	if product(o.in[0].dims()) != product(b.dims(o.Outputs[0])) {
		return false
	}
	if o.OpType == "Identity" {
		b.at[o.Outputs[0]] = b.where(o.Inputs[0])
	} else {
		b.setPlain(o.Outputs[0], b.plain(o.Inputs[0]))
	}
	return true
}

func planRelu(b *planning, o *nodeOp) bool {
	b.each(o, func(out, x []float32) {
		for i, v := range x {
			out[i] = max(v, 0)
		}
	})
	return true
}

// each plans a function of single numbers in the layout that the value has.
func (b *planning) each(o *nodeOp, f func(out, x []float32)) {
	from, set := b.where(o.Inputs[0]).plain, b.setPlain
	if b.isLast(o.Inputs[0]) {
		from, set = b.last(o.Inputs[0]), b.setLast
	}
	n := product(o.in[0].dims())
	set(o.Outputs[0], b.add(n, []int{from}, func(c []cell, out []float32) {
		x := c[from].floats
		kernel.Ranges(n, 1, func(i, k int) { f(out[i:k], x[i:k]) })
	}))
}

// planAdd adds two values of one shape.
func planAdd(b *planning, o *nodeOp) bool {
	if len(o.Inputs) != 2 || !b.running(o.Inputs[0]) || !b.running(o.Inputs[1]) || !slices.Equal(o.in[0].dims(), o.in[1].dims()) {
		return false
	}
	in, set := b.plain, b.setPlain
	if b.isLast(o.Inputs[0]) || b.isLast(o.Inputs[1]) {
		in, set = b.last, b.setLast
	}
	x, y, n := in(o.Inputs[0]), in(o.Inputs[1]), product(o.in[0].dims())
	set(o.Outputs[0], b.add(n, []int{x, y}, func(c []cell, out []float32) {
		p, q := c[x].floats, c[y].floats
		kernel.Ranges(n, 1, func(i, k int) {
			for ; i < k; i++ {
				out[i] = p[i] + q[i]
			}
		})
	}))
	return true
}

// turned plans the exchange of the last two axes of d [n, rows, columns].
func (b *planning) turned(from int, d []int) int {
	return b.add(product(d), []int{from}, func(c []cell, out []float32) {
		kernel.Turn(out, c[from].floats, d[0], d[1], d[2])
	})
}
