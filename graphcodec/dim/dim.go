package dim

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
)

// Dim is a dimension or a small integer: a number, or a number times named symbols ("batch", "2*batch*seq"). A symbol is a name from
// the model or an expression written out, so that equal expressions are equal symbols.
type Dim struct {
	N   int64  // the number, or the symbols' coefficient
	Sym string // symbols in order, joined by *; empty for a plain number
}

// Num returns a plain number.
func Num(n int64) Dim { return Dim{N: n} }

// Symbol returns a named dimension.
func Symbol(name string) Dim {
	return Dim{N: 1, Sym: strings.NewReplacer("*", "·").Replace(name)}
}

// IsNum reports whether d is a plain number.
func (d Dim) IsNum() bool { return d.Sym == "" }

func (d Dim) String() string {
	switch {
	case d.Sym == "":
		return strconv.FormatInt(d.N, 10)
	case d.N == 1:
		return d.Sym
	}
	return strconv.FormatInt(d.N, 10) + "*" + d.Sym
}

// Mul returns d*e; symbols multiply by name, and a product that overflows becomes a symbol.
func (d Dim) Mul(e Dim) Dim {
	n, ok := MulOK(d.N, e.N)
	switch {
	case !ok:
		return Symbol("(" + d.String() + " times " + e.String() + ")")
	case n == 0:
		return Dim{}
	case d.Sym == "":
		return Dim{n, e.Sym}
	case e.Sym == "":
		return Dim{n, d.Sym}
	}
	syms := append(strings.Split(d.Sym, "*"), strings.Split(e.Sym, "*")...)
	slices.Sort(syms)
	return Dim{n, strings.Join(syms, "*")}
}

// MulOK multiplies; false where the product does not fit.
func MulOK(a, b int64) (int64, bool) {
	c := a * b
	if a != 0 && (c/a != b || (a == -1 && b == -1<<63)) {
		return 0, false
	}
	return c, true
}

// Add returns d+e. A sum of unlike symbols is a symbol of its own, written with its terms in order and like ones gathered, so that equal sums are equal.
func (d Dim) Add(e Dim) Dim {
	if d.IsNum() && e.IsNum() {
		return Num(d.N + e.N)
	}
	sum, number := map[string]int64{}, int64(0)
	for _, t := range append(d.terms(), e.terms()...) {
		if t.IsNum() {
			number += t.N
		} else if sum[t.Sym] += t.N; sum[t.Sym] == 0 {
			delete(sum, t.Sym)
		}
	}
	var parts []string
	only := Num(number)
	for _, sym := range slices.Sorted(maps.Keys(sum)) {
		only = Dim{sum[sym], sym}
		parts = append(parts, only.String())
	}
	if number != 0 {
		parts = append(parts, Num(number).String())
	}
	if len(parts) <= 1 {
		return only
	}
	return Expression("(" + strings.Join(parts, "+") + ")")
}

// terms are what d is a sum of, d itself where it is none.
func (d Dim) terms() []Dim {
	s := d.Sym
	if d.N != 1 || !strings.HasPrefix(s, "(") || !strings.HasSuffix(s, ")") || strings.Contains(s, "*") {
		return []Dim{d}
	}
	parts := outside(s[1:len(s)-1], '+')
	if len(parts) < 2 {
		return []Dim{d}
	}
	out := make([]Dim, len(parts))
	for i, p := range parts {
		if n, err := strconv.ParseInt(p, 10, 64); err == nil {
			out[i] = Num(n)
			continue
		}
		factors, n := outside(p, '·'), int64(1)
		if v, err := strconv.ParseInt(factors[0], 10, 64); err == nil && len(factors) > 1 {
			factors, n = factors[1:], v
		}
		out[i] = Dim{n, strings.Join(factors, "*")}
	}
	return out
}

// outside splits a text at a sign that stands in no parentheses; one piece where these do not match.
func outside(s string, at rune) []string {
	var out []string
	depth, from := 0, 0
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			if depth--; depth < 0 {
				return []string{s}
			}
		case r == at && depth == 0:
			out = append(out, s[from:i])
			from = i + len(string(r))
		}
	}
	if depth != 0 {
		return []string{s}
	}
	return append(out, s[from:])
}

// Neg returns -d.
func (d Dim) Neg() Dim { return Dim{-d.N, d.Sym} }

// maxExpression bounds the text of an expression, so that long chains of arithmetic stay linear.
const maxExpression = 160

// Expression is the symbol of an expression; one that grows too long is replaced by a digest of its text.
func Expression(s string) Dim {
	if len(s) > maxExpression {
		h := uint64(14695981039346656037)
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		s = "(#" + strconv.FormatUint(h, 36) + ")"
	}
	return Symbol(s)
}

// DivExact returns d/e where that has no remainder.
func (d Dim) DivExact(e Dim) (Dim, bool) {
	if e.N == 0 || d.N%e.N != 0 {
		return Dim{}, false
	}
	rest := []string{}
	if d.Sym != "" {
		rest = strings.Split(d.Sym, "*")
	}
	if e.Sym != "" {
		for _, s := range strings.Split(e.Sym, "*") {
			i := slices.Index(rest, s)
			if i < 0 {
				return Dim{}, false
			}
			rest = slices.Delete(rest, i, i+1)
		}
	}
	if d.N == 0 {
		return Dim{}, true
	}
	return Dim{d.N / e.N, strings.Join(rest, "*")}, true
}

// FloorDiv returns the quotient rounded towards negative infinity.
func (d Dim) FloorDiv(e Dim) Dim {
	if q, ok := d.DivExact(e); ok {
		return q
	}
	if d.IsNum() && e.IsNum() && e.N != 0 {
		q := d.N / e.N
		if d.N%e.N != 0 && (d.N < 0) != (e.N < 0) {
			q--
		}
		return Num(q)
	}
	return Expression("floor(" + d.String() + "/" + e.String() + ")")
}

// Product returns the product of dims.
func Product(dims []Dim) Dim {
	p := Num(1)
	for _, d := range dims {
		p = p.Mul(d)
	}
	return p
}

// Numbers returns the dims as plain numbers, false where one is not.
func Numbers(dims []Dim) ([]int, bool) {
	out := make([]int, len(dims))
	for i, d := range dims {
		if !d.IsNum() || d.N < 0 {
			return nil, false
		}
		out[i] = int(d.N)
	}
	return out, true
}

// Declared returns the dims of a value's type: nil and false where the rank is not known.
func Declared(v *onnxio.ValueInfo) ([]Dim, bool) {
	if v == nil || v.Type == nil || v.Type.Tensor == nil || v.Type.Tensor.Shape == nil {
		return nil, false
	}
	dims := []Dim{}
	for i, d := range v.Type.Tensor.Shape.Dims {
		switch {
		case d.HasValue && d.Value >= 0:
			dims = append(dims, Num(d.Value))
		case named(d.Param):
			dims = append(dims, Symbol(d.Param))
		default:
			dims = append(dims, Symbol("?"+v.Name+"."+strconv.Itoa(i)))
		}
	}
	return dims, true
}

// named reports whether a symbol tells dimensions apart: exporters write "?" or "None" for each that is free.
func named(symbol string) bool {
	return strings.Trim(symbol, "?*-_. ") != "" && symbol != "-1" && !strings.EqualFold(symbol, "none") && !strings.EqualFold(symbol, "unk") && !strings.EqualFold(symbol, "unknown")
}

// Face describes a graph input or output: name, element type and declared dims.
func Face(v *onnxio.ValueInfo) string {
	s := v.Name + ":"
	if v.Type != nil && v.Type.Tensor != nil {
		s += v.Type.Tensor.ElemType.String()
	}
	if dims, ok := Declared(v); ok {
		s += "[" + Text(dims) + "]"
	}
	return s
}

// Text writes lengths as 1x3xheight.
func Text(dims []Dim) string {
	s := ""
	for i, d := range dims {
		if i > 0 {
			s += "x"
		}
		s += d.String()
	}
	return s
}

// Of makes lengths of numbers.
func Of(dims []int64) []Dim {
	out := make([]Dim, len(dims))
	for i, d := range dims {
		out[i] = Num(d)
	}
	return out
}
