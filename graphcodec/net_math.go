package graphcodec

import "math"

// The functions here give the same bits on every platform: they consist of IEEE operations in one order, none of them fused. Those of package math do not.

// logarithm is the natural logarithm of x > 0, by the series of 2 artanh((m-1)/(m+1)).
func logarithm(x float64) float64 {
	const ln2 = 0.693147180559945309417232121458176568
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m *= 2
		e--
	}
	s := (m - 1) / (m + 1)
	square, power, sum := float64(s*s), s, 0.0
	for k := 1; k < 40; k += 2 {
		sum += power / float64(k)
		power = float64(power * square)
	}
	return float64(2*sum) + float64(float64(e)*ln2)
}

// cosineOf is cos(pi * p / q) for p, q >= 0, by its power series on the first quarter turn.
func cosineOf(p, q int) float64 {
	p %= 2 * q
	if p > q {
		p = 2*q - p
	}
	sign := 1.0
	if 2*p > q {
		p, sign = q-p, -1
	}
	if 2*p == q {
		return 0
	}
	x := float64(math.Pi*float64(p)) / float64(q)
	square, term, sum := float64(x*x), 1.0, 0.0
	for k := 1; k < 40; k += 2 {
		sum += term
		term = float64(-term*square) / float64(k*(k+1))
	}
	return sign * sum
}
