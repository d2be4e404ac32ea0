package metanet

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// Options of a forward pass; the zero value takes the reference's ratio and up to DefaultMemory for edge states.
type Options struct {
	NodeRatio, EdgeRatio float64 // weights out = weights in + ratio * decoded; 0 is DefaultRatio
	Memory               int64   // bytes for cached edge states; 0 caches them all where DefaultMemory takes them and else none, negative none
	Progress             func(done, total int)
	Portable             bool // the portable kernels, whatever the processor has: the bits are the same
}

// DefaultRatio is the reference's residual ratio.
const DefaultRatio = 0.01

// DefaultMemory is for the edge states of small graphs; to recompute them costs about as much as to load those of large ones.
const DefaultMemory = 64 << 20

// Result is a finished forward pass. New edge features are decoded when they are asked for, so that they never have to be held all at once.
type Result struct {
	Nodes []float32 // [N, F]: the new node features
	r     *run
}

// run is one forward pass. Node states have one row of np numbers per hidden channel.
type run struct {
	net   *Network
	g     *Graph
	o     Options
	k     kernels
	np    int // nodes, rounded up
	tile  int // columns of a tile
	h     []float32
	a, z  []float32   // of the present layer
	p, q  [][]float32 // of all layers: edge states are recomputed from them
	cache [][]float32 // per block: edge states [rows, H, padded(cols)] before the layer that comes next
	codes []code      // per block
	agg   [2]aggregate
	done  int
	mu    sync.Mutex
	free  []*scratch
	spare []*partials
}

// Run computes the node states of all layers. It stops when ctx is done.
func (n *Network) Run(ctx context.Context, g *Graph, o Options) (*Result, error) {
	if err := g.check(n.NodeIn, n.EdgeIn); err != nil {
		return nil, err
	}
	if o.NodeRatio == 0 {
		o.NodeRatio = DefaultRatio
	}
	if o.EdgeRatio == 0 {
		o.EdgeRatio = DefaultRatio
	}
	if g.N > math.MaxInt32/max(4*n.Hidden, 1) {
		return nil, fmt.Errorf("a graph of %d nodes is too large for %d hidden channels", g.N, n.Hidden)
	}
	r := newRun(n, g, o)
	r.encodeNodes()
	r.fillCache()
	for l := range n.convs {
		if err := r.layer(ctx, l); err != nil {
			return nil, err
		}
		r.step()
	}
	out := &Result{r.decodeNodes(), r}
	for i, v := range out.Nodes {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("node %d: the metanetwork's result is not finite", i/g.F)
		}
	}
	r.step()
	r.h, r.a, r.z, r.agg = nil, nil, nil, [2]aggregate{}
	return out, nil
}

// Forward returns a graph of the same shape with new features. It stops when ctx is done.
func (n *Network) Forward(ctx context.Context, g *Graph, o Options) (*Graph, error) {
	r, err := n.Run(ctx, g, o)
	if err != nil {
		return nil, err
	}
	out := &Graph{N: g.N, F: g.F, Nodes: r.Nodes, Blocks: append([]Block(nil), g.Blocks...)}
	var all []int
	for i := range out.Blocks {
		b := &out.Blocks[i]
		if b.Source != nil {
			return nil, fmt.Errorf("edge block %d: Forward takes explicit features", i)
		}
		all = append(all, i)
		b.Features = append([]float32(nil), b.Features...)
	}
	err = r.r.decode(ctx, all, func(block, row, _ int, delta []float32) {
		b := &out.Blocks[block]
		features := b.Features[row*b.width()*n.EdgeIn[b.Type]:]
		for j, d := range delta {
			features[j] += d
		}
	})
	return out, err
}

func newRun(n *Network, g *Graph, o Options) *run {
	r := &run{net: n, g: g, o: o, k: portable, np: padded(g.N) + pad, tile: min(max(padded(4096/max(n.Hidden, 1)), 2*pad), 1024)}
	if !o.Portable {
		r.k = bestKernels()
	}
	states := func() []float32 { return make([]float32, n.Hidden*r.np) }
	r.h, r.a, r.z = states(), states(), states()
	for i := range r.agg {
		r.agg[i] = newAggregate(n.Hidden, r.np)
	}
	for i := range g.Blocks {
		b := &g.Blocks[i]
		r.codes = append(r.codes, n.code(b, o.EdgeRatio))
		for j := range b.Rows {
			r.agg[1].count[b.Out+j] += int32(b.width())
		}
		for j := range b.Cols {
			r.agg[0].count[b.In+j] += int32(b.Edges() / b.Cols)
		}
	}
	for i := range r.agg {
		for v, n := range r.agg[i].count {
			r.agg[i].per[v] = 1 / float64(n)
		}
	}
	return r
}

func (r *run) step() {
	r.done++
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.net.Layers+1)
	}
}

// nodeTiles runs work for tiles of nodes on all cores; at is the tile's first node.
func (r *run) nodeTiles(work func(s *scratch, at, n int)) {
	r.each(context.Background(), (r.g.N+r.tile-1)/r.tile, func(s *scratch, i int) { work(s, i*r.tile, min(r.tile, r.g.N-i*r.tile)) })
}

func (r *run) encodeNodes() {
	f := r.g.F
	r.nodeTiles(func(s *scratch, at, n int) {
		s.feat = grow(s.feat, f*r.tile)
		for v := range n {
			for j := range f {
				s.feat[j*r.tile+v] = r.g.Nodes[(at+v)*f+j]
			}
		}
		s.stack(&r.net.nodeEnc, r.h[at:], s.feat, n, r.np, r.tile)
	})
}

func (r *run) decodeNodes() []float32 {
	out, f, ratio := make([]float32, len(r.g.Nodes)), r.g.F, float32(r.o.NodeRatio)
	r.nodeTiles(func(s *scratch, at, n int) {
		s.feat = grow(s.feat, f*r.tile)
		s.stack(&r.net.nodeDec, s.feat, r.h[at:], n, r.tile, r.np)
		for v := range n {
			for j := range f {
				i := (at+v)*f + j
				out[i] = r.g.Nodes[i] + float32(ratio*s.feat[j*r.tile+v])
			}
		}
	})
	return out
}

// layer runs one round of messages in both directions.
func (r *run) layer(ctx context.Context, l int) error {
	r.gates(l)
	if err := r.messages(ctx, l); err != nil {
		return err
	}
	r.update(l)
	return nil
}

// gates normalises the node states and computes what edges read of them.
func (r *run) gates(l int) {
	r.p, r.q = append(r.p, make([]float32, len(r.h))), append(r.q, make([]float32, len(r.h)))
	c := &r.net.convs[l]
	r.nodeTiles(func(s *scratch, at, n int) {
		r.agg[0].reset(at, n)
		r.agg[1].reset(at, n)
		r.k.layerNorm(s.e, r.h[at:], r.net.Hidden, n, r.tile, r.np)
		for k, y := range [][]float32{r.a, r.z, r.p[l], r.q[l]} {
			r.k.linear(y[at:], s.e, &c.lin[k], n, r.np, r.tile)
			r.k.silu(y[at:], r.net.Hidden, n, r.np)
		}
	})
}

// update adds both directions' results to the node states.
func (r *run) update(l int) {
	down := &r.net.convs[l].down
	r.nodeTiles(func(s *scratch, at, n int) {
		stats := s.room(4 * r.net.Hidden)
		for i := range r.agg {
			r.agg[i].statistics(stats, r.z, at, n, r.np, r.tile)
			r.k.linear(s.e, stats, down, n, r.tile, r.tile)
			for c := range r.net.Hidden {
				h, y := r.h[c*r.np+at:][:n], s.e[c*r.tile:][:n]
				for j, v := range y {
					h[j] += v
				}
			}
		}
	})
}
