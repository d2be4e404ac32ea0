package metanet

import "golang.org/x/sys/cpu"

//go:generate go run -C avo . -out ../kernel_amd64.s

//go:noescape
func linearAVX2(y, x, w, b *float32, out, in, n, ldy, ldx int)

//go:noescape
func siluAVX2(x *float32, rows, n, ld int)

//go:noescape
func layerNormAVX2(y, x *float32, h, n, ldy, ldx int, size, eps float32)

//go:noescape
func advanceAVX2(e, ps, qs, p, q *float32, h, n, lde, ldg int)

//go:noescape
func gatherAVX2(row, col, e, as, a, inv *float32, h, n, ldr, lde, lda, ldc int)

//go:noescape
func accumulateAVX2(sum, sq *float64, low, high, t *float32, n int)

// bestKernels returns the fastest kernels that the processor runs.
func bestKernels() kernels {
	if !cpu.X86.HasAVX2 {
		return portable
	}
	return kernels{
		linear: func(y, x []float32, l *linear, n, ldy, ldx int) {
			n = padded(n)
			_, _ = y[(l.out-1)*ldy+n-1], x[(l.in-1)*ldx+n-1]
			linearAVX2(&y[0], &x[0], &l.w[0], &l.b[0], l.out, l.in, n, ldy, ldx)
		},
		silu: func(x []float32, rows, n, ld int) {
			n = roundUp(n)
			_ = x[(rows-1)*ld+n-1]
			siluAVX2(&x[0], rows, n, ld)
		},
		layerNorm: func(y, x []float32, h, n, ldy, ldx int) {
			n = roundUp(n)
			_, _ = y[(h-1)*ldy+n-1], x[(h-1)*ldx+n-1]
			layerNormAVX2(&y[0], &x[0], h, n, ldy, ldx, float32(h), layerNormEps)
		},
		advance: func(e, ps, qs, p, q []float32, n, lde, ldg int) {
			n = roundUp(n)
			h := len(ps)
			_, _, _, _ = e[(h-1)*lde+n-1], qs[h-1], p[(h-1)*ldg+n-1], q[(h-1)*ldg+n-1]
			advanceAVX2(&e[0], &ps[0], &qs[0], &p[0], &q[0], h, n, lde, ldg)
		},
		gather: func(row, col, e, as, a, inverter []float32, n, ldr, lde, lda, ldc int) {
			h := len(as)
			_, _ = row[(h-1)*ldr+3*lanes], inverter[h-1]
			if n > 0 {
				_, _, _ = col[(h-1)*ldc+4*n-1], e[(h-1)*lde+n-1], a[(h-1)*lda+n-1]
			}
			gatherAVX2(&row[0], &col[0], &e[0], &as[0], &a[0], &inverter[0], h, n, ldr, lde, lda, ldc)
		},
		accumulate: func(sum, sq []float64, low, high, t []float32, n int) {
			whole := n &^ (lanes - 1)
			if whole > 0 {
				_, _, _, _, _ = sum[whole-1], sq[whole-1], low[whole-1], high[whole-1], t[4*whole-1]
				accumulateAVX2(&sum[0], &sq[0], &low[0], &high[0], &t[0], whole)
			}
			if whole < n {
				accumulatePortable(sum[whole:], sq[whole:], low[whole:], high[whole:], t[4*whole:], n-whole)
			}
		},
	}
}

// roundUp rounds up to whole vectors.
func roundUp(n int) int { return (n + lanes - 1) &^ (lanes - 1) }
