package obs

import (
	"context"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/prune/gram"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// MaxInputs is the number of channels of a layer's input up to which correlations between them count.
const MaxInputs = 6144

// ridge keeps the inverse of second moments finite, relative to their mean.
const ridge = 1e-2

// space is a source with the weights that read it: p is the inverse of the channels' covariance, m
// the products of the weights by channel. Removing channel c corrects the weights of the others, so
// that with f = p[:,c]/p[c,c] and g = m[:,c] - m[c,c]/2 f
//
//	p becomes p - p[c,c] f f', and m becomes m - f g' - g f'.
//
// Both are kept as they were some removals ago; f and g of these are in a block, and only the
// diagonals are always right.
type space struct {
	products   *gram.Products
	n          int
	ridge      float64
	covariance []float64 // [n][n], the upper half, before prepare
	p, m       []float64 // [size][size]
	size       int
	place      []int // of a channel in p and m; below 0 when it is gone
	left       int
	diagP      []float64
	diagM      []float64
	f, g       []float64 // [blockSize][size], the block
	pivots     []float64
	variance   []float64 // by channel, where channels count as independent
	energy     []float64 // by channel, of independent ones
	positions  map[coupling.UnitID][]int32
}

// blockSize is how many removals are applied at once.
const blockSize = 64

// newSpace makes a space without weights.
func newSpace(ctx context.Context, products *gram.Products, v view) (*space, error) {
	s := &space{products: products, n: v.source.n, ridge: ridge, positions: v.positions}
	if v.moments.sums == nil {
		s.variance = v.moments.means()
		return s, nil
	}
	if v.moments.covariance == nil {
		var err error
		if v.moments.covariance, err = v.moments.sums.Covariance(ctx); err != nil {
			return nil, err
		}
		v.moments.sums = nil
	}
	s.covariance = v.moments.covariance
	return s, nil
}

// share adds a layer's products, or energies, as shares of a whole.
func (s *space) share(products []float64, whole float64) {
	if !(whole > 0) {
		return // the layer's outputs do not change on the samples
	}
	to := &s.m
	if s.variance != nil {
		to = &s.energy
	}
	if *to == nil {
		*to = make([]float64, len(products))
	}
	for i, v := range products {
		(*to)[i] += v / whole
	}
}

// prepare inverts the covariance. It is false for a space that no layer counts in.
func (s *space) prepare() bool {
	if s.variance != nil {
		return s.energy != nil
	}
	if s.m == nil {
		return false
	}
	if !s.invert() {
		s.independent()
		return true
	}
	n := s.n
	s.size, s.left, s.place = n, n, make([]int, n)
	s.diagP, s.diagM = make([]float64, n), make([]float64, n)
	for i := range n {
		s.place[i], s.diagP[i], s.diagM[i] = i, s.p[i*n+i], s.m[i*n+i]
	}
	mirror(s.p, n)
	mirror(s.m, n)
	s.f, s.g = make([]float64, blockSize*n), make([]float64, blockSize*n)
	return true
}

// independent leaves the correlations out.
func (s *space) independent() {
	s.variance, s.energy = make([]float64, s.n), make([]float64, s.n)
	for i := range s.n {
		s.variance[i], s.energy[i] = s.covariance[i*s.n+i], s.m[i*s.n+i]
	}
	s.p, s.m = nil, nil
}

// invert takes the inverse of the covariance, which other spaces may share.
func (s *space) invert() bool {
	n := s.n
	s.p = append([]float64(nil), s.covariance...)
	trace := 0.0
	for i := range n {
		trace += s.p[i*n+i]
	}
	for i := range n {
		s.p[i*n+i] += s.ridge*trace/float64(n) + 1e-30
	}
	var solver lapack.Implementation // not by lapack64, whose interface links all of LAPACK into WebAssembly
	return solver.Dpotrf(blas.Upper, n, s.p, n) && solver.Dpotri(blas.Upper, n, s.p, n)
}

// mirror copies the upper half to the lower one.
func mirror(v []float64, n int) {
	for i := range n {
		for j := range i {
			v[i*n+j] = v[j*n+i]
		}
	}
}

// cost is what the layers' outputs lose without a unit, relative to their variance, when the others take over as far as they can.
func (s *space) cost(u coupling.UnitID) float64 {
	sum := 0.0
	for _, q := range s.positions[u] {
		if s.variance != nil {
			sum += s.energy[q] * s.variance[q]
			continue
		}
		at := s.place[q]
		if at < 0 {
			continue
		}
		sum += math.Max(s.diagM[at], 0) / s.diagP[at]
	}
	return sum
}

// remove removes a unit's channels.
func (s *space) remove(ctx context.Context, u coupling.UnitID) error {
	if s.variance != nil {
		return nil
	}
	for _, q := range s.positions[u] {
		if s.place[q] < 0 {
			continue
		}
		if s.removeChannel(int(q)); len(s.pivots) < blockSize {
			continue
		}
		if err := s.apply(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) removeChannel(q int) {
	c, n, k := s.place[q], s.size, len(s.pivots)
	f, g := s.f[k*n:(k+1)*n], s.g[k*n:(k+1)*n]
	copy(f, s.p[c*n:(c+1)*n])
	copy(g, s.m[c*n:(c+1)*n])
	vector := func(v []float64) blas64.Vector { return blas64.Vector{N: n, Inc: 1, Data: v} }
	for i, pivot := range s.pivots {
		fi, gi := s.f[i*n:(i+1)*n], s.g[i*n:(i+1)*n]
		blas64.Axpy(-pivot*fi[c], vector(fi), vector(f))
		blas64.Axpy(-gi[c], vector(fi), vector(g))
		blas64.Axpy(-fi[c], vector(gi), vector(g))
	}
	pivot, m := f[c], g[c]
	blas64.Scal(1/pivot, vector(f))
	blas64.Axpy(-m/2, vector(f), vector(g))
	for i, v := range f {
		s.diagP[i] -= pivot * v * v
		s.diagM[i] -= 2 * v * g[i]
	}
	s.place[q] = -1
	s.left--
	s.pivots = append(s.pivots, pivot)
}

// apply applies the block of removals to what is left.
func (s *space) apply(ctx context.Context) error {
	n, k := s.size, len(s.pivots)
	f, g := s.f[:k*n], s.g[:k*n]
	if err := s.products.Minus(ctx, s.m, n, append(slices.Clone(f), g...), append(slices.Clone(g), f...)); err != nil {
		return err
	}
	scaled := slices.Clone(f)
	for i, pivot := range s.pivots {
		blas64.Scal(pivot, blas64.Vector{N: n, Inc: 1, Data: scaled[i*n : (i+1)*n]})
	}
	if err := s.products.Minus(ctx, s.p, n, scaled, f); err != nil {
		return err
	}
	s.pivots = s.pivots[:0]
	if room := (s.left + granule - 1) / granule * granule; s.left > 0 && room <= n*7/8 {
		s.compact(room)
	}
	return nil
}

// granule is what sizes are multiples of, so that products of few sizes are prepared.
const granule = 64

// compact drops rows and columns of what is gone, down to a size.
func (s *space) compact(size int) {
	drop := s.size - size
	alive := make([]int, s.size) // by place: the channel and one
	for q, at := range s.place {
		if at >= 0 {
			alive[at] = q + 1
		}
	}
	var kept []int
	for at, q := range alive {
		if q == 0 && drop > 0 {
			drop--
			continue
		}
		if q > 0 {
			s.place[q-1] = len(kept)
		}
		kept = append(kept, at)
	}
	for i, a := range kept { // places only move down, as rows keep their order
		for j, b := range kept {
			s.p[i*size+j], s.m[i*size+j] = s.p[a*s.size+b], s.m[a*s.size+b]
		}
		s.diagP[i], s.diagM[i] = s.diagP[a], s.diagM[a]
	}
	s.size = size
	s.p, s.m, s.diagP, s.diagM = s.p[:size*size], s.m[:size*size], s.diagP[:size], s.diagM[:size]
}
