package graphcodec

import "slices"

// splitRecord remembers a split, for the check that what survives is a product set.
type splitRecord struct {
	whole, outer, inner []label
	node                string
}

// split views an axis of a*b positions as two axes of a and b. Each position's label is the union of an outer and an inner one; units that stand in the way are
// replaced by such unions everywhere. Where a position depends on several such units, all factors but the largest are frozen.
func (l *labels) split(axis []label, a, b int, why int32) (outer, inner []label) {
	if a == 1 {
		return nil, axis
	}
	if b == 1 {
		return axis, nil
	}
	for range 8 {
		outer, inner = l.common(axis, a, b)
		done := l.factorise(axis, outer, inner, why)
		if done {
			break
		}
	}
	if l.product(axis, outer, inner) >= 0 {
		l.freezeAll(axis, why)
		return nil, nil
	}
	return zeroToNil(outer), zeroToNil(inner)
}

// common returns, for each outer and each inner index, the units that all its positions share.
func (l *labels) common(axis []label, a, b int) (outer, inner []label) {
	outer, inner = make([]label, a), make([]label, b)
	for p := range axis {
		x, i, j := l.norm(axis[p]), p/b, p%b
		if j == 0 {
			outer[i] = x
		} else {
			outer[i] = l.intersect(outer[i], x)
		}
		if i == 0 {
			inner[j] = x
		} else {
			inner[j] = l.intersect(inner[j], x)
		}
	}
	return outer, inner
}

// factorise replaces the units that neither the outer nor the inner labels explain; true where there were none.
func (l *labels) factorise(axis, outer, inner []label, why int32) bool {
	a, b := len(outer), len(inner)
	rest := make([]label, len(axis))
	several, any := map[int32]bool{}, false
	for p := range axis {
		rest[p] = l.minus(l.norm(axis[p]), l.union(outer[p/b], inner[p%b]))
		any = any || rest[p] != 0
		if rest[p] < 0 {
			for _, u := range l.units(rest[p]) {
				several[u] = true
			}
		}
	}
	if !any {
		return true
	}
	if len(several) > 0 {
		l.keepLargest(several, rest, why)
		return false
	}
	l.substitute(axis, rest, l.fresh(a), l.fresh(b), why)
	return false
}

// substitute replaces each unit in rest by one outer and one inner unit. A unit at several positions joins their outer units and their inner ones; a factor
// whose units all become one stays whole, so it is frozen.
func (l *labels) substitute(axis, rest, outer, inner []label, why int32) {
	b := len(inner)
	for p, x := range rest {
		i, j := int32(outer[p/b]), int32(inner[p%b])
		switch {
		case x == 0 && l.norm(axis[p]) == 0:
			w := l.whyFrozen(axis[p], why)
			l.freeze(label(i), w)
			l.freeze(label(j), w)
		case x == 0:
			l.freeze(label(i), why)
			l.freeze(label(j), why)
		case l.expand[x] == 0:
			set := []int32{i, j}
			slices.Sort(set)
			l.expand[x] = l.intern(set)
		default:
			first := l.sets[-l.expand[x]-1]
			l.unite(min(i, j), first[0])
			l.unite(max(i, j), first[1])
		}
	}
	for _, f := range [][]label{outer, inner} {
		if l.allOne(f) {
			l.freezeAll(f, why)
		}
	}
}

func (l *labels) allOne(f []label) bool {
	for _, u := range f {
		if l.find(int32(u)) != l.find(int32(f[0])) {
			return false
		}
	}
	return true
}

// product returns the first position whose label is not the union of its outer and inner label, -1 where there is none. nil axes are zeros.
func (l *labels) product(whole, outer, inner []label) int {
	b := len(inner)
	if inner == nil && outer != nil {
		b = len(whole) / len(outer)
	}
	for p := range whole {
		var want label
		if outer != nil {
			want = l.norm(outer[p/b])
		}
		if inner != nil {
			want = l.union(want, l.norm(inner[p%b]))
		}
		if l.norm(whole[p]) != want {
			return p
		}
	}
	return -1
}

func zeroToNil(v []label) []label {
	for _, x := range v {
		if x != 0 {
			return v
		}
	}
	return nil
}

// merge is the row-major product of axes: position p depends on what each of its coordinates depends on. Sizes are the axes' lengths; nil
// axes are untracked.
func (l *labels) merge(axes [][]label, sizes []int) []label {
	total := 1
	tracked := -1
	several := false
	for k, n := range sizes {
		total *= n
		if axes[k] != nil && n > 0 {
			several = tracked >= 0
			tracked = k
		}
	}
	if tracked < 0 {
		return nil
	}
	if !several && total == sizes[tracked] {
		return axes[tracked]
	}
	out := make([]label, total)
	stride := total
	for k, n := range sizes {
		stride /= max(n, 1)
		if axes[k] == nil {
			continue
		}
		for p := range out {
			x := l.norm(axes[k][p/stride%n])
			if out[p] == 0 {
				out[p] = x
			} else {
				out[p] = l.union(out[p], x)
			}
		}
	}
	return out
}
