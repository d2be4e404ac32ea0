package metanet

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/stretchr/testify/require"
)

// mistake switches on one deliberate error of the naive implementation.
type mistake int

const (
	none mistake = iota
	stdNotZeroed
	directionsSwapped
	extremaExchanged
	inverterLeftOut
	gelu
)

// naive is the plain definition over a list of edges, in float64, with nothing shared with the engine but the parameters.
type naive struct {
	n       *Network
	mistake mistake
}

func (v naive) act(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, a := range x {
		if v.mistake == gelu {
			out[i] = 0.5 * a * (1 + math.Erf(a/math.Sqrt2))
			continue
		}
		out[i] = a / (1 + math.Exp(-a))
	}
	return out
}

func affine(l *linear, x []float64) []float64 {
	y := make([]float64, l.out)
	for o := range y {
		y[o] = float64(l.b[o])
		for i := range x {
			y[o] += float64(l.w[o*l.in+i]) * x[i]
		}
	}
	return y
}

func norm(x []float64) []float64 {
	mean, sq := 0.0, 0.0
	for _, a := range x {
		mean += a / float64(len(x))
	}
	for _, a := range x {
		sq += (a - mean) * (a - mean) / float64(len(x))
	}
	out := make([]float64, len(x))
	for i, a := range x {
		out[i] = (a - mean) / math.Sqrt(sq+1e-5)
	}
	return out
}

func (v naive) stack(s *stack, x []float64) []float64 {
	if s.norm {
		x = norm(x)
	}
	for i := range s.layers {
		if x = affine(&s.layers[i], x); i < len(s.layers)-1 {
			x = v.act(x)
		}
	}
	return x
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, a := range x {
		out[i] = float64(a)
	}
	return out
}

type naiveEdge struct {
	out, in, kind int
	feat, e       []float64
}

func (v naive) edges(g *Graph) []*naiveEdge {
	var list []*naiveEdge
	for _, b := range g.Blocks {
		k := v.n.EdgeIn[b.Type]
		for r := range b.Rows {
			for c := range b.Cols {
				at := r*b.Cols + c
				if b.Diagonal {
					if at = r; r != c {
						continue
					}
				}
				f := wide(b.Features[at*k : (at+1)*k])
				list = append(list, &naiveEdge{b.Out + r, b.In + c, b.Type, f, v.stack(&v.n.edges[b.Type].enc, f)})
			}
		}
	}
	return list
}

// pass gathers messages from src to dst and returns what is added to the node states.
func (v naive) pass(g *Graph, edges []*naiveEdge, c *conv, a, z [][]float64, back bool) [][]float64 {
	h := v.n.Hidden
	inbox := make([][][]float64, g.N)
	for _, e := range edges {
		src, dst := e.out, e.in
		if back != (v.mistake == directionsSwapped) {
			src, dst = e.in, e.out
		}
		m := make([]float64, h)
		for k := range m {
			m[k] = z[dst][k] * a[src][k] * e.e[k]
			if back && v.mistake != inverterLeftOut {
				m[k] *= float64(v.n.inverter[k])
			}
		}
		inbox[dst] = append(inbox[dst], m)
	}
	out := make([][]float64, g.N)
	for i := range out {
		out[i] = affine(&c.down, v.statistics(inbox[i]))
	}
	return out
}

func (v naive) statistics(ms [][]float64) []float64 {
	h := v.n.Hidden
	s := make([]float64, 4*h)
	if len(ms) == 0 {
		return s
	}
	for k := range h {
		mean, sq, high, low := 0.0, 0.0, math.Inf(-1), math.Inf(1)
		for _, m := range ms {
			mean += m[k] / float64(len(ms))
			sq += m[k] * m[k] / float64(len(ms))
			high, low = max(high, m[k]), min(low, m[k])
		}
		std := math.Sqrt(max(sq-mean*mean, 1e-5))
		if std <= math.Sqrt(1e-5) && v.mistake != stdNotZeroed {
			std = 0
		}
		if v.mistake == extremaExchanged {
			high, low = low, high
		}
		s[k], s[h+k], s[2*h+k], s[3*h+k] = mean, std, high, low
	}
	return s
}

// forward returns the decoded residuals of nodes and edges, in the order of edges.
func (v naive) forward(g *Graph) (nodes, edges [][]float64) {
	list := v.edges(g)
	h := make([][]float64, g.N)
	for i := range h {
		h[i] = v.stack(&v.n.nodeEnc, wide(g.Nodes[i*g.F:(i+1)*g.F]))
	}
	for l := range v.n.convs {
		c := &v.n.convs[l]
		var gates [4][][]float64
		for k := range gates {
			for i := range h {
				gates[k] = append(gates[k], v.act(affine(&c.lin[k], norm(h[i]))))
			}
		}
		a, z, p, q := gates[0], gates[1], gates[2], gates[3]
		first, second := v.pass(g, list, c, a, z, false), v.pass(g, list, c, a, z, true)
		for _, e := range list {
			next := make([]float64, len(e.e))
			for k, x := range e.e {
				next[k] = x + p[e.out][k]*q[e.in][k]*x + p[e.in][k]*q[e.out][k]*x
			}
			e.e = next
		}
		for i := range h {
			for k := range h[i] {
				h[i][k] += first[i][k] + second[i][k]
			}
		}
	}
	for i := range h {
		nodes = append(nodes, v.stack(&v.n.nodeDec, h[i]))
	}
	for _, e := range list {
		edges = append(edges, v.stack(&v.n.edges[e.kind].dec, e.e))
	}
	return nodes, edges
}

// compare returns the largest differences between the naive residuals and the engine's.
func (v naive) compare(t testing.TB, g, got *Graph, ratio float64) (node, edge float64) {
	t.Helper()
	nodes, edges := v.forward(g)
	for i, want := range nodes {
		for k, x := range want {
			at := i*g.F + k
			node = max(node, math.Abs((float64(got.Nodes[at])-float64(g.Nodes[at]))/ratio-x))
		}
	}
	at := 0
	for b := range g.Blocks {
		k := v.n.EdgeIn[g.Blocks[b].Type]
		for i, x := range g.Blocks[b].Features {
			edge = max(edge, math.Abs((float64(got.Blocks[b].Features[i])-float64(x))/ratio-edges[at+i/k][i%k]))
		}
		at += g.Blocks[b].Edges()
	}
	return node, edge
}

// randomGraph has blocks of many shapes, diagonals, isolated nodes and ties.
func randomGraph(r *rand.Rand, f int, widths []int) *Graph {
	g := &Graph{N: 10 + r.IntN(60), F: f}
	g.Nodes = random(r, make([]float32, g.N*f), 1)
	for range 1 + r.IntN(6) {
		b := Block{Rows: 1 + r.IntN(g.N/2), Cols: 1 + r.IntN(g.N/2), Type: r.IntN(len(widths))}
		if r.IntN(4) == 0 {
			b.Diagonal, b.Cols = true, b.Rows
		}
		b.Out, b.In = r.IntN(g.N-b.Rows+1), r.IntN(g.N-b.Cols+1)
		b.Features = random(r, make([]float32, b.Edges()*widths[b.Type]), 0.3)
		if r.IntN(4) == 0 {
			for i := range b.Features {
				b.Features[i] = 0.25 // ties
			}
		}
		g.Blocks = append(g.Blocks, b)
	}
	return g
}

func TestEngineEqualsNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 60 {
		widths := [][]int{{9}, {16, 3, 1}, {1}}[r.IntN(3)]
		n := newNetwork(r, 2+r.IntN(9), 1+r.IntN(4), 1+r.IntN(8), widths...)
		g := randomGraph(r, n.NodeIn, widths)
		for _, memory := range []int64{0, -1, 2000} {
			got, err := n.Forward(context.Background(), g, Options{NodeRatio: 1, EdgeRatio: 1, Memory: memory, Portable: i%2 == 0})
			require.NoError(t, err)
			node, edge := naive{n: n}.compare(t, g, got, 1)
			require.Less(t, node, 2e-3, "graph %d memory %d", i, memory)
			require.Less(t, edge, 2e-3, "graph %d memory %d", i, memory)
		}
	}
}

// The reference's comparison would notice each of the mistakes that its README lists: with one of them the plain definition is off by more than the tolerance.
func TestReferenceNoticesMistakes(t *testing.T) {
	r := loadCase(t, "../testdata/metanet", "tiny")
	out := &Graph{N: r.graph.N, F: r.graph.F, Blocks: append([]Block(nil), r.graph.Blocks...)}
	var err error
	out.Nodes, err = r.out.Tensors["node_out"].Floats()
	require.NoError(t, err)
	edges, err := r.out.Tensors["edge_out"].Floats()
	require.NoError(t, err)
	for i := range out.Blocks {
		b := &out.Blocks[i]
		b.Features = edges[b.First*9 : (b.First+b.Edges())*9]
	}
	for m := none; m <= gelu; m++ {
		node, edge := naive{r.net, m}.compare(t, r.graph, out, DefaultRatio)
		t.Logf("mistake %d: node %.2g edge %.2g", m, node, edge)
		if m == none {
			require.Less(t, max(node, edge), 1e-4)
		} else {
			require.Greater(t, max(node, edge), 2e-4)
		}
	}
}

// Permuting a hidden layer's channels permutes the output in the same way.
func TestInvariance(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	n := newNetwork(r, 8, 3, 4, 9)
	const in, hidden, out = 3, 12, 5
	g := &Graph{N: in + hidden + out, F: 4, Nodes: random(r, make([]float32, 4*(in+hidden+out)), 1), Blocks: []Block{
		{Out: in, In: 0, Rows: hidden, Cols: in, Features: random(r, make([]float32, 9*hidden*in), 0.3)},
		{Out: in + hidden, In: in, Rows: out, Cols: hidden, Features: random(r, make([]float32, 9*out*hidden), 0.3)}}}
	perm := r.Perm(hidden)
	p := &Graph{N: g.N, F: g.F, Nodes: append([]float32(nil), g.Nodes...), Blocks: append([]Block(nil), g.Blocks...)}
	for b := range p.Blocks {
		p.Blocks[b].Features = append([]float32(nil), g.Blocks[b].Features...)
	}
	move := func(dst, src *Graph) {
		for to, from := range perm {
			copy(dst.Nodes[(in+to)*4:(in+to+1)*4], src.Nodes[(in+from)*4:(in+from+1)*4])
			copy(dst.Blocks[0].Features[to*in*9:(to+1)*in*9], src.Blocks[0].Features[from*in*9:(from+1)*in*9])
			for o := range out {
				copy(dst.Blocks[1].Features[(o*hidden+to)*9:(o*hidden+to+1)*9], src.Blocks[1].Features[(o*hidden+from)*9:(o*hidden+from+1)*9])
			}
		}
	}
	move(p, g)
	a, err := n.Forward(context.Background(), g, Options{NodeRatio: 1, EdgeRatio: 1})
	require.NoError(t, err)
	b, err := n.Forward(context.Background(), p, Options{NodeRatio: 1, EdgeRatio: 1})
	require.NoError(t, err)
	want := &Graph{N: a.N, F: a.F, Nodes: append([]float32(nil), a.Nodes...), Blocks: append([]Block(nil), a.Blocks...)}
	for i := range want.Blocks {
		want.Blocks[i].Features = append([]float32(nil), a.Blocks[i].Features...)
	}
	move(want, a)
	require.InDeltaSlice(t, want.Nodes, b.Nodes, 1e-4)
	for i := range want.Blocks {
		require.InDeltaSlice(t, want.Blocks[i].Features, b.Blocks[i].Features, 1e-4)
	}
}

func TestSpecialGraphs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	n := newNetwork(r, 4, 2, 2, 9)
	got, err := n.Forward(context.Background(), &Graph{F: 2}, Options{})
	require.NoError(t, err)
	require.Zero(t, got.N)
	many := &Graph{N: 1 << 20, F: 2, Nodes: make([]float32, 2<<20)}
	_, err = n.Forward(context.Background(), many, Options{})
	require.NoError(t, err)
	bad := &Graph{N: 2, F: 2, Nodes: []float32{float32(math.NaN()), 0, float32(math.Inf(1)), 0}, Blocks: []Block{{Out: 1, In: 0, Rows: 1, Cols: 1, Features: make([]float32, 9)}}}
	_, err = n.Forward(context.Background(), bad, Options{})
	require.ErrorContains(t, err, "node 0: the metanetwork's result is not finite")
	_, err = n.Forward(context.Background(), &Graph{N: 1, F: 3, Nodes: make([]float32, 3)}, Options{})
	require.ErrorContains(t, err, "the metanetwork needs 2 features")
	_, err = n.Forward(context.Background(), &Graph{N: 1, F: 2, Nodes: make([]float32, 2), Blocks: []Block{{Rows: 2, Cols: 1}}}, Options{})
	require.ErrorContains(t, err, "edge block 0")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = n.Forward(ctx, bad, Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzSafetensors(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := safetensors.Parse(data)
		if err != nil {
			return
		}
		_, _ = Load(file)
		_, _ = GraphFromFile(file)
	})
}
