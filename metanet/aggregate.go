package metanet

import "math"

// aggregate gathers messages per hidden channel and node, without their target's factor: [H, np].
type aggregate struct {
	np        int
	count     []int32   // by node
	per       []float64 // 1 / count
	sum, sq   []float64
	low, high []float32
}

func newAggregate(hidden, np int) aggregate {
	n := hidden * np
	return aggregate{np, make([]int32, np), make([]float64, np), make([]float64, n), make([]float64, n), make([]float32, n), make([]float32, n)}
}

// reset forgets the messages to n nodes from node at on.
func (a *aggregate) reset(at, n int) {
	low, high := float32(math.Inf(1)), float32(math.Inf(-1))
	for i := at; i < len(a.sum); i += a.np {
		clear(a.sum[i : i+n])
		clear(a.sq[i : i+n])
		for j := range a.low[i : i+n] {
			a.low[i+j], a.high[i+j] = low, high
		}
	}
}

// add takes one message of a hidden channel to a node.
func (a *aggregate) add(i int, v float32) {
	a.sum[i] += float64(v)
	a.sq[i] += float64(float32(v * v))
	a.low[i], a.high[i] = lower(v, a.low[i]), higher(v, a.high[i])
}

// addColumns takes the statistics col [h, ldc/32, 4, 8] of n columns from node at on.
func (a *aggregate) addColumns(k *kernels, col []float32, hidden, at, n, ldc int) {
	for c := range hidden {
		from := c*a.np + at
		k.accumulate(a.sum[from:from+n], a.sq[from:from+n], a.low[from:from+n], a.high[from:from+n], col[c*ldc:], n)
	}
}

// addRows takes sums [h, ld] of n nodes from node at on.
func (a *aggregate) addRows(p *rowSums, hidden, at, n, ld int) {
	for c := range hidden {
		from := c*a.np + at
		sum, sq, low, high := a.sum[from:from+n], a.sq[from:from+n], a.low[from:from+n], a.high[from:from+n]
		psum, psq, plow, phigh := p.sum[c*ld:][:n], p.sq[c*ld:][:n], p.low[c*ld:][:n], p.high[c*ld:][:n]
		for j, v := range psum {
			sum[j] += v
			sq[j] += psq[j]
			low[j], high[j] = lower(plow[j], low[j]), higher(phigh[j], high[j])
		}
	}
}

// rowSums are the messages to the rows of one strip: [H, stripRows].
type rowSums struct {
	sum, sq   []float64
	low, high []float32
}

func (p *rowSums) reset(n int) {
	p.sum, p.sq, p.low, p.high = grow(p.sum, n), grow(p.sq, n), grow(p.low, n), grow(p.high, n)
	clear(p.sum)
	clear(p.sq)
	low, high := float32(math.Inf(1)), float32(math.Inf(-1))
	for i := range p.low {
		p.low[i], p.high[i] = low, high
	}
}

// minVar is the floor of a variance; a standard deviation at the floor counts as 0.
const minVar = 1e-5

// statistics writes mean, standard deviation, maximum and minimum of n nodes' messages to out [4H, ld], zeros where a node has none. The messages' common factor z is applied
// here: where it is negative, maximum and minimum change places.
func (a *aggregate) statistics(out, z []float32, at, n, np, ld int) {
	hidden := len(z) / np
	for c := range hidden {
		from := c*np + at
		sum, sq, low, high, z := a.sum[from:from+n], a.sq[from:from+n], a.low[from:from+n], a.high[from:from+n], z[from:from+n]
		mean, std, top, bottom := out[c*ld:][:n], out[(hidden+c)*ld:][:n], out[(2*hidden+c)*ld:][:n], out[(3*hidden+c)*ld:][:n]
		for j, count := range a.count[at : at+n] {
			if count == 0 {
				mean[j], std[j], top[j], bottom[j] = 0, 0, 0, 0
				continue
			}
			f, per := z[j], a.per[at+j]
			m := float64(sum[j] * per)
			mean[j] = float32(float32(m) * f)
			std[j] = 0
			if v := float64(float64(float64(sq[j]*per)-float64(m*m)) * float64(float64(f)*float64(f))); !(v <= minVar) {
				std[j] = float32(math.Sqrt(v))
			}
			top[j], bottom[j] = float32(high[j]*f), float32(low[j]*f)
			if f < 0 {
				top[j], bottom[j] = bottom[j], top[j]
			}
		}
	}
}
