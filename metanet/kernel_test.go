package metanet

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The processor's kernels give the bits of the portable ones.
func TestKernelsAgree(t *testing.T) {
	fast, r := bestKernels(), rand.New(rand.NewPCG(4, 4))
	for range 300 {
		h, in, n := 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(70)
		ld, lg := padded(n)+pad*r.IntN(2), padded(n)+pad*r.IntN(2)
		fill := func(n int) []float32 { return random(r, make([]float32, n), 3) }
		equal := func(want, got []float32, rows, n, ld int) {
			t.Helper()
			for c := range rows {
				for i := range n {
					require.Equal(t, math.Float32bits(want[c*ld+i]), math.Float32bits(got[c*ld+i]), "row %d column %d of %d: %v and %v", c, i, n, want[c*ld+i], got[c*ld+i])
				}
			}
		}
		x := fill(max(in, h) * ld)
		l := &linear{in: in, out: h, w: fill(in * h), b: fill(h)}
		a, b := make([]float32, h*lg), make([]float32, h*lg)
		linearPortable(a, x, l, n, lg, ld)
		fast.linear(b, x, l, n, lg, ld)
		equal(a, b, h, n, lg)

		for i := range a {
			a[i] = x[i%len(x)] * float32(math.Exp2(float64(r.IntN(12)-4)))
		}
		copy(b, a)
		siluPortable(a, h, n, lg)
		fast.silu(b, h, n, lg)
		equal(a, b, h, n, lg)

		layerNormPortable(a, x, h, n, lg, ld)
		fast.layerNorm(b, x, h, n, lg, ld)
		equal(a, b, h, n, lg)

		ps, qs, p, q := fill(h), fill(h), fill(h*lg), fill(h*lg)
		y := append([]float32(nil), x...)
		advancePortable(x, ps, qs, p, q, n, ld, lg)
		fast.advance(y, ps, qs, p, q, n, ld, lg)
		equal(x, y, h, n, ld)

		whole, ldc := n&^(lanes-1), 4*padded(n)
		ldr := 4 * pad
		inv, row1, row2 := fill(h), make([]float32, ldr*h), make([]float32, ldr*h)
		col1, col2 := make([]float32, h*ldc), make([]float32, h*ldc)
		resetColumns(col1)
		resetColumns(col2)
		for range 3 {
			gatherPortable(row1, col1, x, ps, p, inv, whole, ldr, ld, lg, ldc)
			fast.gather(row2, col2, x, ps, p, inv, whole, ldr, ld, lg, ldc)
		}
		equal(row1, row2, 1, len(row1), 0)
		equal(col1, col2, 1, len(col1), 0)

		sum1, sq1, low1, high1 := make([]float64, n), make([]float64, n), fill(n), fill(n)
		sum2, sq2, low2, high2 := make([]float64, n), make([]float64, n), append([]float32(nil), low1...), append([]float32(nil), high1...)
		for range 2 {
			accumulatePortable(sum1, sq1, low1, high1, col1, n)
			fast.accumulate(sum2, sq2, low2, high2, col2, n)
		}
		require.Equal(t, sum1, sum2)
		require.Equal(t, sq1, sq2)
		equal(low1, low2, 1, n, 0)
		equal(high1, high2, 1, n, 0)
	}
}

func TestSilu(t *testing.T) {
	for x := -120.0; x < 120; x += 0.0137 {
		want := x / (1 + math.Exp(-x))
		require.InDelta(t, want, float64(silu1(float32(x))), 1e-6*math.Max(1e-3, math.Abs(want)), "%v", x)
	}
	require.True(t, math.IsNaN(float64(silu1(float32(math.NaN())))))
}
