package meta

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/metaprune/metaprune/metanet"
)

// floor is the variance up to which messages count as equal: the reference's clamp.
const floor = 1e-5

// pass builds parts of the forward pass over one layout.
type pass struct {
	l        *layout
	hidden   int
	inverter []float32
}

// affine is a linear layer's parameters.
type affine struct{ w, b *Node }

// affines pairs weights and biases.
func affines(params []*Node) []affine {
	var out []affine
	for i := 0; i < len(params); i += 2 {
		out = append(out, affine{params[i], params[i+1]})
	}
	return out
}

func silu(x *Node) *Node { return Mul(x, Sigmoid(x)) }

func (a affine) of(x *Node) *Node {
	d := x.Shape().Dimensions
	rows := 1
	for _, n := range d[:len(d)-1] {
		rows *= n
	}
	y := DotGeneral(Reshape(x, rows, d[len(d)-1]), []int{1}, nil, a.w, []int{1}, nil)
	y = Add(y, ExpandLeftToRank(a.b, 2))
	return Reshape(y, append(append([]int(nil), d[:len(d)-1]...), a.w.Shape().Dimensions[0])...)
}

func stack(norm bool, layers []affine, x *Node) *Node {
	if norm {
		x = layerNorm(x)
	}
	for i, l := range layers {
		if x = l.of(x); i < len(layers)-1 {
			x = silu(x)
		}
	}
	return x
}

func layerNorm(x *Node) *Node {
	c := Sub(x, ReduceAndKeep(x, ReduceMean, -1))
	return Mul(c, Inverse(Sqrt(AddScalar(ReduceAndKeep(Square(c), ReduceMean, -1), 1e-5))))
}

// take returns rows of x [n, h] by number, n standing for a row of pads. Its gradient takes rows too: inverse [n, fan] lists where each row of x went, len(of) standing for nowhere. So nothing is
// scattered.
func take(x *Node, pad float64, of, inverse []int32) *Node {
	n, h, m := x.Shape().Dimensions[0], x.Shape().Dimensions[1], len(of)
	y := rowsOf(StopGradient(x), pad, of)
	// The value comes from y, the gradient goes through these zeros.
	zeros := IdentityWithCustomGradient(Concatenate([]*Node{x, blank(x, m, h, 0)}, 0), func(_, v *Node) *Node {
		back := rowsOf(SliceAxis(v, 0, AxisRange(n, n+m)), 0, inverse)
		back = ReduceSum(Reshape(back, n, len(inverse)/n, h), 1)
		return Concatenate([]*Node{back, blank(x, m, h, 0)}, 0)
	})
	return Add(SliceAxis(zeros, 0, AxisRange(n, n+m)), y)
}

func blank(like *Node, rows, cols int, value float64) *Node {
	return BroadcastToDims(Scalar(like.Graph(), like.DType(), value), rows, cols)
}

// rowsOf gathers rows; number n is a row of pads.
func rowsOf(x *Node, pad float64, of []int32) *Node {
	x = Concatenate([]*Node{x, blank(x, 1, x.Shape().Dimensions[1], pad)}, 0)
	return Gather(x, InsertAxes(Const(x.Graph(), of), -1))
}

// spread brings node states [N, w] to the rows of all groups.
func (x *index) spread(states *Node) *Node { return take(states, 0, x.of, x.back) }

// collect brings rows [M, w] to their nodes: [N, fan, w].
func (x *index) collect(rows *Node, pad float64) *Node {
	n := len(x.messages)
	return Reshape(take(rows, pad, x.back, x.place), n, x.fan, rows.Shape().Dimensions[1])
}

// gates are the four gates at the output or input channels of a group's edges.
type gates struct{ a, z, p, q *Node }

// at cuts a group's rows out of spread gates [M, 4H] and shapes them to be multiplied with edge states.
func (f *pass) at(all *Node, g *group, first, size int, axis int) gates {
	rows := SliceAxis(all, 0, AxisRange(first, first+len(g.blocks)*size))
	d := []int{len(g.blocks), size, 1, f.hidden}
	switch {
	case g.diagonal:
		d = []int{len(g.blocks), size, f.hidden}
	case axis == 2:
		d = []int{len(g.blocks), 1, size, f.hidden}
	}
	cut := func(k int) *Node {
		return Reshape(SliceAxis(rows, 1, AxisRange(k*f.hidden, (k+1)*f.hidden)), d...)
	}
	return gates{cut(0), cut(1), cut(2), cut(3)}
}

// layer is one layer of message passing: new node states [N, H] and edge states.
func (f *pass) layer(params []affine, h *Node, e []*Node) (*Node, []*Node) {
	x := layerNorm(h)
	four := make([]*Node, 4)
	for k := range four {
		four[k] = silu(params[k].of(x))
	}
	all := Concatenate(four, 1)
	outs, ins := f.l.rows.spread(all), f.l.cols.spread(all)
	first, second := make([]moments, len(e)), make([]moments, len(e))
	next := make([]*Node, len(e))
	inverter := ConstAs(h, f.inverter)
	for i, s := range e {
		g := &f.l.groups[i]
		row, col := f.at(outs, g, g.rowAt, g.rows, 1), f.at(ins, g, g.colAt, g.cols, 2)
		first[i] = f.moments(g, Mul(Mul(col.z, row.a), s), 1)
		second[i] = f.moments(g, Mul(Mul(Mul(row.z, col.a), s), ExpandLeftToRank(inverter, s.Rank())), 2)
		next[i] = Add(s, Mul(Add(Mul(row.p, col.q), Mul(col.p, row.q)), s))
	}
	down := params[4]
	h = Add(h, down.of(f.statistics(f.l.cols, first, h)))
	return Add(h, down.of(f.statistics(f.l.rows, second, h))), next
}

// moments are sums, sums of squares and extrema of a group's messages, [M, H] each.
type moments struct{ sum, square, high, low *Node }

func (f *pass) moments(g *group, m *Node, axis int) moments {
	flat := func(x *Node) *Node { return Reshape(x, -1, f.hidden) }
	if g.diagonal {
		return moments{flat(m), flat(Square(m)), flat(m), flat(m)}
	}
	return moments{flat(ReduceSum(m, axis)), flat(ReduceSum(Square(m), axis)), flat(ReduceMax(m, axis)), flat(ReduceMin(m, axis))}
}

// statistics returns [N, 4H]: mean, standard deviation, maximum and minimum of each node's messages; zeros for a node without any.
func (f *pass) statistics(x *index, of []moments, like *Node) *Node {
	n := len(x.messages)
	if len(of) == 0 {
		return blank(like, n, 4*f.hidden, 0)
	}
	join := func(part func(m moments) *Node) *Node {
		var all []*Node
		for _, m := range of {
			all = append(all, part(m))
		}
		return Concatenate(all, 0)
	}
	sums := ReduceSum(x.collect(join(func(m moments) *Node { return Concatenate([]*Node{m.sum, m.square}, 1) }), 0), 1)
	high := ReduceMax(x.collect(join(func(m moments) *Node { return m.high }), -math.MaxFloat32/2), 1)
	low := ReduceMin(x.collect(join(func(m moments) *Node { return m.low }), math.MaxFloat32/2), 1)
	count := Reshape(ConstAs(like, x.messages), n, 1)
	share := Inverse(MaxScalar(count, 1))
	mean := Mul(SliceAxis(sums, 1, AxisRange(0, f.hidden)), share)
	variance := Sub(Mul(SliceAxis(sums, 1, AxisRange(f.hidden, 2*f.hidden)), share), Square(mean))
	apart := GreaterThan(Sqrt(MaxScalar(variance, floor)), Scalar(like.Graph(), like.DType(), math.Sqrt(floor)))
	// The square root's own gradient is infinite at 0, so what is not used gets another argument.
	std := Where(apart, Sqrt(Where(apart, variance, OnesLike(variance))), ZerosLike(variance))
	reached := BroadcastToDims(GreaterThan(count, ScalarZero(like.Graph(), like.DType())), n, f.hidden)
	zero := blank(like, n, f.hidden, 0)
	return Concatenate([]*Node{mean, std, Where(reached, high, zero), Where(reached, low, zero)}, 1)
}

// linears are the layers of a stack, for their parameters' names.
func linears(stacks ...metanet.Stack) []metanet.Linear {
	var out []metanet.Linear
	for _, s := range stacks {
		out = append(out, s.Layers...)
	}
	return out
}
