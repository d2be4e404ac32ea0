// Command avo writes kernel_amd64.s, the AVX2 and AVX-512 kernels of package kernel. `go generate ./xla/kernel` runs it.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build" //nolint:staticcheck // avo's own idiom
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kernel.tile and kernel.taps.
const (
	tileA, tileB, tileC, tileBias, tileAdd = 0, 8, 16, 24, 32
	tileOffsets, tileSegments, tileRun     = 40, 48, 56
	tileStepA, tileStepC, tileStepAdd      = 64, 72, 80
	tilePanel, tileMask, tileLanes         = 88, 96, 104
	tileLow, tileHigh                      = 112, 116

	tapsX, tapsW, tapsY, tapsBias = 0, 8, 16, 24
	tapsOffsets, tapsCount, tapsN = 32, 40, 48
	tapsStepW, tapsLow, tapsHigh  = 56, 64, 68
)

func main() {
	ConstraintExpr("amd64")
	for rows := 1; rows <= 12; rows++ {
		for vectors := 1; vectors <= 2; vectors++ {
			tile(avx512{vectors}, fmt.Sprintf("tile%dx%d", rows, 16*vectors), rows)
		}
	}
	for rows := 1; rows <= 6; rows++ {
		tile(avx2{}, fmt.Sprintf("tile%dAVX2", rows), rows)
	}
	taps()
	Generate()
}

// isa is a set of vector instructions with the columns of one tile.
type isa interface {
	vectors() int
	bytes() int // of a vector
	vector() reg.VecVirtual
	// right is the address of vector v of a row of the packed matrix.
	right(b, panel reg.Register, v int) operand.Mem
	// multiply adds a number of the left matrix times a row of the right one.
	multiply(left operand.Mem, right, acc []reg.VecVirtual)
	// mask prepares to load and store the last vector in part.
	mask(t reg.GPVirtual)
	load(from operand.Mem, v int) reg.VecVirtual
	store(x reg.VecVirtual, to operand.Mem, v int)
}

// tile is a block of rows of a product: bias + left * right + addend, held between two bounds.
func tile(s isa, name string, rows int) {
	TEXT(name, NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64()).(reg.GPVirtual)
	field := func(offset int) reg.GPVirtual { return load(t, offset) }

	acc := make([][]reg.VecVirtual, rows)
	bias := field(tileBias)
	for r := range acc {
		acc[r] = make([]reg.VecVirtual, s.vectors())
		for v := range acc[r] {
			acc[r][v] = s.vector()
			if r == 0 {
				VMOVUPS(operand.Mem{Base: bias, Disp: v * s.bytes()}, acc[r][v])
			} else {
				VMOVUPS(acc[0][v], acc[r][v])
			}
		}
	}
	products(s, t, acc)
	finish(s, t, acc)
	VZEROUPPER()
	RET()
}

// products runs over the segments of the left rows.
func products(s isa, t reg.GPVirtual, acc [][]reg.VecVirtual) {
	b, panel, offsets, segments := load(t, tileB), load(t, tilePanel), load(t, tileOffsets), load(t, tileSegments)
	step := load(t, tileStepA)
	step3 := GP64()
	LEAQ(operand.Mem{Base: step, Index: step, Scale: 2}, step3)
	Label("segment")
	bases := []reg.GPVirtual{GP64()}
	MOVQ(operand.Mem{Base: offsets}, bases[0])
	ADDQ(operand.Mem{Base: t, Disp: tileA}, bases[0])
	for len(bases)*4 < len(acc) {
		next := GP64()
		LEAQ(operand.Mem{Base: bases[len(bases)-1], Index: step, Scale: 4}, next)
		bases = append(bases, next)
	}
	left := load(t, tileRun)
	Label("run")
	right := make([]reg.VecVirtual, s.vectors())
	for v := range right {
		right[v] = s.vector()
		VMOVUPS(s.right(b, panel, v), right[v])
	}
	for r := range acc {
		m := operand.Mem{Base: bases[r/4]}
		switch r % 4 {
		case 1:
			m.Index, m.Scale = step, 1
		case 2:
			m.Index, m.Scale = step, 2
		case 3:
			m.Index, m.Scale = step3, 1
		}
		s.multiply(m, right, acc[r])
	}
	ADDQ(operand.I32(64), b)
	for _, p := range bases {
		ADDQ(operand.U8(4), p)
	}
	DECQ(left)
	JNZ(operand.LabelRef("run"))
	ADDQ(operand.U8(8), offsets)
	DECQ(segments)
	JNZ(operand.LabelRef("segment"))
}

// finish adds, bounds and stores. A sum that is no number stays none.
func finish(s isa, t reg.GPVirtual, acc [][]reg.VecVirtual) {
	s.mask(t)
	from, step := load(t, tileAdd), load(t, tileStepAdd)
	TESTQ(from, from)
	JZ(operand.LabelRef("bounds"))
	for r := range acc {
		for v, x := range acc[r] {
			VADDPS(s.load(operand.Mem{Base: from, Disp: v * s.bytes()}, v), x, x)
		}
		ADDQ(step, from)
	}
	Label("bounds")
	low := s.vector()
	VBROADCASTSS(operand.Mem{Base: t, Disp: tileLow}, low)
	for _, row := range acc {
		for _, x := range row {
			VMAXPS(x, low, x)
		}
	}
	high := s.vector()
	VBROADCASTSS(operand.Mem{Base: t, Disp: tileHigh}, high)
	to, next := load(t, tileC), load(t, tileStepC)
	for r := range acc {
		for v, x := range acc[r] {
			VMINPS(x, high, x)
			s.store(x, operand.Mem{Base: to, Disp: v * s.bytes()}, v)
		}
		if r < len(acc)-1 {
			ADDQ(next, to)
		}
	}
}

// load reads a field of eight bytes.
func load(t reg.GPVirtual, offset int) reg.GPVirtual {
	x := GP64()
	MOVQ(operand.Mem{Base: t, Disp: offset}, x)
	return x
}

// avx512 has tiles of one or two panels of 16 columns.
type avx512 struct{ n int }

func (s avx512) vectors() int         { return s.n }
func (avx512) bytes() int             { return 64 }
func (avx512) vector() reg.VecVirtual { return ZMM() }

func (avx512) right(b, panel reg.Register, v int) operand.Mem {
	if v == 0 {
		return operand.Mem{Base: b}
	}
	return operand.Mem{Base: b, Index: panel, Scale: 1}
}

func (s avx512) multiply(left operand.Mem, right, acc []reg.VecVirtual) {
	if s.n == 1 {
		VFMADD231PS_BCST(left, right[0], acc[0])
		return
	}
	x := ZMM()
	VBROADCASTSS(left, x)
	for v := range acc {
		VFMADD231PS(x, right[v], acc[v])
	}
}

func (avx512) mask(t reg.GPVirtual) {
	x := load(t, tileMask)
	KMOVW(x.As32(), reg.K1)
}

func (s avx512) load(from operand.Mem, v int) reg.VecVirtual {
	x := ZMM()
	if v == s.n-1 {
		VMOVUPS_Z(from, reg.K1, x)
	} else {
		VMOVUPS(from, x)
	}
	return x
}

func (s avx512) store(x reg.VecVirtual, to operand.Mem, v int) {
	if v == s.n-1 {
		VMOVUPS(x, reg.K1, to)
	} else {
		VMOVUPS(x, to)
	}
}

// avx2 has tiles of one panel of 16 columns, two vectors.
type avx2 struct{}

func (avx2) vectors() int           { return 2 }
func (avx2) bytes() int             { return 32 }
func (avx2) vector() reg.VecVirtual { return YMM() }

func (avx2) right(b, _ reg.Register, v int) operand.Mem {
	return operand.Mem{Base: b, Disp: 32 * v}
}

func (avx2) multiply(left operand.Mem, right, acc []reg.VecVirtual) {
	x := YMM()
	VBROADCASTSS(left, x)
	for v := range acc {
		VFMADD231PS(x, right[v], acc[v])
	}
}

func (avx2) mask(reg.GPVirtual) {}

// lanes reads the mask of vector v.
func lanes(v int) reg.VecVirtual {
	t := Load(Param("t"), GP64()).(reg.GPVirtual)
	p, m := load(t, tileLanes), YMM()
	VMOVUPS(operand.Mem{Base: p, Disp: 32 * v}, m)
	return m
}

func (avx2) load(from operand.Mem, v int) reg.VecVirtual {
	m := lanes(v)
	VMASKMOVPS(from, m, m)
	return m
}

func (avx2) store(x reg.VecVirtual, to operand.Mem, v int) { VMASKMOVPS(x, lanes(v), to) }

// taps is one position of a depthwise convolution: for each of n channels, n a multiple of 8, the sum over the kernel's taps, held between two bounds.
func taps() {
	TEXT("tapsAVX2", NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64()).(reg.GPVirtual)
	x, w, y, bias := load(t, tapsX), load(t, tapsW), load(t, tapsY), load(t, tapsBias)
	n, step := load(t, tapsN), load(t, tapsStepW)
	low, high := YMM(), YMM()
	VBROADCASTSS(operand.Mem{Base: t, Disp: tapsLow}, low)
	VBROADCASTSS(operand.Mem{Base: t, Disp: tapsHigh}, high)
	for _, vectors := range []int{4, 1} {
		block := fmt.Sprintf("block%d", vectors)
		Label(block)
		CMPQ(n, operand.U8(8*vectors))
		JLT(operand.LabelRef(block + "_done"))
		acc := make([]reg.VecVirtual, vectors)
		for v := range acc {
			acc[v] = YMM()
			VMOVUPS(operand.Mem{Base: bias, Disp: 32 * v}, acc[v])
		}
		offsets, left, at := load(t, tapsOffsets), load(t, tapsCount), GP64()
		MOVQ(w, at)
		Label(block + "_tap")
		from := GP64()
		MOVQ(operand.Mem{Base: offsets}, from)
		ADDQ(x, from)
		for v := range acc {
			m := YMM()
			VMOVUPS(operand.Mem{Base: from, Disp: 32 * v}, m)
			VFMADD231PS(operand.Mem{Base: at, Disp: 32 * v}, m, acc[v])
		}
		ADDQ(step, at)
		ADDQ(operand.U8(8), offsets)
		DECQ(left)
		JNZ(operand.LabelRef(block + "_tap"))
		for v := range acc {
			VMAXPS(acc[v], low, acc[v])
			VMINPS(acc[v], high, acc[v])
			VMOVUPS(acc[v], operand.Mem{Base: y, Disp: 32 * v})
		}
		for _, p := range []reg.GPVirtual{x, w, y, bias} {
			ADDQ(operand.I32(32*vectors), p)
		}
		SUBQ(operand.U8(8*vectors), n)
		JMP(operand.LabelRef(block))
		Label(block + "_done")
	}
	VZEROUPPER()
	RET()
}
