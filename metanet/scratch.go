package metanet

import "math"

// scratch is one worker's memory: tiles with one row per feature or hidden channel.
type scratch struct {
	*run
	feat []float32 // [rows, k, tile] kernels, or node features
	e    []float32 // [H, tile] edge states
	x, y []float32 // [width, tile] inside stacks
	more []float32
	*partials
	out    []float32 // [H, stripRows/8, 4, 8] messages to the rows from one tile
	as     []float32 // [rows, H]
	ps, qs []float32 // [layers, rows, H]
	delta  []float32
}

// partials are the messages of one strip.
type partials struct {
	col      []float32 // [H, cols/8, 4, 8] to the columns
	row      rowSums   // to the rows
	to, back []float32 // [H, tile] of a diagonal, to the columns and to the rows
}

// borrow returns scratch memory, which release gives back.
func (r *run) borrow() *scratch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		s := r.free[n-1]
		r.free = r.free[:n-1]
		return s
	}
	return r.newScratch()
}

func (r *run) release(s *scratch) {
	r.mu.Lock()
	r.free = append(r.free, s)
	r.mu.Unlock()
}

func (r *run) borrowPartials() *partials {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare); n > 0 {
		p := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return p
	}
	return &partials{}
}

func (r *run) releasePartials(p *partials) {
	r.mu.Lock()
	r.spare = append(r.spare, p)
	r.mu.Unlock()
}

func (r *run) newScratch() *scratch {
	width := max(r.net.nodeEnc.width(), r.net.nodeDec.width(), r.net.Hidden)
	for i := range r.codes {
		width = max(width, r.codes[i].enc.width(), r.codes[i].dec.width())
	}
	tile := func(n int) []float32 { return make([]float32, n*r.tile) }
	return &scratch{run: r, partials: &partials{}, e: tile(r.net.Hidden), x: tile(width), y: tile(width), out: make([]float32, 4*r.net.Hidden*stripRows)}
}

// room returns scratch memory of n rows.
func (s *scratch) room(n int) []float32 {
	s.more = grow(s.more, n*s.tile)
	return s.more
}

// grow returns a slice of n numbers, v itself where it is long enough.
func grow[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	return v[:n]
}

// stack applies t to n columns of x.
func (s *scratch) stack(t *stack, y, x []float32, n, ldy, ldx int) {
	if t.norm {
		s.k.layerNorm(s.x, x, t.in(), n, s.tile, ldx)
		x, ldx = s.x, s.tile
	}
	for i := range t.layers {
		l := &t.layers[i]
		if i == len(t.layers)-1 {
			s.k.linear(y, x, l, n, ldy, ldx)
			return
		}
		dst := s.y
		if i%2 == 1 {
			dst = s.x
		}
		s.k.linear(dst, x, l, n, s.tile, ldx)
		s.k.silu(dst, l.out, n, s.tile)
		x, ldx = dst, s.tile
	}
}

// rows copies what edges read of a strip's rows: [rows, H] of each layer from `from` to l-1, and a of layer l.
func (s *scratch) rows(st strip, from, l int) {
	h, first := s.net.Hidden, s.g.Blocks[st.block].Out+st.row
	take := func(dst, src []float32) {
		for c := range h {
			for r, v := range src[c*s.np+first:][:st.rows] {
				dst[r*h+c] = v
			}
		}
	}
	size := st.rows * h
	s.ps, s.qs, s.as = grow(s.ps, l*size), grow(s.qs, l*size), grow(s.as, size)
	for i := from; i < l; i++ {
		take(s.ps[i*size:], s.p[i])
		take(s.qs[i*size:], s.q[i])
	}
	if s.a != nil {
		take(s.as, s.a)
	}
}

// tiles calls work for every row of a strip and every tile of its columns, with the edges' states before layer l and the length of their rows. With keep set, cached states are brought forward
// for good.
func (s *scratch) tiles(st strip, l int, keep bool, work func(row, col, n int, e []float32, ld int)) {
	b, c, h := &s.g.Blocks[st.block], &s.codes[st.block], s.net.Hidden
	cache, ldc := s.cache[st.block], padded(b.Cols)
	from := 0
	if cache != nil {
		from = max(l-1, 0)
	}
	s.rows(st, from, l)
	batch := min(max(1<<15/(c.kernel*s.tile), 1), st.rows)
	for col := 0; col < b.Cols; col += s.tile {
		n := min(s.tile, b.Cols-col)
		for row := 0; row < st.rows; row++ {
			if cache != nil {
				e := cache[(st.row+row)*h*ldc+col:]
				if !keep {
					copyTile(s.e, e, h, n, s.tile, ldc)
					s.forward(s.e, st, row, b.In+col, n, s.tile, from, l)
					work(row, col, n, s.e, s.tile)
					continue
				}
				s.forward(e, st, row, b.In+col, n, ldc, from, l)
				work(row, col, n, e, ldc)
				continue
			}
			if row%batch == 0 {
				rows := min(batch, st.rows-row)
				s.feat = grow(s.feat, rows*c.kernel*s.tile)
				b.tile(s.feat, st.row+row, rows, col, n, c.kernel, s.tile)
			}
			s.stack(&c.enc, s.e, s.feat[row%batch*c.kernel*s.tile:], n, s.tile, s.tile)
			s.forward(s.e, st, row, b.In+col, n, s.tile, from, l)
			work(row, col, n, s.e, s.tile)
		}
	}
}

func copyTile(dst, src []float32, h, n, ldd, lds int) {
	for c := range h {
		copy(dst[c*ldd:c*ldd+n], src[c*lds:])
	}
}

// forward takes the states of a row's edges to the nodes from in on through the layers from to l-1.
func (s *scratch) forward(e []float32, st strip, row, in, n, ld, from, l int) {
	h := s.net.Hidden
	for i := from; i < l; i++ {
		at := (i*st.rows + row) * h
		s.k.advance(e, s.ps[at:at+h], s.qs[at:at+h], s.p[i][in:], s.q[i][in:], n, ld, s.np)
	}
}

// encodeStrip fills the cache.
func (s *scratch) encodeStrip(st strip) {
	b, c, h := &s.g.Blocks[st.block], &s.codes[st.block], s.net.Hidden
	ldc := padded(b.Cols)
	for row := st.row; row < st.row+st.rows; row++ {
		for col := 0; col < b.Cols; col += s.tile {
			n := min(s.tile, b.Cols-col)
			s.feat = grow(s.feat, c.kernel*s.tile)
			b.tile(s.feat, row, 1, col, n, c.kernel, s.tile)
			s.stack(&c.enc, s.cache[st.block][row*h*ldc+col:], s.feat, n, ldc, s.tile)
		}
	}
}

// messages gathers a strip's messages into col and row.
func (s *scratch) messages(st strip, l int) {
	b, h := &s.g.Blocks[st.block], s.net.Hidden
	ldc, ldr := 4*padded(b.Cols), 4*stripRows
	s.col = grow(s.col, h*ldc)
	resetColumns(s.col)
	s.row.reset(h * stripRows)
	s.tiles(st, l, true, func(row, col, n int, e []float32, ld int) {
		as, a := s.as[row*h:(row+1)*h], s.a[b.In+col:]
		whole := n &^ (lanes - 1)
		out := s.out[row/lanes*4*lanes+row%lanes:]
		s.k.gather(out, s.col[4*col:], e, as, a, s.net.inverter, whole, ldr, ld, s.np, ldc)
		if whole < n {
			s.tail(out, as, a, e, col, whole, n, ld, ldc)
		}
		if row == st.rows-1 {
			for c := range h {
				at := c * stripRows
				s.k.accumulate(s.row.sum[at:], s.row.sq[at:], s.row.low[at:], s.row.high[at:], s.out[c*ldr:], st.rows)
			}
		}
	})
}

// tail gathers the messages of columns that fill no vector.
func (s *scratch) tail(out, as, a, e []float32, col, from, n, ld, ldc int) {
	for c, src := range as {
		o := out[c*4*stripRows:]
		t := s.col[c*ldc+4*(col+from):][:4*lanes]
		inv := s.net.inverter[c]
		for i := from; i < n; i++ {
			v, j := e[c*ld+i], i-from
			m := float32(src * v)
			t[j] += m
			t[lanes+j] += float32(m * m)
			t[2*lanes+j], t[3*lanes+j] = lower(m, t[2*lanes+j]), higher(m, t[3*lanes+j])
			m = float32(float32(a[c*s.np+i]*v) * inv)
			o[0] += m
			o[lanes] += float32(m * m)
			o[2*lanes], o[3*lanes] = lower(m, o[2*lanes]), higher(m, o[3*lanes])
		}
	}
}

func resetColumns(col []float32) {
	inf := float32(math.Inf(1))
	for i := 0; i+4*lanes <= len(col); i += 4 * lanes {
		t := (*[4 * lanes]float32)(col[i:])
		for l := range 2 * lanes {
			t[l] = 0
		}
		for l := range lanes {
			t[2*lanes+l], t[3*lanes+l] = inf, -inf
		}
	}
}

// merge adds a strip's messages to the nodes'.
func (r *run) merge(st strip, p *partials) {
	b, h := &r.g.Blocks[st.block], r.net.Hidden
	if b.Diagonal {
		for i, m := range [][]float32{p.to, p.back} {
			first := []int{b.In, b.Out}[i] + st.row
			for c := range h {
				for j, v := range m[c*r.tile:][:st.rows] {
					r.agg[i].add(c*r.np+first+j, v)
				}
			}
		}
		return
	}
	r.agg[0].addColumns(&r.k, p.col, h, b.In, b.Cols, 4*padded(b.Cols))
	r.agg[1].addRows(&p.row, h, b.Out+st.row, st.rows, stripRows)
}

// diagonal computes the states of a run of diagonal edges before layer l.
func (s *scratch) diagonal(st strip, l int) {
	b, c := &s.g.Blocks[st.block], &s.codes[st.block]
	s.feat = grow(s.feat, c.kernel*s.tile)
	b.tile(s.feat, st.row, st.rows, 0, 1, c.kernel, s.tile)
	s.stack(&c.enc, s.e, s.feat, st.rows, s.tile, s.tile)
	for i := range l {
		for c := range s.net.Hidden {
			out, in := c*s.np+b.Out+st.row, c*s.np+b.In+st.row
			for j, v := range s.e[c*s.tile:][:st.rows] {
				f := float32(s.p[i][out+j]*s.q[i][in+j]) + float32(s.q[i][out+j]*s.p[i][in+j])
				s.e[c*s.tile+j] = v + float32(v*f)
			}
		}
	}
}

// diagonalMessages writes the messages to the input channels into to, and those to the output channels into back.
func (s *scratch) diagonalMessages(st strip, l int) {
	s.diagonal(st, l)
	b := &s.g.Blocks[st.block]
	s.to, s.back = grow(s.to, len(s.e)), grow(s.back, len(s.e))
	for c, inv := range s.net.inverter {
		for j := range st.rows {
			v := s.e[c*s.tile+j]
			s.back[c*s.tile+j] = float32(float32(s.a[c*s.np+b.In+st.row+j]*v) * inv)
			s.to[c*s.tile+j] = float32(s.a[c*s.np+b.Out+st.row+j] * v)
		}
	}
}

// decodeStrip returns what is added to the kernels of a strip: [rows, cols, k].
func (s *scratch) decodeStrip(st strip) []float32 {
	b, c, l := &s.g.Blocks[st.block], &s.codes[st.block], s.net.Layers
	k, width := c.kernel, b.width()
	s.delta = grow(s.delta, st.rows*width*k)
	y := s.room(k)
	if b.Diagonal {
		s.diagonal(st, l)
		s.stack(&c.dec, y, s.e, st.rows, s.tile, s.tile)
		interleave(s.delta, y, k, st.rows, s.tile)
		return s.delta
	}
	s.tiles(st, l, false, func(row, col, n int, e []float32, ld int) {
		s.stack(&c.dec, y, e, n, s.tile, ld)
		interleave(s.delta[(row*width+col)*k:], y, k, n, s.tile)
	})
	return s.delta
}

// interleave writes y [k, n] as [n, k].
func interleave(dst, y []float32, k, n, ld int) {
	for j := range k {
		for i, v := range y[j*ld : j*ld+n] {
			dst[i*k+j] = v
		}
	}
}
