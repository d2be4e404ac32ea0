// Command avo writes kernel_amd64.s, the AVX2 kernels of package metanet. `go generate ./metanet` runs it.
//
// No kernel fuses a multiplication with an addition or reorders a sum, so that each gives the bits of its portable twin in kernel.go.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build" //nolint:staticcheck // avo's own idiom
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	linear()
	silu()
	layerNorm()
	advance()
	gather()
	accumulate()
	Generate()
}

// floats declares a constant of eight equal numbers, by their bits: the assembler would read one without a fraction as an integer.
func floats(name string, v float32) operand.Mem { return bits(name, math.Float32bits(v)) }

// bits declares a constant of eight equal bit patterns.
func bits(name string, v uint32) operand.Mem {
	m := GLOBL(name, 8|16)
	for i := range 8 {
		DATA(4*i, operand.U32(v))
	}
	return m
}

// param loads a parameter into a fresh register.
func param(name string) reg.GPVirtual {
	return Load(Param(name), GP64()).(reg.GPVirtual)
}

// times4 returns the byte length of a number of floats.
func times4(r reg.GPVirtual) reg.GPVirtual {
	SHLQ(operand.U8(2), r)
	return r
}

func at(base reg.Register) operand.Mem { return operand.Mem{Base: base} }

// indexed is base+index, both in bytes.
func indexed(base, index reg.Register) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: 1}
}

// loop runs body for i = 0, step, ... below n; all in bytes.
func loop(label string, n reg.GPVirtual, step int, body func(i reg.GPVirtual)) {
	i := GP64()
	XORQ(i, i)
	JMP(operand.LabelRef(label + "_test"))
	Label(label)
	body(i)
	ADDQ(operand.I32(step), i)
	Label(label + "_test")
	CMPQ(i, n)
	JLT(operand.LabelRef(label))
}

// down runs body n times, counting n down to zero.
func down(label string, n reg.GPVirtual, body func()) {
	JMP(operand.LabelRef(label + "_test"))
	Label(label)
	body()
	DECQ(n)
	Label(label + "_test")
	TESTQ(n, n)
	JNZ(operand.LabelRef(label))
}
