package metanet

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// stripRows is the number of rows whose messages to the columns are summed in one partial result.
const stripRows = 64

// code is what an edge type's encoder and decoder become for one block, whose features are Lens * kernel / Scale.
type code struct {
	enc, dec stack
	kernel   int
}

// code folds a block's lens and scale into the first layer of the encoder and into the last one of the decoder, together with the residual ratio.
func (n *Network) code(b *Block, ratio float64) code {
	e := &n.edges[b.Type]
	k := b.kernel(n.EdgeIn)
	scale := float64(b.Scale)
	if scale == 0 {
		scale = 1
	}
	c := code{kernel: k, enc: stack{e.enc.norm, append([]linear(nil), e.enc.layers...)}, dec: stack{e.dec.norm, append([]linear(nil), e.dec.layers...)}}
	first := &c.enc.layers[0]
	*first = linear{in: k, out: first.out, w: b.foldIn(first, scale), b: first.b}
	if len(c.dec.layers) > 0 {
		last := &c.dec.layers[len(c.dec.layers)-1]
		*last = b.foldOut(last, k, ratio*scale)
	}
	return c
}

// foldIn returns w * Lens / scale.
func (b *Block) foldIn(l *linear, scale float64) []float32 {
	if b.Lens == nil && scale == 1 {
		return l.w
	}
	k := l.in
	if b.Lens != nil {
		k = b.Kernel
	}
	out := make([]float32, l.out*k)
	for o := range l.out {
		for j := range k {
			sum := 0.0
			if b.Lens == nil {
				sum = float64(l.w[o*k+j])
			} else {
				for f := range l.in {
					sum += float64(float64(l.w[o*l.in+f]) * float64(b.Lens[f*k+j]))
				}
			}
			out[o*k+j] = float32(sum / scale)
		}
	}
	return out
}

// foldOut returns factor * transposed(Lens) * (w, b).
func (b *Block) foldOut(l *linear, k int, factor float64) linear {
	out := linear{in: l.in, out: k, w: make([]float32, k*l.in), b: make([]float32, k)}
	lens := func(f, j int) float64 {
		if b.Lens != nil {
			return float64(b.Lens[f*k+j])
		}
		if f == j {
			return 1
		}
		return 0
	}
	for j := range k {
		for i := range l.in + 1 {
			sum := 0.0
			for f := range l.out {
				v := l.b[f]
				if i < l.in {
					v = l.w[f*l.in+i]
				}
				sum += float64(float64(v) * lens(f, j))
			}
			if i < l.in {
				out.w[j*l.in+i] = float32(sum * factor)
			} else {
				out.b[j] = float32(sum * factor)
			}
		}
	}
	return out
}

// strip is a run of rows of a block.
type strip struct{ block, row, rows int }

// strips lists the strips of the given blocks.
func (r *run) strips(blocks ...int) []strip {
	var out []strip
	for _, i := range blocks {
		b := &r.g.Blocks[i]
		size := stripRows
		if b.Diagonal {
			size = r.tile
		}
		for row := 0; row < b.Rows && b.Cols > 0; row += size {
			out = append(out, strip{i, row, min(size, b.Rows-row)})
		}
	}
	return out
}

// each calls work with 0 to n-1 on all cores, each with scratch memory of its own. It stops early when ctx is done.
func (r *run) each(ctx context.Context, n int, work func(s *scratch, i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		s := r.borrow()
		for i := 0; i < n && ctx.Err() == nil; i++ {
			work(s, i)
		}
		r.release(s)
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			s := r.borrow()
			defer r.release(s)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				work(s, i)
			}
		})
	}
	wg.Wait()
}

// merger adds up partial results in the order of their items, whichever order they come in.
type merger struct {
	mu      sync.Mutex
	room    *sync.Cond
	next    int
	busy    bool
	pending map[int]func()
}

func newMerger() *merger {
	m := &merger{pending: map[int]func(){}}
	m.room = sync.NewCond(&m.mu)
	return m
}

// maxPending bounds the partial results that wait for earlier ones.
const maxPending = 32

// add takes item i's merge and runs all that are due. It waits while too many results wait for others.
func (m *merger) add(i int, merge func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending[i] = merge
	for len(m.pending) > maxPending && m.pending[m.next] == nil {
		m.room.Wait()
	}
	if m.busy {
		return
	}
	m.busy = true
	for f := m.pending[m.next]; f != nil; f = m.pending[m.next] {
		delete(m.pending, m.next)
		m.mu.Unlock()
		f()
		m.mu.Lock()
		m.next++
		m.room.Broadcast()
	}
	m.busy = false
}

// messages gathers the messages over all edges, in an order that does not depend on the number of cores.
func (r *run) messages(ctx context.Context, l int) error {
	all := make([]int, len(r.g.Blocks))
	for i := range all {
		all[i] = i
	}
	list, order := r.strips(all...), newMerger()
	r.each(ctx, len(list), func(s *scratch, i int) {
		if r.g.Blocks[list[i].block].Diagonal {
			s.diagonalMessages(list[i], l)
		} else {
			s.messages(list[i], l)
		}
		done := s.partials
		s.partials = r.borrowPartials()
		order.add(i, func() {
			r.merge(list[i], done)
			r.releasePartials(done)
		})
	})
	return ctx.Err()
}

// fillCache encodes the edges of as many dense blocks as the memory allows, in the graph's order.
func (r *run) fillCache() {
	r.cache = make([][]float32, len(r.g.Blocks))
	size := func(b *Block) int64 {
		if b.Diagonal {
			return 0
		}
		return int64(b.Rows) * int64(padded(b.Cols)) * int64(r.net.Hidden) * 4
	}
	left := r.o.Memory
	if left == 0 {
		total := int64(0)
		for i := range r.g.Blocks {
			total += size(&r.g.Blocks[i])
		}
		if left = DefaultMemory; total > left {
			return
		}
	}
	var blocks []int
	for i := range r.g.Blocks {
		if n := size(&r.g.Blocks[i]); n > 0 && n <= left {
			left -= n
			r.cache[i] = make([]float32, n/4)
			blocks = append(blocks, i)
		}
	}
	list := r.strips(blocks...)
	r.each(context.Background(), len(list), func(s *scratch, i int) { s.encodeStrip(list[i]) })
}

// Edges decodes what the metanetwork adds to the kernels of a block: [rows, cols, k], or [rows, k] of a diagonal. sink is called for runs of rows, from several goroutines at a time
// and in any order; delta is only valid during the call. A block whose type has no decoder gives nothing.
func (res *Result) Edges(ctx context.Context, block int, sink func(row, rows int, delta []float32)) error {
	return res.r.decode(ctx, []int{block}, func(_, row, rows int, delta []float32) { sink(row, rows, delta) })
}

// decode decodes several blocks as Edges does.
func (r *run) decode(ctx context.Context, blocks []int, sink func(block, row, rows int, delta []float32)) error {
	var with []int
	for _, i := range blocks {
		if len(r.codes[i].dec.layers) > 0 {
			with = append(with, i)
		}
	}
	list := r.strips(with...)
	var bad sync.Once
	var err error
	r.each(ctx, len(list), func(s *scratch, i int) {
		delta := s.decodeStrip(list[i])
		for _, v := range delta {
			if !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
				bad.Do(func() {
					err = fmt.Errorf("edge block %d, rows %d to %d: the metanetwork's result is not finite", list[i].block, list[i].row, list[i].row+list[i].rows-1)
				})
				break
			}
		}
		sink(list[i].block, list[i].row, list[i].rows, delta)
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}
