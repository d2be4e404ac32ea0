package meta

import (
	"fmt"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/xla"
)

// programs are what is compiled for one layout: encoders, one layer of message passing (the same program for all of them) and decoders, each forward and backward. The backward programs run the
// forward part again, so between layers only states are kept.
type programs struct {
	layout                      *layout
	encode, layer, decode       *Exec
	encodeBack, back, decodeEnd *Exec
}

// arrangement names what a graph is compiled for.
func arrangement(g *metanet.Graph) string {
	var b strings.Builder
	fmt.Fprint(&b, g.N)
	for i := range g.Blocks {
		k := &g.Blocks[i]
		fmt.Fprintf(&b, ";%d,%d,%d,%d,%v,%d", k.Out, k.In, k.Rows, k.Cols, k.Diagonal, k.Type)
	}
	return b.String()
}

// compile returns the programs for a graph; they are built once.
func (n *Net) compile(g *metanet.Graph) (*programs, error) {
	if err := n.net.Check(g); err != nil {
		return nil, err
	}
	key := arrangement(g)
	if c := n.programs[key]; c != nil {
		return c, nil
	}
	c := &programs{layout: newLayout(g)}
	f := &pass{l: c.layout, hidden: n.s.Hidden, inverter: n.s.Inverter}
	parts := []struct {
		forward, backward **Exec
		params, states    int
		f                 func(params, states []*Node) []*Node
		inputs            bool // its states are inputs, which need no gradient
	}{
		{&c.encode, &c.encodeBack, len(n.encoders), 1 + len(c.layout.groups), coding(c.layout, n.s.NodeEnc, n.s.EdgeEnc), true},
		{&c.layer, &c.back, 10, 1 + len(c.layout.groups), func(params, states []*Node) []*Node {
			h, e := f.layer(affines(params), states[0], states[1:])
			return append([]*Node{h}, e...)
		}, false},
		{&c.decode, &c.decodeEnd, len(n.decoders), 1 + len(c.layout.groups), coding(c.layout, n.s.NodeDec, n.s.EdgeDec), false},
	}
	for _, p := range parts {
		var err error
		if *p.forward, err = NewExec(n.backend.Backend, func(in []*Node) []*Node { return p.f(in[:p.params], in[p.params:]) }); err != nil {
			return nil, xla.Wrap(err)
		}
		*p.backward, err = NewExec(n.backend.Backend, func(in []*Node) []*Node {
			k := p.params + p.states
			out, cotangents := p.f(in[:p.params], in[p.params:k]), in[k:]
			loss := ScalarZero(in[0].Graph(), in[0].DType())
			for i, y := range out {
				loss = Add(loss, ReduceAllSum(Mul(y, cotangents[i])))
			}
			if p.inputs {
				k = p.params
			}
			return Gradient(loss, in[:k]...)
		})
		if err != nil {
			return nil, xla.Wrap(err)
		}
	}
	n.programs[key] = c
	return c, nil
}

// coding applies a stack to the nodes' states and the stack of its type to each group's; groups whose stack has no layers are left out. Parameters come in the order of the stacks.
func coding(l *layout, nodes metanet.Stack, edges []metanet.Stack) func(params, states []*Node) []*Node {
	return func(params, states []*Node) []*Node {
		all := affines(params)
		at := len(nodes.Layers)
		out := []*Node{stack(nodes.Norm, all[:at], states[0])}
		kinds := make([][]affine, len(edges))
		for k, s := range edges {
			kinds[k] = all[at : at+len(s.Layers)]
			at += len(s.Layers)
		}
		for i := range l.groups {
			if kind := l.groups[i].kind; len(kinds[kind]) > 0 {
				out = append(out, stack(edges[kind].Norm, kinds[kind], states[1+i]))
			}
		}
		return out
	}
}

// adam is one step of AdamW: parameters, moments and gradients in, rate and number of the step last; parameters and moments out, and the gradient's norm.
func (n *Net) adam(in []*Node) []*Node {
	k, o := len(n.names), n.options
	params, m, v, grads := in[:k], in[k:2*k], in[2*k:3*k], append([]*Node(nil), in[3*k:4*k]...)
	rate, number := in[4*k], in[4*k+1]
	square := ScalarZero(rate.Graph(), rate.DType())
	for _, g := range grads {
		square = Add(square, ReduceAllSum(Square(g)))
	}
	norm := Sqrt(square)
	if o.Clip > 0 {
		scale := MinScalar(Div(Scalar(rate.Graph(), rate.DType(), o.Clip), AddScalar(norm, 1e-6)), 1)
		for i := range grads {
			grads[i] = Mul(grads[i], scale)
		}
	}
	correct := func(x *Node, beta float64) *Node {
		return Div(x, OneMinus(Pow(Scalar(x.Graph(), x.DType(), beta), number)))
	}
	out := make([]*Node, 3*k+1)
	for i, g := range grads {
		out[k+i] = Add(MulScalar(m[i], .9), MulScalar(g, .1))
		out[2*k+i] = Add(MulScalar(v[i], .999), MulScalar(Square(g), .001))
		by := Div(correct(out[k+i], .9), AddScalar(Sqrt(correct(out[2*k+i], .999)), 1e-8))
		out[i] = Sub(params[i], Mul(Add(by, MulScalar(params[i], o.WeightDecay)), rate))
	}
	out[3*k] = norm
	return out
}
