package op

import (
	"math"

	"github.com/metaprune/metaprune/graphcodec/dim"
)

// What operators do with known contents. The first four have forms for whole numbers that are known
// as
// expressions.
var (
	sums           = &Eval{Dims: func(a, b Elem) (Elem, bool) { return Elem{Int: a.Int.Add(b.Int)}, true }, Floats: func(x, y float64) float64 { return x + y }, Symbolic: true}
	differences    = &Eval{Dims: func(a, b Elem) (Elem, bool) { return Elem{Int: a.Int.Add(b.Int.Neg())}, true }, Floats: func(x, y float64) float64 { return x - y }, Symbolic: true}
	multiples      = &Eval{Dims: multiplied, Floats: func(x, y float64) float64 { return x * y }, Symbolic: true}
	quotients      = &Eval{Dims: divided, Ints: divide, Floats: func(x, y float64) float64 { return x / y }, Symbolic: true}
	equal          = &Eval{Dims: alike, Test: func(x, y float64) bool { return x == y }}
	remainders     = &Eval{Ints: remainder, Symbolic: true}
	maxima         = &Eval{Ints: func(x, y int64) (int64, bool) { return max(x, y), true }, Floats: func(x, y float64) float64 { return max(x, y) }, Symbolic: true}
	minima         = &Eval{Ints: func(x, y int64) (int64, bool) { return min(x, y), true }, Floats: func(x, y float64) float64 { return min(x, y) }, Symbolic: true}
	powers         = &Eval{Ints: power, Floats: math.Pow, Symbolic: true}
	less           = &Eval{Ints: truth(func(x, y int64) bool { return x < y }), Test: func(x, y float64) bool { return x < y }}
	greater        = &Eval{Ints: truth(func(x, y int64) bool { return x > y }), Test: func(x, y float64) bool { return x > y }}
	lessOrEqual    = &Eval{Ints: truth(func(x, y int64) bool { return x <= y })}
	greaterOrEqual = &Eval{Ints: truth(func(x, y int64) bool { return x >= y })}
	conjunctions   = &Eval{Ints: truth(func(x, y int64) bool { return x != 0 && y != 0 })}
	disjunctions   = &Eval{Ints: truth(func(x, y int64) bool { return x != 0 || y != 0 })}
	exclusives     = &Eval{Ints: truth(func(x, y int64) bool { return (x != 0) != (y != 0) })}

	symbolic = &Eval{Symbolic: true} // an expression, but for numbers a rule of its own
)

func opposite(x float64) float64     { return -x }
func inverted(x float64) float64     { return 1 / x }
func complemented(x float64) float64 { return 1 - x }

func truth(test func(x, y int64) bool) func(x, y int64) (int64, bool) {
	return func(x, y int64) (int64, bool) {
		if test(x, y) {
			return 1, true
		}
		return 0, true
	}
}

func boolElem(b bool) Elem {
	if b {
		return Elem{Int: dim.Num(1)}
	}
	return Elem{}
}

// pair computes the result of two elements; false where it is not known.
func (e *Eval) pair(a, b Elem) (Elem, bool) {
	switch {
	case e == nil:
		return Elem{}, false
	case a.IsFloat || b.IsFloat:
		return e.floats(a, b)
	case e.Dims != nil:
		if r, ok := e.Dims(a, b); ok {
			return r, true
		}
	}
	if e.Ints == nil || !a.Int.IsNum() || !b.Int.IsNum() {
		return Elem{}, false
	}
	n, ok := e.Ints(a.Int.N, b.Int.N)
	return Elem{Int: dim.Num(n)}, ok
}

func (e *Eval) floats(a, b Elem) (Elem, bool) {
	x, y := a.Float, b.Float
	if !a.IsFloat {
		x = float64(a.Int.N)
	}
	if !b.IsFloat {
		y = float64(b.Int.N)
	}
	switch {
	case a.open() || b.open():
		return Elem{}, false
	case e.Floats != nil:
		return Elem{IsFloat: true, Float: e.Floats(x, y)}, true
	case e.Test != nil:
		return boolElem(e.Test(x, y)), true
	}
	return Elem{}, false
}

func multiplied(a, b Elem) (Elem, bool) {
	e := Elem{Int: a.Int.Mul(b.Int)}
	if b.Int == dim.Num(1) {
		e.length = a.length
	} else if a.Int == dim.Num(1) {
		e.length = b.length
	}
	return e, true
}

func alike(a, b Elem) (Elem, bool) {
	x, y := a.Int, b.Int
	if x == y {
		return boolElem(true), true
	}
	if x.IsNum() && y.IsNum() || x.IsNum() && x.N < 0 || y.IsNum() && y.N < 0 {
		return boolElem(false), true
	}
	return Elem{}, false
}

func divided(a, b Elem) (Elem, bool) {
	x, y := a.Int, b.Int
	if q, ok := x.DivExact(y); ok {
		return Elem{Int: q}, true
	}
	if y.IsNum() && y.N > 0 && (!x.IsNum() || x.N >= 0) {
		return Elem{Int: x.FloorDiv(y)}, true
	}
	return Elem{}, false
}

func divide(x, y int64) (int64, bool) {
	if y == 0 {
		return 0, false
	}
	return x / y, true
}

func remainder(x, y int64) (int64, bool) {
	if y == 0 {
		return 0, false
	}
	m := x % y
	if m != 0 && (m < 0) != (y < 0) {
		m += y
	}
	return m, true
}

func power(x, y int64) (int64, bool) {
	f := math.Pow(float64(x), float64(y))
	return int64(f), math.Abs(f) < 1<<52
}
