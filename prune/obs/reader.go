package obs

import (
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/prune/repair"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// MaxInputs is the number of channels of a layer's input up to which correlations between them count.
const MaxInputs = 2560

// maxRows bounds the samples and positions that second moments are taken over.
const maxRows = 8192

// ridge keeps the inverse of second moments finite, relative to their mean.
const ridge = 1e-2

// reader is one layer's view of a group: its weights w by input channel, and the inverse of the covariance of these channels.
type reader struct {
	n, outputs int
	w          []float64 // [n][outputs]
	energy     []float64 // sum of squares of w, by channel
	inverse    []float64 // [n][n]; nil where channels count as independent
	variance   []float64 // by channel, where inverse is nil
	whole      float64   // variance of the outputs, summed
	positions  map[coupling.UnitID][]int32
}

// view is what one layer, or one group of a grouped convolution, reads of a group of channels.
type view struct {
	w         []float64 // [n][outputs]
	n         int
	x         repair.Array
	at, from  int // the axis of channels in x, and the first of the n
	positions map[coupling.UnitID][]int32
}

// eachView visits the layers that read a group, those of a grouped convolution group by group.
func eachView(a *coupling.Analysis, g *coupling.Group, layers map[string]*layer, values map[string]repair.Array, visit func(v view)) error {
	for _, m := range g.Members {
		l := reads(m, layers)
		if l == nil {
			continue
		}
		x, ok := values[l.node.Inputs[0]]
		if !ok || len(x.Floats) == 0 {
			continue
		}
		stored, err := m.Const.Real()
		if err != nil {
			return err
		}
		w, err := stored.Float32s()
		if err != nil {
			return err
		}
		n := int(m.Const.Tensor.Dims[m.Axis])
		if channels(x, l.channel) != n*l.groups {
			continue
		}
		positions := map[coupling.UnitID][]int32{}
		for _, u := range g.Units {
			positions[u] = a.Positions(u, m)
		}
		for k := range l.groups {
			visit(view{weights(w, m.Const.Tensor.Dims, m.Axis, k, l.groups), n, x, l.channel, k * n, positions})
		}
	}
	return nil
}

// readersOf lists the layers that read a group.
func readersOf(a *coupling.Analysis, g *coupling.Group, layers map[string]*layer, values map[string]repair.Array) ([]*reader, error) {
	var out []*reader
	err := eachView(a, g, layers, values, func(v view) {
		if r := newReader(v.w, v.n, sampled(v.x, v.at, v.from, v.n), ridge); r != nil {
			r.positions = v.positions
			out = append(out, r)
		}
	})
	return out, err
}

func channels(x repair.Array, at int) int {
	if at >= len(x.Dims) || -at > len(x.Dims) {
		return -1
	}
	_, n, _ := x.Blocks(at)
	return n
}

// weights are those of the k-th group of outputs, [inputs][outputs of the group and kernel positions].
func weights(w []float32, dims []int64, at, k, groups int) []float64 {
	outer, n, inner := 1, int(dims[at]), 1
	for i, d := range dims {
		if i < at {
			outer *= int(d)
		} else if i > at {
			inner *= int(d)
		}
	}
	each := outer / groups
	out := make([]float64, n*each*inner)
	for o := range each {
		for j := range n {
			for i := range inner {
				out[(j*each+o)*inner+i] = float64(w[((k*each+o)*n+j)*inner+i])
			}
		}
	}
	return out
}

// sampled takes n channels of an array from one on, as rows of evenly spaced samples and positions, and takes their mean off.
func sampled(x repair.Array, at, from, n int) blas64.General {
	before, all, after := x.Blocks(at)
	total := before * after
	rows := min(total, maxRows)
	data := make([]float64, rows*n)
	mean := make([]float64, n)
	for i := range rows {
		r := i * total / rows
		b, p := r/after, r%after
		for j := range n {
			v := float64(x.Floats[(b*all+from+j)*after+p])
			data[i*n+j] = v
			mean[j] += v / float64(rows)
		}
	}
	for i := range rows {
		for j := range n {
			data[i*n+j] -= mean[j]
		}
	}
	return blas64.General{Rows: rows, Cols: n, Stride: n, Data: data}
}

// newReader returns nil for a layer whose outputs do not change on the samples.
func newReader(w []float64, n int, x blas64.General, ridge float64) *reader {
	r := &reader{n: n, outputs: len(w) / n, w: w, energy: make([]float64, n)}
	for i := range n {
		r.weigh(i)
	}
	if n > MaxInputs || !r.invert(x, ridge) {
		r.independent(x)
	}
	if !(r.whole > 0) {
		return nil
	}
	return r
}

// independent takes the channels' variances alone.
func (r *reader) independent(x blas64.General) {
	r.variance, r.whole = make([]float64, x.Cols), 0
	for i := range x.Rows {
		for j, v := range x.Data[i*x.Stride : i*x.Stride+x.Cols] {
			r.variance[j] += v * v / float64(x.Rows)
		}
	}
	for j, v := range r.variance {
		r.whole += v * r.energy[j]
	}
}

// invert works out the inverse of the covariance, and what the outputs vary by.
func (r *reader) invert(x blas64.General, ridge float64) bool {
	n := x.Cols
	cov, products := symmetric(n), symmetric(n)
	blas64.Syrk(blas.Trans, 1/float64(x.Rows), x, 0, cov)
	blas64.Syrk(blas.NoTrans, 1, blas64.General{Rows: n, Cols: r.outputs, Stride: r.outputs, Data: r.w}, 0, products)
	trace := 0.0
	for i := range n {
		trace += cov.Data[i*n+i]
		r.whole += cov.Data[i*n+i] * products.Data[i*n+i]
		for j := i + 1; j < n; j++ {
			r.whole += 2 * cov.Data[i*n+j] * products.Data[i*n+j]
		}
	}
	for i := range n {
		cov.Data[i*n+i] += ridge*trace/float64(n) + 1e-30
	}
	var solver lapack.Implementation // not by lapack64, whose interface links all of LAPACK into WebAssembly
	if !solver.Dpotrf(blas.Upper, n, cov.Data, n) || !solver.Dpotri(blas.Upper, n, cov.Data, n) {
		return false
	}
	r.inverse = cov.Data
	for i := range n {
		for j := range i {
			r.inverse[i*n+j] = r.inverse[j*n+i]
		}
	}
	return true
}

// symmetric is a matrix of zeros of which the upper half counts.
func symmetric(n int) blas64.Symmetric {
	return blas64.Symmetric{Uplo: blas.Upper, N: n, Stride: n, Data: make([]float64, n*n)}
}

func (r *reader) row(i int) []float64 { return r.w[i*r.outputs : (i+1)*r.outputs] }

func (r *reader) weigh(i int) {
	r.energy[i] = 0
	for _, v := range r.row(i) {
		r.energy[i] += v * v
	}
}

// cost is what the layer's outputs lose without a unit, relative to their variance, when the others take over as far as they can.
func (r *reader) cost(u coupling.UnitID) float64 {
	sum := 0.0
	for _, p := range r.positions[u] {
		if r.inverse == nil {
			sum += r.energy[p] * r.variance[p]
			continue
		}
		sum += r.energy[p] / r.inverse[int(p)*r.n+int(p)]
	}
	return sum / r.whole
}

// remove removes a unit's channels: the weights of the others are corrected, and the inverse becomes that of the surviving channels' covariance.
func (r *reader) remove(u coupling.UnitID) {
	if r.inverse == nil {
		return
	}
	for _, q := range r.positions[u] {
		p := int(q)
		pivot := r.inverse[p*r.n+p]
		row := slices.Clone(r.inverse[p*r.n : (p+1)*r.n])
		gone := slices.Clone(r.row(p))
		for i := range r.n {
			f := row[i] / pivot
			if f == 0 || i == p {
				continue
			}
			w := r.row(i)
			for k, v := range gone {
				w[k] -= f * v
			}
			r.weigh(i)
			to := r.inverse[i*r.n : (i+1)*r.n]
			for j, v := range row {
				to[j] -= f * v
			}
			to[p] = 0
		}
		clear(r.inverse[p*r.n : (p+1)*r.n])
		r.inverse[p*r.n+p] = 1
		clear(r.row(p))
		r.energy[p] = 0
	}
}

// diagonal is the score of each channel by a criterion that scores channels one by one.
func (v view) diagonal(criterion string) []float64 {
	out := squares(v.x, v.at, v.from, v.n)
	outputs := len(v.w) / v.n
	for i := range out {
		sum := 0.0
		for _, w := range v.w[i*outputs : (i+1)*outputs] {
			if criterion == Wanda {
				sum += math.Abs(w)
			} else {
				sum += w * w / 2
			}
		}
		if criterion == Wanda {
			out[i] = math.Sqrt(out[i])
		}
		out[i] *= sum
	}
	return out
}

// squares are the mean squares of n channels of an array from one on.
func squares(x repair.Array, at, from, n int) []float64 {
	before, all, after := x.Blocks(at)
	out := make([]float64, n)
	for b := range before {
		for j := range n {
			for _, v := range x.Floats[(b*all+from+j)*after : (b*all+from+j+1)*after] {
				out[j] += float64(v) * float64(v) / float64(before*after)
			}
		}
	}
	return out
}
