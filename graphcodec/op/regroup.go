package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
)

// regroup carries labels from one shape to another of the same number of elements. First and last
// axes of equal length are the same; between them axes are matched in segments of equal products.
func (c *Call) regroup(from []dim.Dim, in [][]label.Label, to []dim.Dim) [][]label.Label {
	out := make([][]label.Label, len(to))
	for n, m := len(from), len(to); n > 0 && m > 0 && from[n-1] == to[m-1]; n, m = n-1, m-1 {
		out[m-1] = in[n-1]
		from, to = from[:n-1], to[:m-1]
	}
	lead := 0
	for lead < min(len(from), len(to)) && from[lead] == to[lead] {
		out[lead] = in[lead]
		lead++
	}
	from, to = solved(from, to, lead)
	i, j := lead, lead
	for i < len(from) || j < len(to) {
		i1, j1 := segment(from, to, i, j)
		c.regroupSegment(from[i:i1], in[i:i1], to[j:j1], out[j:j1])
		i, j = i1, j1
	}
	return out
}

// solved gives the one dim after the first ones that is not a number the length that it must have,
// where those of the other side all are numbers.
func solved(from, to []dim.Dim, lead int) ([]dim.Dim, []dim.Dim) {
	for range 2 {
		known, left := dim.Product(from[lead:]), dim.Num(1)
		var open []int
		for k := lead; k < len(to); k++ {
			if to[k].IsNum() {
				left = left.Mul(to[k])
			} else {
				open = append(open, k)
			}
		}
		if d, ok := known.DivExact(left); ok && len(open) == 1 && known.IsNum() && d.N > 0 {
			to = slices.Clone(to)
			to[open[0]] = d
		}
		from, to = to, from
	}
	return from, to
}

// segment returns the ends of the shortest runs of axes from i and j on whose products are equal.
func segment(from, to []dim.Dim, i, j int) (int, int) {
	a, b := dim.Num(1), dim.Num(1)
	i1, j1 := i, j
	for {
		switch {
		case i1 > i && j1 > j && a == b:
			return i1, j1
		case i1 == len(from) && j1 == len(to):
			return i1, j1
		case j1 == len(to) || (i1 < len(from) && behind(a, b)):
			a = a.Mul(from[i1])
			i1++
		default:
			b = b.Mul(to[j1])
			j1++
		}
	}
}

// behind reports whether the product a has to grow to reach b.
func behind(a, b dim.Dim) bool {
	if a.IsNum() && b.IsNum() {
		return a.N <= b.N
	}
	if _, ok := b.DivExact(a); ok {
		return true
	}
	_, ok := a.DivExact(b)
	return !ok
}

func (c *Call) regroupSegment(from []dim.Dim, in [][]label.Label, to []dim.Dim, out [][]label.Label) {
	if len(from) == 1 && len(to) == 1 {
		out[0] = in[0]
		return
	}
	real := func(dims []dim.Dim) []int {
		var at []int
		for k, d := range dims {
			if d != dim.Num(1) {
				at = append(at, k)
			}
		}
		return at
	}
	f, t := real(from), real(to)
	if len(f) == 1 && len(t) == 1 && from[f[0]] == to[t[0]] {
		out[t[0]] = in[f[0]]
		return
	}
	if !slices.ContainsFunc(in, c.alive) {
		return
	}
	if c.regroupFront(from, in, to, out) || c.regroupBack(from, in, to, out) {
		return
	}
	atoms, ok := commonFactors(from, to)
	if !ok {
		for _, a := range in {
			c.Labels.FreezeAll(a, c.because("splits and merges axes in a way that has no common factors"))
		}
		return
	}
	parts := c.splitAll(from, in, atoms)
	k := 0
	for j, d := range to {
		start, n := k, int64(1)
		for n < d.N {
			n *= int64(atoms[k])
			k++
		}
		out[j] = c.Labels.Merge(parts[start:k], atoms[start:k])
	}
}

// regroupFront carries labels between axes of known length in front of others that are not known
// until the model runs, as a group normalisation views [C, H, W] as [groups, C/groups*H*W] and
// back. What an axis in front shares with those
// stays whole. It reports whether the axes are such.
func (c *Call) regroupFront(from []dim.Dim, in [][]label.Label, to []dim.Dim, out [][]label.Label) bool {
	front := func(dims []dim.Dim) (int, int64) {
		n := slices.IndexFunc(dims, func(d dim.Dim) bool { return !d.IsNum() })
		return n, count(dims[:max(n, 0)])
	}
	f, p := front(from)
	t, q := front(to)
	if f < 1 || t < 1 || p < 1 || q < 1 || p%q != 0 && q%p != 0 {
		return false
	}
	for _, a := range in[f:] {
		if c.alive(a) {
			return false
		}
	}
	if p >= q {
		parts := append(slices.Clone(out[:t]), nil)
		c.regroupSegment(from[:f:f], in[:f:f], append(to[:t:t], dim.Num(p/q)), parts)
		copy(out, parts[:t])
		c.Labels.FreezeAll(parts[t], c.because("reshapes parts of the axis together with axes whose length is known only at run time"))
		return true
	}
	c.regroupSegment(append(from[:f:f], dim.Num(q/p)), append(in[:f:f], nil), to[:t:t], out[:t:t])
	return true
}

// regroupBack carries labels between axes of known length that follow axes whose length is not
// known until the model runs, as attention views [batch, heads*size] as [batch*heads, size] and
// back. What an axis behind shares with those in front stays
// whole. It reports whether the axes are such.
func (c *Call) regroupBack(from []dim.Dim, in [][]label.Label, to []dim.Dim, out [][]label.Label) bool {
	f, p := numericBack(from)
	t, q := numericBack(to)
	if f == 0 || f == len(from) || t == 0 || t == len(to) || p < 1 || q < 1 || p%q != 0 && q%p != 0 || slices.ContainsFunc(in[:f], c.alive) {
		return false
	}
	if p >= q {
		parts := make([][]label.Label, 1+len(to)-t)
		c.regroupSegment(from[f:], in[f:], append([]dim.Dim{dim.Num(p / q)}, to[t:]...), parts)
		copy(out[t:], parts[1:])
		c.Labels.FreezeAll(parts[0], c.because("reshapes parts of the axis together with axes whose length is known only at run time"))
		return true
	}
	c.regroupSegment(append([]dim.Dim{dim.Num(q / p)}, from[f:]...), append([][]label.Label{nil}, in[f:]...), to[t:], out[t:])
	return true
}

// numericBack returns the position from which all dims are numbers, and those numbers' product.
func numericBack(dims []dim.Dim) (int, int64) {
	n := len(dims)
	for n > 0 && dims[n-1].IsNum() {
		n--
	}
	return n, count(dims[n:])
}

// count is the product of dims that are numbers, 0 where it overflows.
func count(dims []dim.Dim) int64 {
	if p := dim.Product(dims); p.IsNum() {
		return p.N
	}
	return 0
}

// splitAll splits each axis into its factors.
func (c *Call) splitAll(from []dim.Dim, in [][]label.Label, atoms []int) [][]label.Label {
	var parts [][]label.Label
	k := 0
	why := int32(0)
	for i, d := range from {
		rest, left := in[i], int(d.N)
		for left > 1 {
			a := atoms[k]
			k++
			left /= a
			if rest == nil || left == 1 {
				parts = append(parts, rest)
				continue
			}
			if why == 0 {
				why = c.because("splits the axis into factors that cannot be told apart")
			}
			whole := rest
			var outer []label.Label
			outer, rest = c.Labels.Split(whole, a, left, why)
			c.Splits = append(c.Splits, label.SplitRecord{Whole: whole, Outer: outer, Inner: rest, Node: c.Name()})
			parts = append(parts, outer)
		}
	}
	return parts
}

// commonFactors returns factors of which both shapes' dims are products of consecutive ones; false
// where there are none.
func commonFactors(from, to []dim.Dim) ([]int, bool) {
	a, ok1 := dim.Numbers(from)
	b, ok2 := dim.Numbers(to)
	if !ok1 || !ok2 {
		return nil, false
	}
	cuts := map[int]bool{}
	total := 1
	for _, dims := range [][]int{a, b} {
		total = 1
		for k := len(dims) - 1; k >= 0; k-- {
			if dims[k] <= 0 || total > MaxAxis/dims[k] {
				return nil, false
			}
			total *= dims[k]
			cuts[total] = true
		}
	}
	delete(cuts, 1)
	order := make([]int, 0, len(cuts))
	for n := range cuts {
		order = append(order, n)
	}
	slices.Sort(order)
	var atoms []int
	last := 1
	for _, n := range order {
		if n%last != 0 {
			return nil, false
		}
		atoms = append(atoms, n/last)
		last = n
	}
	slices.Reverse(atoms)
	return atoms, true
}
