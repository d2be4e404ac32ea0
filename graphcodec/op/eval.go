package op

import (
	"math"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/dim"
)

// evalUnary evaluates an element-wise function of known contents into output 0 and reports whether
// it could.
func (c *Call) evalUnary(v *Value) bool {
	if v.Elements == nil || len(c.Out) == 0 || c.Out[0] == nil {
		return false
	}
	eval := c.Op().Eval
	if eval == nil || eval.Unary == nil {
		return false
	}
	out := make([]Elem, len(v.Elements))
	for i, e := range v.Elements {
		r := Elem{taint: e.taint}
		switch {
		case e.open() && !eval.Negates || e.IsFloat && e.open():
			var ok bool
			if r, ok = inSymbols(eval, c.Node.OpType, e); !ok {
				return false
			}
		case e.IsFloat:
			r.Float, r.IsFloat = eval.Unary(e.Float), true
		case eval.Negates:
			r.Int = e.Int.Neg()
		default:
			r.Int = dim.Num(int64(eval.Unary(float64(e.Int.N))))
		}
		out[i] = r
	}
	c.Out[0].Elements = out
	return true
}

// clipped returns contents between bounds, nil where they are not known.
func clipped(v []Elem, low, high float64) []Elem {
	var out []Elem
	for _, e := range v {
		r := Elem{taint: e.taint, IsFloat: e.IsFloat}
		switch {
		case e.open():
			var ok bool
			if r, ok = inSymbols(symbolic, "Clip", e, Elem{Float: low, IsFloat: true}, Elem{Float: high, IsFloat: true}); !ok {
				return nil
			}
			r.IsFloat = e.IsFloat
		case e.IsFloat:
			r.Float = min(max(e.Float, low), high)
		default:
			r.Int = dim.Num(int64(min(max(float64(e.Int.N), low), high)))
		}
		out = append(out, r)
	}
	return out
}

// open reports whether an element is known as an expression only.
func (e Elem) open() bool {
	if e.IsFloat {
		return math.IsNaN(e.Float)
	}
	return !e.Int.IsNum()
}

// text is the element in an expression.
func (e Elem) text() string {
	if e.IsFloat && !e.open() {
		return strconv.FormatFloat(e.Float, 'g', -1, 64)
	}
	return e.Int.String()
}

// realPrefix marks expressions of real numbers that are no whole number's.
const realPrefix = "real "

// inSymbols computes with operands of which some are expressions. The result is an expression, so
// that the other dims of a
// shape stay known. There is no result for what depends on tracked axes.
func inSymbols(eval *Eval, op string, operands ...Elem) (Elem, bool) {
	if eval == nil || !eval.Symbolic {
		return Elem{}, false
	}
	var out Elem
	said := make([]string, len(operands))
	for i, e := range operands {
		if len(e.taint) > 0 || e.IsFloat && e.open() && e.Int.IsNum() { // a NaN of the file's own
			return Elem{}, false
		}
		said[i] = e.text()
		out.IsFloat = out.IsFloat || e.IsFloat
	}
	name := op + "(" + strings.Join(said, ",") + ")"
	if out.IsFloat {
		out.Float, name = math.NaN(), realPrefix+name
	}
	out.Int = dim.Expression(name)
	return out, true
}

// evalBinary evaluates a binary operator of known contents, nil where it cannot.
func (c *Call) evalBinary() []Elem {
	if len(c.In) == 1 {
		return c.In[0].Elements
	}
	eval, out := c.Op().Eval, c.In[0]
	elems := out.Elements
	shape := out.Shape
	for _, v := range c.In[1:] {
		if elems == nil || v.Elements == nil {
			return nil
		}
		var pairs [][2]Elem
		if pairs, shape = zip(elems, shape, v.Elements, v.Shape); pairs == nil {
			return nil
		}
		elems = make([]Elem, len(pairs))
		for i, p := range pairs {
			r, ok := eval.pair(p[0], p[1])
			if !ok && (p[0].open() || p[1].open()) {
				r, ok = inSymbols(eval, c.Node.OpType, p[0], p[1])
			}
			if !ok {
				return nil
			}
			r.taint = mergeTaint(p[0].taint, p[1].taint)
			elems[i] = r
		}
	}
	return elems
}

// zip pairs up the elements of two tensors by broadcasting.
func zip(a []Elem, as []dim.Dim, b []Elem, bs []dim.Dim) ([][2]Elem, []dim.Dim) {
	if a == nil || b == nil {
		return nil, nil
	}
	rank := max(len(as), len(bs))
	shape, total := make([]dim.Dim, rank), 1
	length := func(s []dim.Dim, k int) int64 {
		if j := k - (rank - len(s)); j >= 0 {
			return s[j].N
		}
		return 1
	}
	for k := range rank {
		x, y := length(as, k), length(bs, k)
		if x != y && x != 1 && y != 1 {
			return nil, nil
		}
		shape[k] = dim.Num(x)
		if x == 1 {
			shape[k] = dim.Num(y)
		}
		if total *= int(shape[k].N); total > maxElems {
			return nil, nil
		}
	}
	out := make([][2]Elem, total)
	for p := range out {
		i, j, rest := 0, 0, p
		si, sj := 1, 1
		for k := rank - 1; k >= 0; k-- {
			n := int(shape[k].N)
			at := rest % n
			rest /= n
			if length(as, k) != 1 {
				i += at * si
			}
			if length(bs, k) != 1 {
				j += at * sj
			}
			si *= int(length(as, k))
			sj *= int(length(bs, k))
		}
		out[p] = [2]Elem{a[i], b[j]}
	}
	return out, shape
}

func (c *Call) evalWhere() []Elem {
	cond, x, y := c.In[0], c.In[1], c.In[2]
	if cond.Elements == nil || x.Elements == nil || y.Elements == nil {
		return nil
	}
	values, shape := zip(x.Elements, x.Shape, y.Elements, y.Shape)
	if values == nil {
		return nil
	}
	index := make([]Elem, len(values))
	for i := range index {
		index[i] = Elem{Int: dim.Num(int64(i))}
	}
	pairs, _ := zip(cond.Elements, cond.Shape, index, shape)
	if pairs == nil {
		return nil
	}
	out := make([]Elem, len(pairs))
	for i, p := range pairs {
		if !p[0].Int.IsNum() {
			return nil
		}
		v := values[p[1].Int.N]
		chosen := v[1]
		if p[0].Int.N != 0 {
			chosen = v[0]
		}
		chosen.taint = mergeTaint(chosen.taint, p[0].taint)
		out[i] = chosen
	}
	return out
}

// pick returns the elements at the given indices of each axis, nil where the shape is not numeric
// or the result is too large.
func pick(elems []Elem, shape []dim.Dim, at [][]int) []Elem {
	dims, ok := dim.Numbers(shape)
	if elems == nil || !ok {
		return nil
	}
	total := 1
	for k := range dims {
		if total *= len(at[k]); total > maxElems {
			return nil
		}
	}
	out := make([]Elem, 0, total)
	var walk func(axis, base int)
	walk = func(axis, base int) {
		if axis == len(dims) {
			out = append(out, elems[base])
			return
		}
		for _, i := range at[axis] {
			walk(axis+1, base*dims[axis]+i)
		}
	}
	if total > 0 {
		walk(0, 0)
	}
	return out
}

// upTo returns 0..n-1.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// permute returns the elements with axes in the order perm; entries of -1 are new axes of length 1.
func permute(elems []Elem, shape []dim.Dim, perm []int) []Elem {
	dims, ok := dim.Numbers(shape)
	if elems == nil || !ok {
		return nil
	}
	stride := make([]int, len(dims))
	n := 1
	for k := len(dims) - 1; k >= 0; k-- {
		stride[k] = n
		n *= dims[k]
	}
	out := make([]Elem, 0, n)
	var walk func(k, base int)
	walk = func(k, base int) {
		switch {
		case k == len(perm):
			out = append(out, elems[base])
		case perm[k] < 0:
			walk(k+1, base)
		default:
			for i := range dims[perm[k]] {
				walk(k+1, base+i*stride[perm[k]])
			}
		}
	}
	if n > 0 {
		walk(0, 0)
	}
	return out
}
