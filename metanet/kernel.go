package metanet

import "math"

// Kernels work on tiles with one row per hidden channel and one column per edge or node. Each has one defined order of operations, without fused multiply-add,
// so that every implementation gives the same bits.
type kernels struct {
	// linear is y[o] = b[o] + w[o,0] x[0] + w[o,1] x[1] + ... over n columns; up to 15 columns behind them are written too.
	linear func(y, x []float32, l *linear, n, ldy, ldx int)
	// silu is x / (1 + exp(-x)) over rows of n columns, in place.
	silu func(x []float32, rows, n, ld int)
	// layerNorm normalises every column of x [h, n] into y.
	layerNorm func(y, x []float32, h, n, ldy, ldx int)
	// advance is e += e (ps q + qs p) over e [h, n]; ps and qs hold one number a row, p and q one a column.
	advance func(e, ps, qs, p, q []float32, n, lde, ldg int)
	// gather takes the messages of the edges e [h, n], n a multiple of 8, from one row node to n column nodes and back.
	gather func(row, col, e, as, a, inverter []float32, n, ldr, lde, lda, ldc int)
	// accumulate adds statistics t [n/8, 4, 8] to sums, minima and maxima.
	accumulate func(sum, sq []float64, low, high, t []float32, n int)
}

// lanes is the number of columns that a vector holds, and of partial sums of a row.
const lanes = 8

// pad is what rows of tiles are rounded up to.
const pad = 16

func padded(n int) int { return (n + pad - 1) &^ (pad - 1) }

var portable = kernels{linear: linearPortable, silu: siluPortable, layerNorm: layerNormPortable, advance: advancePortable, gather: gatherPortable, accumulate: accumulatePortable}

func linearPortable(y, x []float32, l *linear, n, ldy, ldx int) {
	in := l.in
	var store [4 * 64]float32
	packed := store[:]
	if in > 64 {
		packed = make([]float32, 4*in)
	}
	packed = packed[:4*in]
	o := 0
	for ; o+4 <= l.out; o += 4 {
		for i := range in {
			*(*[4]float32)(packed[4*i:]) = [4]float32{l.w[o*in+i], l.w[(o+1)*in+i], l.w[(o+2)*in+i], l.w[(o+3)*in+i]}
		}
		b := (*[4]float32)(l.b[o:])
		for c := 0; c < n; c += 2 {
			linear4(y[o*ldy+c:], x[c:], packed, b, ldy, ldx)
		}
	}
	for ; o < l.out; o++ {
		w, b := l.w[o*in:(o+1)*in], l.b[o]
		for c := 0; c < n; c += 4 {
			a0, a1, a2, a3 := b, b, b, b
			at := c
			for _, f := range w {
				v := (*[4]float32)(x[at:])
				a0 += float32(f * v[0])
				a1 += float32(f * v[1])
				a2 += float32(f * v[2])
				a3 += float32(f * v[3])
				at += ldx
			}
			*(*[4]float32)(y[o*ldy+c:]) = [4]float32{a0, a1, a2, a3}
		}
	}
}

// linear4 computes four rows and two columns; w holds the rows' weights side by side.
func linear4(y, x, w []float32, b *[4]float32, ldy, ldx int) {
	a0, a1, a2, a3 := b[0], b[1], b[2], b[3]
	d0, d1, d2, d3 := a0, a1, a2, a3
	for at := 0; len(w) >= 4; at += ldx {
		f, v := (*[4]float32)(w), (*[2]float32)(x[at:])
		w = w[4:]
		u, s := v[0], v[1]
		a0 += float32(f[0] * u)
		a1 += float32(f[1] * u)
		a2 += float32(f[2] * u)
		a3 += float32(f[3] * u)
		d0 += float32(f[0] * s)
		d1 += float32(f[1] * s)
		d2 += float32(f[2] * s)
		d3 += float32(f[3] * s)
	}
	*(*[2]float32)(y) = [2]float32{a0, d0}
	*(*[2]float32)(y[ldy:]) = [2]float32{a1, d1}
	*(*[2]float32)(y[2*ldy:]) = [2]float32{a2, d2}
	*(*[2]float32)(y[3*ldy:]) = [2]float32{a3, d3}
}

func siluPortable(x []float32, rows, n, ld int) {
	for r := range rows {
		row := x[r*ld : r*ld+n]
		for i, v := range row {
			row[i] = silu1(v)
		}
	}
}

// silu1 is x / (1 + exp(-x)), exp by the polynomial of Cephes' expf on [-ln2/2, ln2/2] with the argument held between -86 and 88.
func silu1(x float32) float32 {
	const magic = 12582912 // 1.5 * 2^23: adding it rounds to an integer
	y := -x
	if !(y < 88) {
		y = 88
	}
	if !(y > -86) {
		y = -86
	}
	k := float32(y*1.44269504) + magic
	n := k - magic
	y -= float32(n * 0.693359375)
	y -= float32(n * -2.12194440e-4)
	p := float32(1.9875691500e-4*y) + 1.3981999507e-3
	p = float32(p*y) + 8.3334519073e-3
	p = float32(p*y) + 4.1665795894e-2
	p = float32(p*y) + 1.6666665459e-1
	p = float32(p*y) + 5.0000001201e-1
	p = float32(float32(y*y)*p) + y
	p++
	e := math.Float32frombits(math.Float32bits(p) + math.Float32bits(k)<<23)
	return x / (1 + e)
}

// layerNormEps is the epsilon of the reference's LayerNorm.
const layerNormEps = 1e-5

func layerNormPortable(y, x []float32, h, n, ldy, ldx int) {
	size := float32(h)
	var mean, sq [lanes]float32
	for c := 0; c < n; c += lanes {
		w := min(lanes, n-c)
		mean, sq = [lanes]float32{}, [lanes]float32{}
		for i := range h {
			for j, v := range x[i*ldx+c:][:w] {
				mean[j&7] += v
			}
		}
		for j := range mean {
			mean[j] /= size
		}
		for i := range h {
			for j, v := range x[i*ldx+c:][:w] {
				d := v - mean[j&7]
				sq[j&7] += float32(d * d)
			}
		}
		for j, v := range sq {
			sq[j] = 1 / float32(math.Sqrt(float64(v/size+layerNormEps)))
		}
		for i := range h {
			out := y[i*ldy+c:][:w]
			for j, v := range x[i*ldx+c:][:w] {
				out[j] = float32((v - mean[j&7]) * sq[j&7])
			}
		}
	}
}

func advancePortable(e, ps, qs, p, q []float32, n, lde, ldg int) {
	for c, f := range ps {
		g := qs[c]
		row := e[c*lde : c*lde+n]
		p, q := p[c*ldg:c*ldg+n], q[c*ldg:c*ldg+n]
		for i, v := range row {
			row[i] = v + float32(v*(float32(f*q[i])+float32(g*p[i])))
		}
	}
}

// gatherPortable adds to the columns' statistics col [h, ldc/32, 4, 8] and writes the row's, one lane of row [h, ldr/32, 4, 8]: sum, sum of squares, minimum, maximum. A row's sums have eight
// lanes, folded l and l+4, then l and l+2, then the last two.
func gatherPortable(row, col, e, as, a, inverter []float32, n, ldr, lde, lda, ldc int) {
	for c, src := range as {
		var part [4][lanes]float32
		for l := range lanes {
			part[2][l], part[3][l] = float32(math.Inf(1)), float32(math.Inf(-1))
		}
		for i := 0; i < n; i += lanes {
			gather8(&part, (*[lanes]float32)(e[c*lde+i:]), (*[lanes]float32)(a[c*lda+i:]), (*[4 * lanes]float32)(col[c*ldc+4*i:]), src, inverter[c])
		}
		for l := lanes / 2; l > 0; l /= 2 {
			for i := range l {
				part[0][i] += part[0][i+l]
				part[1][i] += part[1][i+l]
				part[2][i], part[3][i] = lower(part[2][i], part[2][i+l]), higher(part[3][i], part[3][i+l])
			}
		}
		r := row[c*ldr:]
		r[0], r[lanes], r[2*lanes], r[3*lanes] = part[0][0], part[1][0], part[2][0], part[3][0]
	}
}

// gather8 takes the messages of eight edges.
func gather8(part *[4][lanes]float32, e, a *[lanes]float32, col *[4 * lanes]float32, src, inv float32) {
	for l := range lanes {
		v := e[l]
		m := float32(src * v)
		col[l] += m
		col[lanes+l] += float32(m * m)
		if m < col[2*lanes+l] {
			col[2*lanes+l] = m
		}
		if m > col[3*lanes+l] {
			col[3*lanes+l] = m
		}
		m = float32(float32(a[l]*v) * inv)
		part[0][l] += m
		part[1][l] += float32(m * m)
		if m < part[2][l] {
			part[2][l] = m
		}
		if m > part[3][l] {
			part[3][l] = m
		}
	}
}

func accumulatePortable(sum, sq []float64, low, high, t []float32, n int) {
	for i := 0; i < n; i += lanes {
		v := (*[4 * lanes]float32)(t[4*i:])
		for l := range min(lanes, n-i) {
			j := i + l
			sum[j] += float64(v[l])
			sq[j] += float64(v[lanes+l])
			low[j], high[j] = lower(v[2*lanes+l], low[j]), higher(v[3*lanes+l], high[j])
		}
	}
}

func lower(a, b float32) float32 {
	if a < b {
		return a
	}
	return b
}

func higher(a, b float32) float32 {
	if a > b {
		return a
	}
	return b
}
