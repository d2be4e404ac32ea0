package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	const note = "hidden channels = every gate's rows of W and R = columns of R = outputs; input channels = columns of W"
	register(
		Op{Name: "LSTM", Gates: 4, Since: 7, Infer: recurrent(4, 1), Patch: patchHidden, Graph: GraphRecurrent, Layer: &Layer{Weight: 1, Bias: 3, Out: 1, In: 2, Channel: -1, Unfit: unfitGates}, Multiply: true, Train: ".wwv", LaterOutputs: true, Note: note},
		Op{Name: "GRU", Gates: 3, Since: 7, Infer: recurrent(3, 1), Patch: patchHidden, Graph: GraphRecurrent, Layer: &Layer{Weight: 1, Bias: 3, Out: 1, In: 2, Channel: -1, Unfit: unfitGates}, Multiply: true, Train: ".wwv", LaterOutputs: true, Note: note},
		Op{Name: "RNN", Gates: 1, Since: 7, Infer: recurrent(1, 1), Patch: patchHidden, Graph: GraphRecurrent, Layer: &Layer{Weight: 1, Bias: 3, Out: 1, In: 2, Channel: -1, Unfit: unfitGates}, Multiply: true, Train: ".wwv", LaterOutputs: true, Note: note},
		Op{Domain: Microsoft, Name: "DynamicQuantizeLSTM", Gates: 4, Since: 1, Infer: recurrent(4, 2), Patch: patchHidden, Layer: &Layer{Weight: 1, Bias: 3, Out: 2, In: 1, Channel: -1, Unfit: unfitGates}, Multiply: true, Operands: ".ww.....ssss", Note: "as LSTM with W and R transposed; scales and zero points = every gate's columns"},
	)
}

// Inputs of LSTM, GRU and RNN: X [seq, batch, I], W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H],
// sequence_lens, initial_h [D, batch, H], initial_c, P [D, 3*H]; with layout 1 X, initial states
// and outputs have the batch first. Both
// directions lose the same hidden channels, since they share tensors. DynamicQuantizeLSTM has W [D,
// I, G*H] and R [D, H, G*H], and their scales and zero points, [D] or [D, G*H], behind P.
const (
	InputX = iota
	InputW
	InputR
	inputB
	_ // sequence_lens
	inputH
	inputC
	inputP
	inputWScale
	inputWPoint
	inputRScale
	inputRPoint
)

// recurrent is the rule of a recurrent operator with so many gates, which stand on an axis of W and
// R, 1 or 2; the inputs stand on the other.
//
//go:noinline
func recurrent(gates, rows int) func(c *Call) { return func(c *Call) { c.recurrent(gates, rows) } }

func (c *Call) recurrent(gates, rows int) {
	columns := 3 - rows
	x, w, r := c.Input(InputX), c.Input(InputW), c.Input(InputR)
	if x == nil || w == nil || r == nil || len(x.Shape) != 3 || len(w.Shape) != 3 || len(r.Shape) != 3 {
		c.unknown("the shapes of input and weights do not fit")
		return
	}
	hidden, directions := r.Shape[columns], w.Shape[0]
	if !hidden.IsNum() || !directions.IsNum() || w.Shape[rows] != dim.Num(int64(gates)*hidden.N) || r.Shape[rows] != w.Shape[rows] || r.Shape[0] != directions || w.Shape[columns] != x.Shape[2] || !c.vectorsFit(gates, hidden.N) {
		c.unknown("weights %v and %v do not fit input %v", w.Shape, r.Shape, x.Shape)
		return
	}
	h := c.hidden(gates, rows, int(hidden.N))
	c.link(w, columns, x, 2)
	c.freezeUnlessZero(x, w, r, h)
	for _, v := range []*Value{w, r} {
		c.freeze(v, 0, "holds the directions of a recurrent layer")
	}
	c.freeze(x, 0, "recurs along this axis")
	c.freeze(x, 1, "recurs along this axis")
	seq, batch := x.Shape[0], x.Shape[1]
	y, states := []dim.Dim{seq, directions, batch, hidden}, []dim.Dim{directions, batch, hidden}
	if c.Int("layout", 0) == 1 {
		seq, batch = batch, seq
		y, states = []dim.Dim{batch, seq, directions, hidden}, []dim.Dim{batch, directions, hidden}
	}
	zero := c.startsAtZero()
	if rows == 2 {
		c.freezeUnlessInRange(x, h, zero)
	}
	c.set(0, x.Type, y, nil, nil, nil, h).zero = zero
	c.set(1, x.Type, states, nil, nil, h).zero = zero
	c.set(2, x.Type, slices.Clone(states), nil, nil, h).zero = zero
	in := labelsOr(c.axis(w, columns), int(w.Shape[columns].N))
	read := append(slices.Clone(in), labelsOr(h, int(hidden.N))...)
	c.cost(seq.Mul(batch).Mul(directions).N, CostAxis{c.axis(w, rows), w.Shape[rows].N}, CostAxis{read, int64(len(read))})
}

// freezeUnlessZero keeps channels whose removal the weights do not stand for: quantised ones whose
// zero point is not 0.
func (c *Call) freezeUnlessZero(x, w, r *Value, h []label.Label) {
	zero := func(v *Value, point int) bool { return v.zero == isZero && pointIs0(c.Input(point)) }
	if !zero(w, inputWPoint) && x.zero != isZero {
		c.freeze(x, 2, "sums over channels that would not be zero when removed")
	}
	for i, v := range []*Value{w, r, c.Input(inputB), c.Input(inputP)} {
		if v != nil && !zero(v, []int{inputWPoint, inputRPoint, inputRPoint + 1, inputRPoint + 1}[i]) {
			c.Labels.FreezeAll(h, c.because("has weights that are not zero where they are removed"))
		}
	}
}

// freezeUnlessInRange keeps channels of input and state that would not be zero when removed where
// both are quantised by what they hold: zero is in every range, other numbers widen it.
func (c *Call) freezeUnlessInRange(x *Value, h []label.Label, state zeroState) {
	if x.zero != isZero {
		c.freeze(x, 2, "the range is taken over channels that would not be zero when removed")
	}
	if state != isZero {
		c.Labels.FreezeAll(h, c.because("the range is taken over a state that would not be zero when removed"))
	}
}

// labelsOr returns the labels, or as many that are never cut; none where there would be too many to
// follow.
func labelsOr(v []label.Label, n int) []label.Label {
	if v == nil && n >= 0 && n <= MaxAxis {
		return make([]label.Label, n)
	}
	return v
}

// vectorsFit compares the lengths of bias and peepholes with the number of hidden channels.
func (c *Call) vectorsFit(gates int, hidden int64) bool {
	for i, n := range map[int]int64{inputB: 2 * int64(gates) * hidden, inputP: 3 * hidden} {
		if v := c.Input(i); v != nil && (len(v.Shape) != 2 || v.Shape[1] != dim.Num(n)) {
			return false
		}
	}
	for _, i := range []int{inputH, inputC} {
		if v := c.Input(i); v != nil && (len(v.Shape) != 3 || v.Shape[2] != dim.Num(hidden)) {
			return false
		}
	}
	return true
}

// hidden joins every axis of hidden channels and returns their labels.
func (c *Call) hidden(gates, rows, n int) []label.Label {
	w, r := c.Input(InputW), c.Input(InputR)
	for _, v := range []*Value{w, r} {
		c.role(v, rows, Output)
		c.role(v, 3-rows, Input)
	}
	h := c.gate(w, rows, gates, n)
	for _, part := range []struct{ input, axis, blocks int }{{InputR, rows, gates}, {inputB, 1, 2 * gates}, {inputP, 1, 3}, {inputWScale, 1, gates}, {inputWPoint, 1, gates}, {inputRScale, 1, gates}, {inputRPoint, 1, gates}} {
		if v := c.Input(part.input); v != nil && part.axis < len(v.Shape) && v.Shape[part.axis] == dim.Num(int64(part.blocks*n)) {
			c.track(v)
			c.joinLabels(c.gate(v, part.axis, part.blocks, n), h)
			c.freeze(v, 0, "holds the directions of a recurrent layer")
		} else if v != nil && (!v.Ranked || part.axis < len(v.Shape)) {
			c.Labels.FreezeAll(h, c.because("%q is not known to have a place for every hidden channel", v.Name))
		}
	}
	c.describe(w, c.Input(inputWScale), c.Input(inputWPoint), -1)
	c.describe(r, c.Input(inputRScale), c.Input(inputRPoint), -1)
	c.join(r, 3-rows, h)
	for _, i := range []int{inputH, inputC} {
		if v := c.Input(i); v != nil {
			c.join(v, 2, h)
			c.freeze(v, 0, "holds the directions of a recurrent layer")
			c.freeze(v, 1, "holds the directions of a recurrent layer")
		}
	}
	return h
}

// gate views an axis of blocks times n positions and returns the labels of one block, which all
// blocks share.
func (c *Call) gate(v *Value, k, blocks, n int) []label.Label {
	axis := c.axis(v, k)
	if axis == nil {
		return nil
	}
	if blocks == 1 {
		return axis
	}
	outer, inner := c.Labels.Split(axis, blocks, n, c.because("each gate needs all hidden channels"))
	c.Labels.FreezeAll(outer, c.because("each gate needs all hidden channels"))
	return inner
}

// keepsZero reports whether an activation gives zero for zero.
func keepsZero(name string) bool {
	return name == "ScaledTanh" || Describe("", name).KeepsZero
}

// startsAtZero tells what removed hidden channels hold when their weights are zero: zero, where
// they start there and the activations keep it.
func (c *Call) startsAtZero() zeroState {
	for _, i := range []int{inputH, inputC} {
		if v := c.Input(i); v != nil && v.Const == nil && v.zero != isZero {
			return nonZero
		}
	}
	a := c.attr("activations")
	if a == nil {
		return isZero
	}
	each := max(c.Op().Gates-1, 1) // activations of a direction
	for i, name := range a.Strings {
		if gate := i%each == 0 && each > 1; !gate && !keepsZero(string(name)) {
			return nonZero
		}
	}
	return isZero
}

// patchHidden sets hidden_size to what is left.
func patchHidden(p *Patching) {
	a := p.Old.attr("hidden_size")
	if a == nil || len(p.in) <= InputR || p.in[InputR] == nil {
		return
	}
	columns := 2
	if p.Old.Node.Domain == Microsoft {
		columns = 1
	}
	if left := p.in[InputR].Shape[columns]; left.IsNum() && left.N != a.I {
		p.setAttr(&onnxio.Attribute{Name: "hidden_size", Type: onnxio.AttrInt, I: left.N})
	}
}
