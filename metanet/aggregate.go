package metanet

import "math"

// aggregate gathers messages per hidden channel and node, without their target's factor: [H, np].
type aggregate struct {
	np        int
	count     []int32 // by node
	sum, sq   []float64
	low, high []float32
}

func newAggregate(hidden, np int) aggregate {
	n := hidden * np
	return aggregate{np, make([]int32, np), make([]float64, n), make([]float64, n), make([]float32, n), make([]float32, n)}
}

func (a *aggregate) reset() {
	clear(a.sum)
	clear(a.sq)
	for i := range a.low {
		a.low[i], a.high[i] = float32(math.Inf(1)), float32(math.Inf(-1))
	}
}

// add takes one partial result of a hidden channel at a node.
func (a *aggregate) add(i int, sum, sq float64, low, high float32) {
	a.sum[i] += sum
	a.sq[i] += sq
	a.low[i], a.high[i] = lower(low, a.low[i]), higher(high, a.high[i])
}

// addColumns takes the statistics col [h, ldc/32, 4, 8] of n columns from node at on.
func (a *aggregate) addColumns(col []float32, hidden, at, n, ldc int) {
	for c := range hidden {
		off := c*a.np + at
		sum, sq, low, high := a.sum[off:off+n], a.sq[off:off+n], a.low[off:off+n], a.high[off:off+n]
		for i := 0; i < n; i += lanes {
			t := (*[4 * lanes]float32)(col[c*ldc+4*i:])
			for l := range min(lanes, n-i) {
				j := i + l
				sum[j] += float64(t[l])
				sq[j] += float64(t[lanes+l])
				low[j], high[j] = lower(t[2*lanes+l], low[j]), higher(t[3*lanes+l], high[j])
			}
		}
	}
}

// minVar is the floor of a variance; a standard deviation at the floor counts as 0.
const minVar = 1e-5

// statistics writes mean, standard deviation, maximum and minimum of n nodes' messages to out [4H, ld], zeros where a node has none. The messages' common factor z is applied
// here: where it is negative, maximum and minimum change places.
func (a *aggregate) statistics(out, z []float32, at, n, np, ld int) {
	hidden := len(z) / np
	for c := range hidden {
		for j := range n {
			i := c*np + at + j
			f := z[i]
			var mean, std, high, low float32
			if a.count[at+j] > 0 {
				size := float64(a.count[at+j])
				m := a.sum[i] / size
				mean = float32(float32(m) * f)
				variance := float64((a.sq[i]/size - float64(m*m)) * float64(float64(f)*float64(f)))
				if !(variance <= minVar) {
					std = float32(math.Sqrt(variance))
				}
				high, low = float32(a.high[i]*f), float32(a.low[i]*f)
				if f < 0 {
					high, low = low, high
				}
			}
			out[c*ld+j], out[(hidden+c)*ld+j], out[(2*hidden+c)*ld+j], out[(3*hidden+c)*ld+j] = mean, std, high, low
		}
	}
}
