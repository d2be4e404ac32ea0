package main

import (
	. "github.com/mmcloughlin/avo/build" //nolint:staticcheck // avo's own idiom
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// linear is y[o] = b[o] + w[o,0] x[0] + w[o,1] x[1] + ... over n columns, n a multiple of 16.
func linear() {
	TEXT("linearAVX2", NOSPLIT, "func(y, x, w, b *float32, out, in, n, ldy, ldx int)")
	y, x, w, b := param("y"), param("x"), param("w"), param("b")
	out, in, n, ldy, ldx := param("out"), times4(param("in")), times4(param("n")), times4(param("ldy")), times4(param("ldx"))

	in3 := GP64()
	LEAQ(operand.Mem{Base: in, Index: in, Scale: 2}, in3)
	Label("four")
	CMPQ(out, operand.U8(4))
	JLT(operand.LabelRef("one"))
	linearRows("four", 4, y, x, w, b, in, in3, n, ldy, ldx)
	SUBQ(operand.U8(4), out)
	JMP(operand.LabelRef("four"))

	Label("one")
	TESTQ(out, out)
	JZ(operand.LabelRef("done"))
	linearRows("one", 1, y, x, w, b, in, in3, n, ldy, ldx)
	DECQ(out)
	JMP(operand.LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

// linearRows computes some rows of y and moves y, w and b behind them.
func linearRows(name string, rows int, y, x, w, b, in, in3, n, ldy, ldx reg.GPVirtual) {
	loop(name+"_col", n, 64, func(col reg.GPVirtual) {
		acc := make([]reg.VecVirtual, 2*rows)
		for r := range rows {
			acc[2*r], acc[2*r+1] = YMM(), YMM()
			VBROADCASTSS(at(b).Offset(4*r), acc[2*r])
			VMOVUPS(acc[2*r], acc[2*r+1])
		}
		p, pw, left := GP64(), GP64(), GP64()
		LEAQ(indexed(x, col), p)
		MOVQ(w, pw)
		MOVQ(in, left)
		weights := []operand.Mem{at(pw), indexed(pw, in), {Base: pw, Index: in, Scale: 2}, indexed(pw, in3)}
		Label(name + "_in")
		lo, hi := YMM(), YMM()
		VMOVUPS(at(p), lo)
		VMOVUPS(at(p).Offset(32), hi)
		ADDQ(ldx, p)
		for r := range rows {
			f, g := YMM(), YMM()
			VBROADCASTSS(weights[r], f)
			VMULPS(lo, f, g)
			VADDPS(g, acc[2*r], acc[2*r])
			VMULPS(hi, f, f)
			VADDPS(f, acc[2*r+1], acc[2*r+1])
		}
		ADDQ(operand.U8(4), pw)
		SUBQ(operand.U8(4), left)
		JNZ(operand.LabelRef(name + "_in"))
		LEAQ(indexed(y, col), p)
		for r := range rows {
			VMOVUPS(acc[2*r], at(p))
			VMOVUPS(acc[2*r+1], at(p).Offset(32))
			if r < rows-1 {
				ADDQ(ldy, p)
			}
		}
	})
	for range rows {
		ADDQ(ldy, y)
		ADDQ(in, w)
	}
	ADDQ(operand.U8(4*rows), b)
}

// silu is x / (1 + exp(-x)) in place over rows of n numbers, n a multiple of 8.
func silu() {
	high, low := floats("expHigh", 88), floats("expLow", -86)
	log2e, magic := floats("log2e", 1.44269504), floats("magic", 12582912)
	ln2hi, ln2lo := floats("ln2hi", 0.693359375), floats("ln2lo", -2.12194440e-4)
	poly := []operand.Mem{floats("exp0", 1.9875691500e-4), floats("exp1", 1.3981999507e-3), floats("exp2", 8.3334519073e-3),
		floats("exp3", 4.1665795894e-2), floats("exp4", 1.6666665459e-1), floats("exp5", 5.0000001201e-1)}
	one := floats("one", 1)

	TEXT("siluAVX2", NOSPLIT, "func(x *float32, rows, n, ld int)")
	x, rows, n, ld := param("x"), param("rows"), times4(param("n")), times4(param("ld"))
	ones, zero := YMM(), YMM()
	VMOVUPS(one, ones)
	VXORPS(zero, zero, zero)
	down("silu_row", rows, func() {
		loop("silu", n, 32, func(i reg.GPVirtual) {
			v, y, k, r, p, t := YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
			VMOVUPS(indexed(x, i), v)
			VSUBPS(v, zero, y)
			VMINPS(high, y, y)
			VMAXPS(low, y, y)
			VMULPS(log2e, y, k)
			VADDPS(magic, k, k)
			VSUBPS(magic, k, r) // the rounded exponent
			VMULPS(ln2hi, r, t)
			VSUBPS(t, y, y)
			VMULPS(ln2lo, r, t)
			VSUBPS(t, y, y)
			VMOVUPS(poly[0], p)
			for _, c := range poly[1:] {
				VMULPS(y, p, p)
				VADDPS(c, p, p)
			}
			VMULPS(y, y, t)
			VMULPS(t, p, p)
			VADDPS(y, p, p)
			VADDPS(ones, p, p)
			VPSLLD(operand.U8(23), k, k)
			VPADDD(k, p, p)
			VADDPS(ones, p, p)
			VDIVPS(p, v, v)
			VMOVUPS(v, indexed(x, i))
		})
		ADDQ(ld, x)
	})
	VZEROUPPER()
	RET()
}

// layerNorm normalises every column of x [h, n] into y; n is a multiple of 8.
func layerNorm() {
	TEXT("layerNormAVX2", NOSPLIT, "func(y, x *float32, h, n, ldy, ldx int, size, eps float32)")
	y, x, h, n, ldy, ldx := param("y"), param("x"), param("h"), times4(param("n")), times4(param("ldy")), times4(param("ldx"))
	size, eps, one := YMM(), YMM(), YMM()
	s, e := Load(Param("size"), XMM()), Load(Param("eps"), XMM())
	VBROADCASTSS(s, size)
	VBROADCASTSS(e, eps)
	VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol("one"), 0), one)
	loop("norm_col", n, 32, func(col reg.GPVirtual) {
		mean, sq, px, py := YMM(), YMM(), GP64(), GP64()
		VXORPS(mean, mean, mean)
		LEAQ(indexed(x, col), px)
		loop("norm_mean", h, 1, func(reg.GPVirtual) {
			VADDPS(at(px), mean, mean)
			ADDQ(ldx, px)
		})
		VDIVPS(size, mean, mean)
		VXORPS(sq, sq, sq)
		LEAQ(indexed(x, col), px)
		loop("norm_var", h, 1, func(reg.GPVirtual) {
			d := YMM()
			VMOVUPS(at(px), d)
			VSUBPS(mean, d, d)
			VMULPS(d, d, d)
			VADDPS(d, sq, sq)
			ADDQ(ldx, px)
		})
		VDIVPS(size, sq, sq)
		VADDPS(eps, sq, sq)
		VSQRTPS(sq, sq)
		VDIVPS(sq, one, sq)
		LEAQ(indexed(x, col), px)
		LEAQ(indexed(y, col), py)
		loop("norm_out", h, 1, func(reg.GPVirtual) {
			d := YMM()
			VMOVUPS(at(px), d)
			VSUBPS(mean, d, d)
			VMULPS(sq, d, d)
			VMOVUPS(d, at(py))
			ADDQ(ldx, px)
			ADDQ(ldy, py)
		})
	})
	VZEROUPPER()
	RET()
}

// advance is e += e (ps q + qs p) over e [h, n]; n is a multiple of 8.
func advance() {
	TEXT("advanceAVX2", NOSPLIT, "func(e, ps, qs, p, q *float32, h, n, lde, ldg int)")
	e, ps, qs, p, q := param("e"), param("ps"), param("qs"), param("p"), param("q")
	h, n, lde, ldg := param("h"), times4(param("n")), times4(param("lde")), times4(param("ldg"))
	down("adv_row", h, func() {
		vp, vq := YMM(), YMM()
		VBROADCASTSS(at(ps), vp)
		VBROADCASTSS(at(qs), vq)
		loop("adv", n, 32, func(i reg.GPVirtual) {
			a, b := YMM(), YMM()
			VMULPS(indexed(q, i), vp, a)
			VMULPS(indexed(p, i), vq, b)
			VADDPS(b, a, a)
			VMOVUPS(indexed(e, i), b)
			VMULPS(b, a, a)
			VADDPS(a, b, b)
			VMOVUPS(b, indexed(e, i))
		})
		ADDQ(operand.U8(4), ps)
		ADDQ(operand.U8(4), qs)
		ADDQ(lde, e)
		ADDQ(ldg, p)
		ADDQ(ldg, q)
	})
	VZEROUPPER()
	RET()
}

// gather adds the messages of a row of edges e [h, n] to the columns' statistics col [h, ldc/32, 4, 8] and writes the row's own, row [h, ldr/32, 4, 8] with one lane for each row: sum, sum of squares, minimum, maximum. n is a multiple of 8.
func gather() {
	inf := bits("inf", 0x7f800000)
	ninf := bits("ninf", 0xff800000)
	TEXT("gatherAVX2", NOSPLIT, "func(row, col, e, as, a, inv *float32, h, n, ldr, lde, lda, ldc int)")
	row, col, e, as, a, inv := param("row"), param("col"), param("e"), param("as"), param("a"), param("inv")
	h, n, ldr, lde, lda, ldc := param("h"), times4(param("n")), times4(param("ldr")), times4(param("lde")), times4(param("lda")), times4(param("ldc"))
	down("gather_row", h, func() {
		src, sign := YMM(), YMM()
		VBROADCASTSS(at(as), src)
		VBROADCASTSS(at(inv), sign)
		sum, sq, low, high := YMM(), YMM(), YMM(), YMM()
		VXORPS(sum, sum, sum)
		VXORPS(sq, sq, sq)
		VMOVUPS(inf, low)
		VMOVUPS(ninf, high)
		loop("gather", n, 32, func(i reg.GPVirtual) {
			v, m, t := YMM(), YMM(), YMM()
			c := make([]operand.Mem, 4)
			for k := range c {
				c[k] = operand.Mem{Base: col, Index: i, Scale: 4, Disp: 32 * k}
			}
			VMOVUPS(indexed(e, i), v)
			VMULPS(v, src, m)
			VADDPS(c[0], m, t)
			VMOVUPS(t, c[0])
			VMULPS(m, m, t)
			VADDPS(c[1], t, t)
			VMOVUPS(t, c[1])
			VMINPS(c[2], m, t)
			VMOVUPS(t, c[2])
			VMAXPS(c[3], m, t)
			VMOVUPS(t, c[3])
			VMULPS(indexed(a, i), v, v)
			VMULPS(sign, v, v)
			VADDPS(v, sum, sum)
			VMULPS(v, v, t)
			VADDPS(t, sq, sq)
			VMINPS(low, v, low)
			VMAXPS(high, v, high)
		})
		for k, acc := range []reg.VecVirtual{sum, sq, low, high} {
			fold(k, acc)
			VMOVSS(acc.AsX(), at(row).Offset(32*k))
		}
		ADDQ(ldr, row)
		ADDQ(operand.U8(4), as)
		ADDQ(operand.U8(4), inv)
		ADDQ(lde, e)
		ADDQ(lda, a)
		ADDQ(ldc, col)
	})
	VZEROUPPER()
	RET()
}

// fold combines eight lanes: l and l+4, then l and l+2, then the last two.
func fold(k int, acc reg.VecVirtual) {
	op := []func(...operand.Op){VADDPS, VADDPS, VMINPS, VMAXPS}[k]
	t := XMM()
	VEXTRACTF128(operand.U8(1), acc, t)
	op(t, acc.AsX(), acc.AsX())
	VMOVHLPS(acc.AsX(), acc.AsX(), t)
	op(t, acc.AsX(), acc.AsX())
	VMOVSHDUP(acc.AsX(), t)
	op(t, acc.AsX(), acc.AsX())
}

// accumulate adds statistics t [n/8, 4, 8] to sums in float64 and to minima and maxima; n is a multiple of 8.
func accumulate() {
	TEXT("accumulateAVX2", NOSPLIT, "func(sum, sq *float64, low, high, t *float32, n int)")
	sum, sq, low, high, t, n := param("sum"), param("sq"), param("low"), param("high"), param("t"), times4(param("n"))
	loop("accumulate", n, 32, func(i reg.GPVirtual) {
		from := func(k int) operand.Mem { return operand.Mem{Base: t, Index: i, Scale: 4, Disp: k} }
		for k, to := range []reg.GPVirtual{sum, sq} {
			for half := range 2 {
				v := YMM()
				at := operand.Mem{Base: to, Index: i, Scale: 2, Disp: 32 * half}
				VCVTPS2PD(from(32*k+16*half), v)
				VADDPD(at, v, v)
				VMOVUPD(v, at)
			}
		}
		v := YMM()
		VMOVUPS(from(64), v)
		VMINPS(indexed(low, i), v, v)
		VMOVUPS(v, indexed(low, i))
		VMOVUPS(from(96), v)
		VMAXPS(indexed(high, i), v, v)
		VMOVUPS(v, indexed(high, i))
	})
	VZEROUPPER()
	RET()
}
