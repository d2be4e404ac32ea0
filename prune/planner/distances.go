package planner

import (
	"fmt"
	"math"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// maxPairs is the number of slices up to which distances between all of them are taken.
const maxPairs = 8192

// distances returns, for every position of a member's axis, the sum of the Euclidean distances between its slice and the other surviving slices: small for a slice that the others can replace.
func (s *scorer) distances(t *onnxio.Tensor, m coupling.Member) ([]float64, error) {
	v, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	n, before, after := int(t.Dims[m.Axis]), 1, 1
	if n > maxPairs {
		return nil, fmt.Errorf("criterion fpgm compares every two of %d slices of %q, which is too much above %d; choose another criterion", n, m.Const.Name, maxPairs)
	}
	for i, d := range t.Dims {
		if i < m.Axis {
			before *= int(d)
		} else if i > m.Axis {
			after *= int(d)
		}
	}
	width := max(before*after, 1)
	x := blas64.General{Rows: n, Cols: width, Stride: width, Data: make([]float64, n*width)}
	for b := range before {
		for i := range n {
			copy(x.Data[i*width+b*after:i*width+(b+1)*after], v[(b*n+i)*after:(b*n+i+1)*after])
		}
	}
	products := blas64.Symmetric{Uplo: blas.Upper, N: n, Stride: n, Data: make([]float64, n*n)}
	blas64.Syrk(blas.NoTrans, 1, x, 0, products)
	product := func(i, j int) float64 { return products.Data[min(i, j)*n+max(i, j)] }
	var dead []bool
	if s.state != nil {
		dead = s.state.Dead(m.Const, m.Axis)
	}
	out := make([]float64, n)
	for i := range n {
		for j := range n {
			if j != i && (dead == nil || !dead[j]) {
				out[i] += math.Sqrt(math.Max(product(i, i)+product(j, j)-2*product(i, j), 0))
			}
		}
	}
	return out, nil
}
