package gram

import (
	"context"
	"runtime"
	"sync"
)

// Accumulator holds sums over rows of inputs x [K] and targets z [O]: how often, sums, and the
// products of inputs with inputs and with what given weights leave of the targets.
type Accumulator struct {
	products *Products
	k, o     int
	w0       []float32 // [K][O], the weights that are there; nil for none
	block    int       // rows in a block
	x, z     []float32 // the block that is being filled, row-major
	filled   int
	cx, cz   []float32 // what is taken off every row; nil before the first block is full
	small    bool      // products are taken here, not by the engine

	rows       int
	sumX, sumZ []float64 // of centred rows
	gram       []float64 // [K][K], the upper half
	cross      []float64 // [K][O], of inputs with residuals
}

// blockFloats bounds a block's inputs.
const blockFloats = 1 << 23

// smallWork is how many multiplications are taken here rather than by an engine, which has to
// prepare them first.
const smallWork = 1 << 27

// New makes an accumulator for about rows rows, of k inputs and o targets. w0 are the weights
// [k][o] whose residuals are taken; nil takes the targets themselves. block is how many rows are
// gathered before their products are taken; 0 is as many as fit into a few megabytes.
func (p *Products) New(rows, k, o int, w0 []float32, block int) *Accumulator {
	if block == 0 {
		block = max(blockFloats/max(k+o, 1), 256)
	}
	a := &Accumulator{products: p, k: k, o: o, w0: w0, block: max(min(block, rows), 1)}
	a.small = p.engine == nil || rows*k*(k+o) < smallWork
	a.sumX, a.sumZ = make([]float64, k), make([]float64, o)
	a.gram, a.cross = make([]float64, k*k), make([]float64, k*o)
	a.x, a.z = make([]float32, a.block*k), make([]float32, a.block*o)
	return a
}

// Add takes n rows in. fill writes the i-th of them and is called from several goroutines.
func (a *Accumulator) Add(ctx context.Context, n int, fill func(i int, x, z []float32)) error {
	for done := 0; done < n; {
		now := min(n-done, a.block-a.filled)
		parallel(now, func(from, to int) {
			for i := from; i < to; i++ {
				r := a.filled + i
				fill(done+i, a.x[r*a.k:(r+1)*a.k], a.z[r*a.o:(r+1)*a.o])
			}
		})
		a.filled += now
		done += now
		if a.filled == a.block {
			if err := a.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush takes the products of the block that has been filled.
func (a *Accumulator) flush(ctx context.Context) error {
	if a.filled == 0 {
		return nil
	}
	if a.cx == nil {
		a.cx, a.cz = means(a.x, a.filled, a.k), means(a.z, a.filled, a.o)
	}
	centre(a.x, a.filled, a.cx, a.sumX)
	centre(a.z, a.filled, a.cz, a.sumZ)
	a.rows += a.filled
	var err error
	if a.small {
		a.multiply()
	} else {
		clear(a.x[a.filled*a.k:])
		clear(a.z[a.filled*a.o:])
		err = a.products.add(ctx, a)
	}
	a.filled = 0
	return err
}

// close takes the last block and frees the room for blocks.
func (a *Accumulator) close(ctx context.Context) error {
	err := a.flush(ctx)
	a.x, a.z = nil, nil
	return err
}

// means are those of columns.
func means(v []float32, rows, cols int) []float32 {
	out := make([]float32, cols)
	parallel(cols, func(from, to int) {
		sum := make([]float64, to-from)
		for i := range rows {
			for j, x := range v[i*cols+from : i*cols+to] {
				sum[j] += float64(x)
			}
		}
		for j, s := range sum {
			out[from+j] = float32(s / float64(rows))
		}
	})
	return out
}

// centre takes a constant off every row and adds what is left to the sums.
func centre(v []float32, rows int, by []float32, sums []float64) {
	cols := len(by)
	parallel(cols, func(from, to int) {
		for i := range rows {
			row := v[i*cols+from : i*cols+to]
			for j := range row {
				row[j] -= by[from+j]
				sums[from+j] += float64(row[j])
			}
		}
	})
}

// parallel splits n items over the cores.
func parallel(n int, f func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), max(n/16, 1))
	if workers == 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w*n/workers, (w+1)*n/workers) })
	}
	wg.Wait()
}
