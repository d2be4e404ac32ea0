package graphcodec

import (
	"strings"
)

func init() {
	each("letters name axes: equal ones join, those that are summed over are contracted", einsum, "Einsum")
}

// term is what an equation says of one operand.
type term struct {
	value   *Value
	letters string
}

// maxEllipsis is how many axes an ellipsis stands for at most; each is named by a digit, the last one 0.
const maxEllipsis = 7

// ellipsis replaces the dots of an operand by a digit for each axis that they stand for. An axis of length 1 that another operand has at length, as broadcasting allows, gets a name of its own.
func (c *call) ellipsis(p string, i int, long [maxEllipsis]bool) (string, bool) {
	before, after, dots := strings.Cut(p, "...")
	if !dots {
		return p, !strings.Contains(p, ".")
	}
	v := c.in[i]
	n := len(v.Shape) - len(before) - len(after)
	if n < 0 || n > maxEllipsis {
		return "", false
	}
	names := ""
	for k := n - 1; k >= 0; k-- {
		if at := len(before) + n - 1 - k; v.Shape[at] == Num(1) && long[k] {
			names += string(rune('!' + 2*k + i)) // signs below the digits, one for each axis and operand
			continue
		}
		names += string(rune('0' + k))
	}
	return before + names + after, true
}

// longAxes says which axes of the ellipsis have more than one place in some operand, and how many there are; false where an operand's rank is not known.
func (c *call) longAxes(parts []string) (long [maxEllipsis]bool, most int, ok bool) {
	for i, p := range parts {
		v := c.in[i]
		if v == nil || !v.Ranked {
			return long, 0, false
		}
		before, after, dots := strings.Cut(p, "...")
		n := len(v.Shape) - len(before) - len(after)
		if !dots {
			continue
		}
		for k := range min(n, maxEllipsis) {
			long[k] = long[k] || v.Shape[len(v.Shape)-len(after)-1-k] != Num(1)
		}
		most = max(most, n)
	}
	return long, most, most <= maxEllipsis
}

// einsumTerms reads an equation of up to two operands of which none names an axis twice.
func (c *call) einsumTerms() (in []term, out string, ok bool) {
	left, right, explicit := strings.Cut(strings.ReplaceAll(c.str("equation", ""), " ", ""), "->")
	parts := strings.Split(left, ",")
	if len(parts) != len(c.in) || len(parts) > 2 {
		return nil, "", false
	}
	long, most, ok := c.longAxes(parts)
	if !ok {
		return nil, "", false
	}
	count := map[rune]int{}
	for i, p := range parts {
		v := c.in[i]
		if p, ok = c.ellipsis(p, i, long); !ok || len(v.Shape) != len(p) || repeats(p) {
			return nil, "", false
		}
		in = append(in, term{v, p})
		for _, l := range p {
			count[l]++
		}
	}
	every := ""
	for k := most - 1; k >= 0; k-- {
		every += string(rune('0' + k))
	}
	if right = strings.Replace(right, "...", every, 1); !explicit { // the ellipsis, then letters that stand once, in order
		right = every
		for l := 'A'; l <= 'z'; l++ {
			if count[l] == 1 {
				right += string(l)
			}
		}
	}
	for _, l := range right {
		if count[l] == 0 {
			return nil, "", false
		}
	}
	return in, right, !repeats(right)
}

func repeats(s string) bool {
	for i, l := range s {
		if strings.ContainsRune(s[i+1:], l) {
			return true
		}
	}
	return false
}

func einsum(c *call) {
	in, out, ok := c.einsumTerms()
	if !ok {
		c.unknown("its equation names an axis twice or has more than two operands")
		return
	}
	first := map[rune]int{} // operand that names a letter first
	for i, t := range in {
		for k, l := range t.letters {
			other, seen := first[l]
			if !seen {
				first[l] = i
				continue
			}
			c.link(in[other].value, strings.IndexRune(in[other].letters, l), t.value, k)
			if !strings.ContainsRune(out, l) && in[other].value.zero != isZero && t.value.zero != isZero {
				c.freeze(t.value, k, "sums over channels that would not be zero when removed")
			}
		}
	}
	c.einsumAlone(in, out, first)
	c.einsumRoles(in, out)
	var shape []Dim
	var axes [][]label
	for _, l := range out {
		t := in[first[l]]
		k := strings.IndexRune(t.letters, l)
		shape, axes = append(shape, t.value.Shape[k]), append(axes, c.axis(t.value, k))
	}
	y := c.set(0, in[0].value.Type, shape, axes...)
	for k, l := range out {
		if c.alive(y.axes[k]) && !zeroAlong(in, l) {
			y.zero = nonZero
		}
	}
	c.einsumCost(in, first)
}

// zeroAlong reports whether an operand with this letter is zero where units are removed, which the product is then too.
func zeroAlong(in []term, l rune) bool {
	for _, t := range in {
		if t.value.zero == isZero && strings.ContainsRune(t.letters, l) {
			return true
		}
	}
	return false
}

// einsumAlone looks at letters that only one operand has and the result has not: its sum runs over them.
func (c *call) einsumAlone(in []term, out string, first map[rune]int) {
	for l, i := range first {
		both := len(in) == 2 && strings.ContainsRune(in[1-i].letters, l)
		if both || strings.ContainsRune(out, l) || in[i].value.zero == isZero {
			continue
		}
		c.freeze(in[i].value, strings.IndexRune(in[i].letters, l), "sums over channels that would not be zero when removed")
	}
}

// einsumRoles calls the axes of a constant operand its outputs, where the result has them, and its inputs, where they are summed over.
func (c *call) einsumRoles(in []term, out string) {
	if len(in) != 2 {
		return
	}
	w, x := in[1], in[0]
	if w.value.Const == nil && c.traces[w.value] == nil {
		w, x = x, w
	}
	for k, l := range w.letters {
		switch shared := strings.ContainsRune(x.letters, l); {
		case shared && !strings.ContainsRune(out, l):
			c.role(w.value, k, Input)
		case !shared && strings.ContainsRune(out, l):
			c.role(w.value, k, Output)
		}
	}
}

// einsumCost is the product of all letters' lengths.
func (c *call) einsumCost(in []term, first map[rune]int) {
	var axes []costAxis
	for _, t := range in {
		for k, l := range t.letters {
			if in[first[l]].value == t.value {
				axes = append(axes, axisCost(t.value, k, c.axis(t.value, k)))
			}
		}
	}
	if len(in) == 2 {
		c.cost(1, axes...)
	}
}
