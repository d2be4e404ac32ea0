package metanet

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
)

// Options of a forward pass; the zero value takes the reference's ratio and up to DefaultMemory for edge states.
type Options struct {
	NodeRatio, EdgeRatio float64 // weights out = weights in + ratio * decoded; 0 is DefaultRatio
	Memory               int64   // bytes for cached edge states; 0 is DefaultMemory, negative caches nothing
	Progress             func(done, total int)
}

// DefaultRatio is the reference's residual ratio.
const DefaultRatio = 0.01

// DefaultMemory bounds the cached edge states.
const DefaultMemory = 256 << 20

// chunkRows is the number of rows whose messages are gathered into one partial result; partial results are added in order.
const chunkRows = 32

// minVar is the floor of a variance; a standard deviation at the floor counts as 0.
const minVar = 1e-5

// run is one forward pass.
type run struct {
	net   *Network
	g     *Graph
	h     []float32 // [N, H]
	x     []float32 // [N, H]: h normalised
	gates []gate    // per layer
	cache [][]float32
	agg   [2]*aggregate // to input channels, to output channels
	done  int
	total int
	o     Options
}

// gate holds a layer's node states that edges read: [N, H] each.
type gate struct{ a, z, p, q []float32 }

// aggregate gathers messages per node and hidden channel, without their target's factor.
type aggregate struct {
	count     []int32
	sum, sq   []float64
	low, high []float32
}

func newAggregate(nodes, hidden int) *aggregate {
	n := nodes * hidden
	a := &aggregate{make([]int32, nodes), make([]float64, n), make([]float64, n), make([]float32, n), make([]float32, n)}
	a.reset()
	return a
}

func (a *aggregate) reset() {
	clear(a.count)
	clear(a.sum)
	clear(a.sq)
	for i := range a.low {
		a.low[i], a.high[i] = float32(math.Inf(1)), float32(math.Inf(-1))
	}
}

// add merges part, whose first node is at node `at`.
func (a *aggregate) add(part *aggregate, at, hidden int) {
	for i, n := range part.count {
		a.count[at+i] += n
	}
	off := at * hidden
	for i := range part.sum {
		a.sum[off+i] += part.sum[i]
		a.sq[off+i] += part.sq[i]
		a.low[off+i] = min(a.low[off+i], part.low[i])
		a.high[off+i] = max(a.high[off+i], part.high[i])
	}
}

// Forward returns a graph of the same shape with new features. It stops when ctx is done.
func (n *Network) Forward(ctx context.Context, g *Graph, o Options) (*Graph, error) {
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
	r := &run{net: n, g: g, o: o, h: make([]float32, g.N*n.Hidden), x: make([]float32, g.N*n.Hidden), total: n.Layers + 1}
	r.agg = [2]*aggregate{newAggregate(g.N, n.Hidden), newAggregate(g.N, n.Hidden)}
	r.encodeNodes()
	r.fillCache()
	for l := range n.convs {
		if err := r.layer(ctx, l); err != nil {
			return nil, err
		}
		r.step()
	}
	out, err := r.decode(ctx)
	r.step()
	return out, err
}

func (r *run) step() {
	r.done++
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.total)
	}
}

// each runs work for ranges of n items on all cores.
func each(n, size int, work func(from, to int)) {
	chunks := (n + size - 1) / size
	workers := min(runtime.GOMAXPROCS(0), chunks)
	if workers <= 1 {
		for i := range chunks {
			work(i*size, min(n, (i+1)*size))
		}
		return
	}
	var next sync.Mutex
	at := 0
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= chunks {
					return
				}
				work(i*size, min(n, (i+1)*size))
			}
		})
	}
	wg.Wait()
}

// nodeChunk is the number of nodes that a worker takes at a time.
const nodeChunk = 256

func (r *run) encodeNodes() {
	hidden, enc := r.net.Hidden, &r.net.nodeEnc
	each(r.g.N, nodeChunk, func(from, to int) {
		tmp := make([]float32, 2*enc.width())
		for v := from; v < to; v++ {
			enc.apply(r.g.Nodes[v*r.g.F:(v+1)*r.g.F], r.h[v*hidden:(v+1)*hidden], tmp)
		}
	})
}

// fillCache encodes the edges of as many blocks as the memory allows, smallest first in the graph's order.
func (r *run) fillCache() {
	r.cache = make([][]float32, len(r.g.Blocks))
	left := r.o.Memory
	if left == 0 {
		left = DefaultMemory
	}
	for i := range r.g.Blocks {
		b := &r.g.Blocks[i]
		size := int64(b.Edges()) * int64(r.net.Hidden) * 4
		if size > left {
			continue
		}
		left -= size
		r.cache[i] = make([]float32, b.Edges()*r.net.Hidden)
		k, enc := r.net.EdgeIn[b.Type], &r.net.edges[b.Type].enc
		each(b.Edges(), 4096, func(from, to int) {
			tmp := make([]float32, 2*enc.width())
			for e := from; e < to; e++ {
				enc.apply(b.Features[e*k:(e+1)*k], r.cache[i][e*r.net.Hidden:(e+1)*r.net.Hidden], tmp)
			}
		})
	}
}

// layer runs one round of messages in both directions.
func (r *run) layer(ctx context.Context, l int) error {
	r.computeGates(l)
	r.agg[0].reset()
	r.agg[1].reset()
	for i := range r.g.Blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.messages(i, l)
	}
	r.update(l)
	return nil
}

// computeGates normalises the node states and computes what edges read of them.
func (r *run) computeGates(l int) {
	hidden := r.net.Hidden
	g := gate{}
	for _, v := range []*[]float32{&g.a, &g.z, &g.p, &g.q} {
		*v = make([]float32, r.g.N*hidden)
	}
	c := &r.net.convs[l]
	each(r.g.N, nodeChunk, func(from, to int) {
		for v := from; v < to; v++ {
			s := v * hidden
			x := r.x[s : s+hidden]
			copy(x, r.h[s:])
			layerNorm(x)
			for k, y := range [][]float32{g.a, g.z, g.p, g.q} {
				c.lin[k].apply(x, y[s:s+hidden])
				silu(y[s : s+hidden])
			}
		}
	})
	r.gates = append(r.gates, g)
}

// messages gathers the messages over one block of edges.
func (r *run) messages(i, l int) {
	b, hidden := &r.g.Blocks[i], r.net.Hidden
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	parts := make([]*aggregate, (b.Rows+chunkRows-1)/chunkRows)
	each(b.Rows, chunkRows, func(from, to int) {
		w := newWalker(r, i, l)
		in, out := newAggregate(b.Cols, hidden), newAggregate(1, hidden)
		for row := from; row < to; row++ {
			out.reset()
			from, to := 0, b.Cols
			if b.Diagonal {
				from, to = row, row+1
			}
			for col := from; col < to; col++ {
				gather(in, out, col, w.state(row, col), r.gates[l].a, (b.Out+row)*hidden, (b.In+col)*hidden, r.net.inverter)
			}
			r.agg[1].add(out, b.Out+row, hidden)
		}
		parts[from/chunkRows] = in
	})
	for _, p := range parts {
		r.agg[0].add(p, b.In, hidden)
	}
}

// gather adds the messages of one edge: from its output channel to the input channel `col`, and back.
func gather(in, out *aggregate, col int, e, a []float32, src, dst int, inverter []float32) {
	in.count[col]++
	out.count[0]++
	h := len(e)
	s, d := a[src:src+h], a[dst:dst+h]
	off := col * h
	sum, sq, low, high := in.sum[off:off+h], in.sq[off:off+h], in.low[off:off+h], in.high[off:off+h]
	outSum, outSq, outLow, outHigh := out.sum[:h], out.sq[:h], out.low[:h], out.high[:h]
	inverter = inverter[:h]
	for c, v := range e {
		m := s[c] * v
		sum[c] += float64(m)
		sq[c] += float64(m) * float64(m)
		low[c] = min(low[c], m)
		high[c] = max(high[c], m)
		m = d[c] * v * inverter[c]
		outSum[c] += float64(m)
		outSq[c] += float64(m) * float64(m)
		outLow[c] = min(outLow[c], m)
		outHigh[c] = max(outHigh[c], m)
	}
}

// update adds both directions' results to the node states.
func (r *run) update(l int) {
	hidden, down := r.net.Hidden, &r.net.convs[l].down
	z := r.gates[l].z
	each(r.g.N, nodeChunk, func(from, to int) {
		stats, y := make([]float32, 4*hidden), make([]float32, hidden)
		for v := from; v < to; v++ {
			s := v * hidden
			for _, a := range r.agg {
				a.statistics(v, z[s:s+hidden], stats)
				down.apply(stats, y)
				for c := range y {
					r.h[s+c] += y[c]
				}
			}
		}
	})
}

// statistics writes mean, standard deviation, maximum and minimum of a node's messages, zeros where it has none. The messages' common factor z is applied
// here: where it is negative, maximum and minimum change places.
func (a *aggregate) statistics(v int, z, out []float32) {
	h := len(z)
	if a.count[v] == 0 {
		clear(out)
		return
	}
	n := float64(a.count[v])
	for c, f := range z {
		i := v*h + c
		mean := a.sum[i] / n
		variance := (a.sq[i]/n - float64(mean*mean)) * float64(f) * float64(f)
		out[c] = float32(mean) * f
		out[h+c] = 0
		if !(variance <= minVar) {
			out[h+c] = float32(math.Sqrt(variance))
		}
		high, low := a.high[i]*f, a.low[i]*f
		if f < 0 {
			high, low = low, high
		}
		out[2*h+c], out[3*h+c] = high, low
	}
}

// walker gives the state of a block's edges at one layer.
type walker struct {
	r      *run
	b      *Block
	cache  []float32
	layer  int // gates of the layers before this one have acted on the state
	e, tmp []float32
	enc    *stack
	k      int
}

func newWalker(r *run, i, l int) *walker {
	b := &r.g.Blocks[i]
	enc := &r.net.edges[b.Type].enc
	return &walker{r: r, b: b, cache: r.cache[i], layer: l, e: make([]float32, r.net.Hidden), tmp: make([]float32, 2*enc.width()), enc: enc, k: r.net.EdgeIn[b.Type]}
}

// state returns an edge's state before the walker's layer: the cached one advanced by one layer, or one recomputed from the features.
func (w *walker) state(row, col int) []float32 {
	edge := row*w.b.Cols + col
	if w.b.Diagonal {
		edge = row
	}
	h := w.r.net.Hidden
	out, in := (w.b.Out+row)*h, (w.b.In+col)*h
	if w.cache != nil {
		e := w.cache[edge*h : (edge+1)*h]
		if w.layer > 0 {
			advance(e, &w.r.gates[w.layer-1], out, in)
		}
		return e
	}
	w.enc.apply(w.b.Features[edge*w.k:(edge+1)*w.k], w.e, w.tmp)
	for l := range w.layer {
		advance(w.e, &w.r.gates[l], out, in)
	}
	return w.e
}

// advance takes an edge state through one layer: e + p_s q_t e + p_t q_s e.
func advance(e []float32, g *gate, out, in int) {
	h := len(e)
	ps, qs, pt, qt := g.p[out:out+h], g.q[out:out+h], g.p[in:in+h], g.q[in:in+h]
	for c, v := range e {
		e[c] = v + ps[c]*qt[c]*v + pt[c]*qs[c]*v
	}
}

// decode turns the final states into new features.
func (r *run) decode(ctx context.Context) (*Graph, error) {
	out := &Graph{N: r.g.N, F: r.g.F, Nodes: make([]float32, len(r.g.Nodes)), Blocks: append([]Block(nil), r.g.Blocks...)}
	hidden, dec := r.net.Hidden, &r.net.nodeDec
	ratio := float32(r.o.NodeRatio)
	each(r.g.N, nodeChunk, func(from, to int) {
		y, tmp := make([]float32, r.g.F), make([]float32, 2*dec.width())
		for v := from; v < to; v++ {
			dec.apply(r.h[v*hidden:(v+1)*hidden], y, tmp)
			for k := range y {
				out.Nodes[v*r.g.F+k] = r.g.Nodes[v*r.g.F+k] + ratio*y[k]
			}
		}
	})
	for i := range out.Blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.decodeBlock(i, &out.Blocks[i])
	}
	return out, nil
}

func (r *run) decodeBlock(i int, b *Block) {
	old, k, dec := b.Features, r.net.EdgeIn[b.Type], &r.net.edges[b.Type].dec
	b.Features = make([]float32, len(old))
	ratio := float32(r.o.EdgeRatio)
	each(b.Rows, chunkRows, func(from, to int) {
		w := newWalker(r, i, r.net.Layers)
		y, tmp := make([]float32, k), make([]float32, 2*dec.width())
		for row := from; row < to; row++ {
			first, last := 0, b.Cols
			if b.Diagonal {
				first, last = row, row+1
			}
			for col := first; col < last; col++ {
				edge := row*b.Cols + col
				if b.Diagonal {
					edge = row
				}
				dec.apply(w.state(row, col), y, tmp)
				for c := range y {
					b.Features[edge*k+c] = old[edge*k+c] + ratio*y[c]
				}
			}
		}
	})
	r.cache[i] = nil
}
