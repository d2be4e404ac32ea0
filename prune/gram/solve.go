package gram

import (
	"context"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// Solve returns weights [K][O] and biases [O] that minimise |x w + b - z|^2 + ridge |w - w0|^2 over
// all rows; the ridge is relative to the mean square of an input. Without a bias b is 0. It is false
// where the system has no solution. The accumulator is used up.
func (a *Accumulator) Solve(ctx context.Context, ridge float64, withBias bool) (w, b []float64, ok bool, err error) {
	if err := a.close(ctx); err != nil {
		return nil, nil, false, err
	}
	k, o := a.k, a.o
	residual := a.residualSums()
	if withBias {
		a.shift(residual, -1/float64(a.rows))
	} else {
		a.uncentre(residual)
	}
	ridged(a.gram, k, ridge, 1e-9*float64(a.rows))
	var solver lapack.Implementation // not by lapack64, whose interface links all of LAPACK into WebAssembly
	if !solver.Dpotrf(blas.Upper, k, a.gram, k) {
		return nil, nil, false, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, false, err
	}
	solver.Dpotrs(blas.Upper, k, o, a.gram, k, a.cross, o)
	for i, v := range a.w0 {
		a.cross[i] += float64(v)
	}
	return a.cross, a.bias(withBias), true, nil
}

// ridged adds to the diagonal a share of its mean, and a number.
func ridged(gram []float64, k int, ridge, least float64) {
	trace := 0.0
	for i := range k {
		trace += gram[i*k+i]
	}
	for i := range k {
		gram[i*k+i] += ridge*trace/float64(k) + least
	}
}

// residualSums are the sums of what w0 leaves of the centred targets.
func (a *Accumulator) residualSums() []float64 {
	out := append([]float64(nil), a.sumZ...)
	for i, x := range a.sumX {
		if a.w0 == nil {
			break
		}
		for j, w := range a.w0[i*a.o : (i+1)*a.o] {
			out[j] -= x * float64(w)
		}
	}
	return out
}

// shift adds f times the products of the sums to the products.
func (a *Accumulator) shift(residual []float64, f float64) {
	s := blas64.Vector{N: a.k, Inc: 1, Data: a.sumX}
	blas64.Syr(f, s, blas64.Symmetric{Uplo: blas.Upper, N: a.k, Stride: max(a.k, 1), Data: a.gram})
	if a.o > 0 {
		blas64.Ger(f, s, blas64.Vector{N: a.o, Inc: 1, Data: residual}, blas64.General{Rows: a.k, Cols: a.o, Stride: a.o, Data: a.cross})
	}
}

// uncentre turns the products into those of the rows as they came.
func (a *Accumulator) uncentre(residual []float64) {
	n, r0 := float64(a.rows), make([]float64, a.o) // what w0 leaves of what was taken off
	for j := range r0 {
		r0[j] = float64(a.cz[j])
		for i := range a.k {
			if a.w0 != nil {
				r0[j] -= float64(a.cx[i]) * float64(a.w0[i*a.o+j])
			}
		}
	}
	for i := range a.k {
		ci := float64(a.cx[i])
		for j := i; j < a.k; j++ {
			cj := float64(a.cx[j])
			a.gram[i*a.k+j] += ci*a.sumX[j] + a.sumX[i]*cj + n*ci*cj
		}
		for j := range a.o {
			a.cross[i*a.o+j] += a.sumX[i]*r0[j] + ci*residual[j] + n*ci*r0[j]
		}
	}
}

// bias is what makes the means of outputs and targets the same.
func (a *Accumulator) bias(with bool) []float64 {
	b := make([]float64, a.o)
	if !with {
		return b
	}
	for j := range b {
		b[j] = float64(a.cz[j]) + a.sumZ[j]/float64(a.rows)
	}
	for i := range a.k {
		m := float64(a.cx[i]) + a.sumX[i]/float64(a.rows)
		for j := range b {
			b[j] -= m * a.cross[i*a.o+j]
		}
	}
	return b
}

// Covariance returns the inputs' covariance [K][K], of which the upper half counts, over all rows.
// The accumulator is used up.
func (a *Accumulator) Covariance(ctx context.Context) ([]float64, error) {
	if err := a.close(ctx); err != nil {
		return nil, err
	}
	a.shift(a.residualSums(), -1/float64(a.rows))
	for i := range a.k {
		row := a.gram[i*a.k+i : (i+1)*a.k]
		for j := range row {
			row[j] /= float64(a.rows)
		}
	}
	return a.gram, nil
}

// Moments returns the inputs' products [K][K] over all rows as they came, not centred, of which the
// upper half counts. The accumulator is used up.
func (a *Accumulator) Moments(ctx context.Context) ([]float64, error) {
	if err := a.close(ctx); err != nil {
		return nil, err
	}
	a.uncentre(a.residualSums())
	return a.gram, nil
}
