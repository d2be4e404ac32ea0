package planner

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"

	"github.com/metaprune/metaprune/onnxio"
)

// blockRows is the number of rows that are summed into one partial column sum; partial sums are added in order.
const blockRows = 64

// axisSums are the sums of |w|^p over everything but one axis, for the first two axes of a tensor.
type axisSums [2][]float64

// weightSums computes the sums of a weight [d0, d1, rest...] over the positions that dead does not mark (nil: none dead).
func weightSums(t *onnxio.Tensor, p int, dead [2][]bool) (axisSums, error) {
	read, width, err := onnxio.FloatReader(t.DataType)
	if err != nil {
		return axisSums{}, err
	}
	raw, err := t.Bytes()
	if err != nil {
		return axisSums{}, err
	}
	g := geometry{rows: 1, cols: 1, inner: 1, width: width}
	for k, d := range t.Dims {
		switch k {
		case 0:
			g.rows = int(d)
		case 1:
			g.cols = int(d)
		default:
			g.inner *= int(d)
		}
	}
	out := axisSums{make([]float64, g.rows), make([]float64, g.cols)}
	blocks := (g.rows + blockRows - 1) / blockRows
	partial := make([][]float64, blocks)
	parallel(blocks, func(b int) {
		k := kernel{geometry: g, power: p, read: read, dead: dead, cols: make([]float64, g.cols), fast: t.DataType == onnxio.Float}
		for r := b * blockRows; r < min(g.rows, (b+1)*blockRows); r++ {
			if dead[0] == nil || !dead[0][r] {
				out[0][r] = k.row(raw[r*g.cols*g.inner*width:])
			}
		}
		partial[b] = k.cols
	})
	for _, cols := range partial {
		for i, s := range cols {
			out[1][i] += s
		}
	}
	return out, nil
}

type geometry struct{ rows, cols, inner, width int }

type kernel struct {
	geometry
	power int
	fast  bool // float32
	read  func([]byte) float64
	dead  [2][]bool
	cols  []float64
}

// row adds one row to the column sums and returns its own sum: four interleaved accumulators, added pairwise.
func (k *kernel) row(raw []byte) float64 {
	if k.fast && k.power == 2 && k.dead[1] == nil {
		if k.inner == 1 {
			return k.rowSquares1(raw)
		}
		return k.rowSquares(raw)
	}
	var lanes [4]float64
	for i := range k.geometry.cols {
		if k.dead[1] != nil && k.dead[1][i] {
			continue
		}
		s := 0.0
		for j := range k.inner {
			v := math.Abs(k.read(raw[(i*k.inner+j)*k.width:]))
			if k.power == 2 {
				v = float64(v * v)
			}
			s += v
		}
		k.cols[i] += s
		lanes[i&3] += s
	}
	return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

func (k *kernel) rowSquares(raw []byte) float64 {
	var lanes [4]float64
	n := 4 * k.inner
	for i := range k.cols {
		s := 0.0
		for b := raw[:n]; len(b) >= 4; b = b[4:] {
			v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
			s += float64(v * v)
		}
		raw = raw[n:]
		k.cols[i] += s
		lanes[i&3] += s
	}
	return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

func (k *kernel) rowSquares1(raw []byte) float64 {
	var a, b, c, d float64
	cols := k.cols
	i := 0
	for ; i+4 <= len(cols); i += 4 {
		q := raw[4*i : 4*i+16 : 4*i+16]
		w := cols[i : i+4 : i+4]
		x := float64(math.Float32frombits(binary.LittleEndian.Uint32(q)))
		y := float64(math.Float32frombits(binary.LittleEndian.Uint32(q[4:])))
		z := float64(math.Float32frombits(binary.LittleEndian.Uint32(q[8:])))
		u := float64(math.Float32frombits(binary.LittleEndian.Uint32(q[12:])))
		x, y, z, u = float64(x*x), float64(y*y), float64(z*z), float64(u*u)
		w[0] += x
		w[1] += y
		w[2] += z
		w[3] += u
		a += x
		b += y
		c += z
		d += u
	}
	lanes := [4]float64{a, b, c, d}
	for ; i < len(cols); i++ {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		cols[i] += float64(v * v)
		lanes[i&3] += float64(v * v)
	}
	return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

// parallel calls work(0) to work(n-1) on all cores.
func parallel(n int, work func(int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			work(i)
		}
		return
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
