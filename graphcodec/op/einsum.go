package op

import (
	"slices"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
)

func init() {
	family(Op{Since: 1, Infer: einsum, Graph: GraphMatrix, Layer: &Layer{Weight: 1, Channel: -1, Unfit: unfitLetters}, Train: "*w", Note: "letters name axes: equal ones join, those that are summed over are contracted"}, "Einsum")
}

// term is what an equation says of one operand: a letter for each axis. The axes that an ellipsis
// stands for are dots plus their number, counted from the last; an axis of length 1 that another
// operand has at length, as broadcasting
// allows, has a negative letter of its own.
type term struct {
	value   *Value
	letters []rune
}

const dots = rune(1 << 16)

// ellipsis is n axes.
func ellipsis(n int) []rune {
	out := make([]rune, n)
	for k := range out {
		out[k] = dots + rune(n-1-k)
	}
	return out
}

// einsumTerms reads an equation.
func (c *Call) einsumTerms() (in []term, out []rune, ok bool) {
	left, right, explicit := strings.Cut(strings.ReplaceAll(c.str("equation", ""), " ", ""), "->")
	parts := strings.Split(left, ",")
	if len(parts) != len(c.In) {
		return nil, nil, false
	}
	count, long, most := map[rune]int{}, map[rune]bool{}, 0
	for i, p := range parts {
		v := c.In[i]
		if v == nil || !v.Ranked {
			return nil, nil, false
		}
		before, after, open := strings.Cut(p, "...")
		letters := []rune(before)
		if open {
			n := len(v.Shape) - len(before) - len(after)
			letters = slices.Concat(letters, ellipsis(max(n, 0)), []rune(after))
			most = max(most, n)
		}
		if len(letters) != len(v.Shape) {
			return nil, nil, false
		}
		for k, l := range letters {
			count[l]++
			long[l] = long[l] || v.Shape[k] != dim.Num(1)
		}
		in = append(in, term{v, letters})
	}
	before, after, open := strings.Cut(right, "...")
	switch {
	case !explicit: // the ellipsis, then letters that stand once, in order
		out = ellipsis(most)
		for l := 'A'; l <= 'z'; l++ {
			if count[l] == 1 {
				out = append(out, l)
			}
		}
	case open:
		out = slices.Concat([]rune(before), ellipsis(most), []rune(after))
	default:
		out = []rune(before)
	}
	for k, l := range out {
		if count[l] == 0 || slices.Contains(out[k+1:], l) {
			return nil, nil, false
		}
	}
	widened := rune(0)
	for _, t := range in {
		for k, l := range t.letters {
			if t.value.Shape[k] == dim.Num(1) && long[l] {
				widened--
				t.letters[k] = widened
			}
		}
	}
	return in, out, true
}

func einsum(c *Call) {
	in, out, ok := c.einsumTerms()
	if !ok {
		c.unknown("its equation does not fit its operands")
		return
	}
	type place struct{ term, axis int }
	first := map[rune]place{} // where a letter is first
	for i, t := range in {
		for k, l := range t.letters {
			if at, seen := first[l]; seen {
				c.link(in[at.term].value, at.axis, t.value, k)
			} else {
				first[l] = place{i, k}
			}
		}
	}
	for i, t := range in {
		for k, l := range t.letters {
			if first[l] == (place{i, k}) && !slices.Contains(out, l) && !zeroAlong(in, l) {
				c.freeze(t.value, k, "sums over channels that would not be zero when removed")
			}
		}
	}
	c.einsumRoles(in, out)
	var shape []dim.Dim
	var axes [][]label.Label
	for _, l := range out {
		at := first[l]
		v := in[at.term].value
		shape, axes = append(shape, v.Shape[at.axis]), append(axes, c.axis(v, at.axis))
	}
	y := c.set(0, in[0].value.Type, shape, axes...)
	for k, l := range out {
		if c.alive(c.axis(y, k)) && !zeroAlong(in, l) {
			y.zero = nonZero
		}
	}
	c.einsumCost(in, out)
}

// zeroAlong reports whether an operand with this letter is zero where units are removed, which the
// product is then too.
func zeroAlong(in []term, l rune) bool {
	return slices.ContainsFunc(in, func(t term) bool { return t.value.zero == isZero && slices.Contains(t.letters, l) })
}

// einsumRoles calls the axes of constant operands their outputs, where the result has them, and
// their inputs, where they are summed over.
func (c *Call) einsumRoles(in []term, out []rune) {
	for i, w := range in {
		if len(in) == 1 || w.value.Const == nil && c.traces[w.value] == nil || len(in) == 2 && i == 0 && (in[1].value.Const != nil || c.traces[in[1].value] != nil) {
			continue
		}
		for k, l := range w.letters {
			shared := slices.ContainsFunc(slices.Concat(in[:i], in[i+1:]), func(t term) bool { return slices.Contains(t.letters, l) })
			switch result := slices.Contains(out, l); {
			case shared && !result:
				c.role(w.value, k, Input)
			case !shared && result:
				c.role(w.value, k, Output)
			}
		}
	}
}

// einsumCost is the product of all letters' lengths; of more than two operands, which are
// multiplied one after the other, of those of the product with the most letters.
func (c *Call) einsumCost(in []term, out []rune) {
	if len(in) < 2 {
		return
	}
	lengths := map[rune]CostAxis{}
	for _, t := range in {
		for k, l := range t.letters {
			if _, seen := lengths[l]; !seen {
				lengths[l] = axisCost(t.value, k, c.axis(t.value, k))
			}
		}
	}
	now, most := in[0].letters, 0
	for i, t := range in[1:] {
		now = slices.Concat(now, t.letters)
		slices.Sort(now)
		now = slices.Compact(now)
		if len(now) > most {
			most = len(now)
			var axes []CostAxis
			for _, l := range now {
				axes = append(axes, lengths[l])
			}
			c.cost(1, axes...)
		}
		now = slices.DeleteFunc(now, func(l rune) bool {
			return !slices.Contains(out, l) && !slices.ContainsFunc(in[i+2:], func(t term) bool { return slices.Contains(t.letters, l) })
		})
	}
}
