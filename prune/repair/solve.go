package repair

import (
	"math/rand/v2"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// MaxInputs is the largest number of inputs of an output for which least squares are taken; the normal equations are a matrix of that size.
const MaxInputs = 4608

// MaxRows bounds the positions that a system is made of; more change little.
const MaxRows = 20000

// fit is a least-squares problem: targets [rows, outputs] from inputs [rows, K], around the weights that are there.
type fit struct {
	rows, inputs, outputs int
	x, z                  []float64 // row-major
}

// solve returns weights [inputs+1, outputs], the last row being the bias, that minimise |x*w + b - z|^2 + ridge*|w - w0|^2; the ridge is relative to the mean square of
// an input.
func (f *fit) solve(w0 []float64, ridge float64, withBias bool) ([]float64, []float64, bool) {
	n, k, o := float64(f.rows), f.inputs, f.outputs
	xm, zm := make([]float64, k), make([]float64, o)
	if withBias { // centring takes the bias out of the system
		means(f.x, f.rows, k, xm)
		means(f.z, f.rows, o, zm)
		centre(f.x, f.rows, k, xm)
		centre(f.z, f.rows, o, zm)
	}
	x, r := blas64.General{Rows: f.rows, Cols: k, Stride: k, Data: f.x}, blas64.General{Rows: f.rows, Cols: o, Stride: o, Data: f.z}
	// Residuals of the weights that are there: the correction is what is solved for.
	blas64.Gemm(blas.NoTrans, blas.NoTrans, -1, x, blas64.General{Rows: k, Cols: o, Stride: o, Data: w0}, 1, r)
	gram, d := blas64.General{Rows: k, Cols: k, Stride: k, Data: make([]float64, k*k)}, blas64.General{Rows: k, Cols: o, Stride: o, Data: make([]float64, k*o)}
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, x, x, 0, gram)
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, x, r, 0, d)
	trace := 0.0
	for i := range k {
		trace += gram.Data[i*k+i]
	}
	for i := range k {
		gram.Data[i*k+i] += ridge*trace/float64(k) + 1e-9*n
	}
	var solver lapack.Implementation // not by lapack64, whose interface links all of LAPACK into WebAssembly
	if !solver.Dpotrf(blas.Upper, k, gram.Data, k) {
		return nil, nil, false
	}
	solver.Dpotrs(blas.Upper, k, o, gram.Data, k, d.Data, o)
	w := make([]float64, k*o)
	for i := range w {
		w[i] = w0[i] + d.Data[i]
	}
	b := make([]float64, o)
	for j := range o {
		b[j] = zm[j]
		for i := range k {
			b[j] -= xm[i] * w[i*o+j]
		}
	}
	return w, b, true
}

func means(v []float64, rows, cols int, out []float64) {
	for i := range rows {
		for j, x := range v[i*cols : (i+1)*cols] {
			out[j] += x / float64(rows)
		}
	}
}

func centre(v []float64, rows, cols int, by []float64) {
	for i := range rows {
		row := v[i*cols : (i+1)*cols]
		for j := range row {
			row[j] -= by[j]
		}
	}
}

// positions chooses rows of a layer: all of them, or as many as a system takes, by seed.
func (o *Options) positions(total, inputs int) []int {
	want := min(total, o.MaxRows, max(8*inputs, 4096))
	if total <= want {
		all := make([]int, total)
		for i := range all {
			all[i] = i
		}
		return all
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x501e))
	out := make([]int, want)
	for i := range out { // one of each stretch, so that all samples are met
		from, to := i*total/want, (i+1)*total/want
		out[i] = from + r.IntN(max(to-from, 1))
	}
	return out
}

// parallel splits n items over the cores.
func parallel(n int, f func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), max(n, 1))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w*n/workers, (w+1)*n/workers) })
	}
	wg.Wait()
}

// denseSystem takes rows of the input and of the target, both with features last.
func denseSystem(x, z Array, kept []int, o *Options) *fit {
	_, k, _ := x.Blocks(-1)
	_, all, _ := z.Blocks(-1)
	rows := o.positions(len(x.Floats)/k, k)
	f := &fit{rows: len(rows), inputs: k, outputs: len(kept), x: make([]float64, len(rows)*k), z: make([]float64, len(rows)*len(kept))}
	for i, r := range rows {
		for j, v := range x.Floats[r*k : (r+1)*k] {
			f.x[i*k+j] = float64(v)
		}
		for j, c := range kept {
			f.z[i*len(kept)+j] = float64(z.Floats[r*all+c])
		}
	}
	return f
}

// convSystem takes patches of one group's inputs and the target's channels at the same places. Patches are [C, kh, kw], as kernels are.
func convSystem(x, z Array, g *geometry, kernel [2]int, from, channels int, kept []int, o *Options) *fit {
	h, w := x.Dims[2], x.Dims[3]
	oh, ow := z.Dims[2], z.Dims[3]
	k := channels * kernel[0] * kernel[1]
	rows := o.positions(z.Dims[0]*oh*ow, k)
	f := &fit{rows: len(rows), inputs: k, outputs: len(kept), x: make([]float64, len(rows)*k), z: make([]float64, len(rows)*len(kept))}
	parallel(len(rows), func(a, b int) {
		for i := a; i < b; i++ {
			n, y, c := rows[i]/(oh*ow), rows[i]/ow%oh, rows[i]%ow
			row := f.x[i*k : (i+1)*k]
			at := 0
			for ch := range channels {
				plane := x.Floats[(n*x.Dims[1]+from+ch)*h*w : (n*x.Dims[1]+from+ch+1)*h*w]
				for p := range kernel[0] {
					sy := y*g.strides[0] - g.pads[0] + p*g.dilations[0]
					for q := range kernel[1] {
						sx := c*g.strides[1] - g.pads[1] + q*g.dilations[1]
						if sy >= 0 && sy < h && sx >= 0 && sx < w {
							row[at] = float64(plane[sy*w+sx])
						}
						at++
					}
				}
			}
			for j, ch := range kept {
				f.z[i*len(kept)+j] = float64(z.Floats[((n*z.Dims[1]+ch)*oh+y)*ow+c])
			}
		}
	})
	return f
}
