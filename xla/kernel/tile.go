package kernel

// tiler computes one tile of a product: n rows of r from row from on, cols columns from panel p on.
type tiler struct {
	rows   int // most rows of a tile
	panels int // most panels of a tile
	tile   func(m *Matrix, r *rows, p, from, n, cols int, b Bounds)
	taps   func(c *Conv, x, y []float32, offsets []int)
}

var portable = tiler{rows: 4, panels: 1, tile: tilePortable, taps: tapsPortable}

var best = bestTiler()

// tilePortable keeps four columns of two rows in registers.
func tilePortable(m *Matrix, r *rows, p, from, n, cols int, b Bounds) {
	panel := m.panels[p*m.Rows*width : (p+1)*m.Rows*width]
	for i := from; i < from+n; i += 2 {
		second := min(i+1, from+n-1)
		for c := 0; c < cols; c += 4 {
			x := r.four(i, second, panel[c:], m.bias[p*width+c:])
			for k, row := range []int{i, second} {
				at := row*r.outStep + p*width + c
				for j, v := range x[4*k : 4*k+min(4, cols-c)] {
					if r.add != nil {
						v += r.add[at+j]
					}
					r.out[at+j] = b.hold(v)
				}
			}
		}
	}
}

// four returns four columns of two rows.
func (r *rows) four(i, k int, panel, bias []float32) [8]float32 {
	a0, a1, a2, a3 := bias[0], bias[1], bias[2], bias[3]
	d0, d1, d2, d3 := a0, a1, a2, a3
	at := 0
	for _, o := range r.offsets {
		x, y := r.left[i*r.step+o:][:r.run], r.left[k*r.step+o:][:r.run]
		for j, u := range x {
			s, f := y[j], (*[4]float32)(panel[at:])
			at += width
			a0 += u * f[0]
			a1 += u * f[1]
			a2 += u * f[2]
			a3 += u * f[3]
			d0 += s * f[0]
			d1 += s * f[1]
			d2 += s * f[2]
			d3 += s * f[3]
		}
	}
	return [8]float32{a0, a1, a2, a3, d0, d1, d2, d3}
}

// tapsPortable computes one position of a depthwise convolution, all channels.
func tapsPortable(c *Conv, x, y []float32, offsets []int) { c.taps(x, y, offsets, 0) }

// taps computes the channels from first on.
func (c *Conv) taps(x, y []float32, offsets []int, first int) {
	n := c.out
	y = y[first:n]
	copy(y, c.bias[first:n])
	for t, o := range offsets {
		w := c.depth[t*n+first : (t+1)*n]
		for j, v := range x[o+first : o+n] {
			y[j] += v * w[j]
		}
	}
	for j, v := range y {
		y[j] = c.Bounds.hold(v)
	}
}
