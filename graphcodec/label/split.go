package label

import "slices"

// SplitRecord remembers a split, for the check that what survives is a product set.
type SplitRecord struct {
	Whole, Outer, Inner []Label
	Node                string
}

// Split views an axis of a*b positions as two axes of a and b. Each position's label is the union of an outer and an inner one; units that stand in the way are
// replaced by such unions everywhere. Where a position depends on several such units, all factors but the largest are frozen.
func (l *Labels) Split(axis []Label, a, b int, why int32) (outer, inner []Label) {
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
	if l.Product(axis, outer, inner) >= 0 {
		l.FreezeAll(axis, why)
		return nil, nil
	}
	return zeroToNil(outer), zeroToNil(inner)
}

// common returns, for each outer and each inner index, the units that all its positions share.
func (l *Labels) common(axis []Label, a, b int) (outer, inner []Label) {
	outer, inner = make([]Label, a), make([]Label, b)
	for p := range axis {
		x, i, j := l.Norm(axis[p]), p/b, p%b
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
func (l *Labels) factorise(axis, outer, inner []Label, why int32) bool {
	a, b := len(outer), len(inner)
	rest := make([]Label, len(axis))
	several, any := map[int32]bool{}, false
	for p := range axis {
		rest[p] = l.minus(l.Norm(axis[p]), l.union(outer[p/b], inner[p%b]))
		any = any || rest[p] != 0
		if rest[p] < 0 {
			for _, u := range l.Units(rest[p]) {
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
	l.substitute(axis, rest, l.Fresh(a), l.Fresh(b), why)
	return false
}

// substitute replaces each unit in rest by one outer and one inner unit. A unit at several positions joins their outer units and their inner ones; a factor
// whose units all become one stays whole, so it is frozen.
func (l *Labels) substitute(axis, rest, outer, inner []Label, why int32) {
	b := len(inner)
	for p, x := range rest {
		i, j := int32(outer[p/b]), int32(inner[p%b])
		switch {
		case x == 0 && l.Norm(axis[p]) == 0:
			w := l.whyFrozen(axis[p], why)
			l.Freeze(Label(i), w)
			l.Freeze(Label(j), w)
		case x == 0:
			l.Freeze(Label(i), why)
			l.Freeze(Label(j), why)
		case l.expand[x] == 0:
			set := []int32{i, j}
			slices.Sort(set)
			l.expand[x] = l.intern(set)
		default:
			first := l.sets[-l.expand[x]-1]
			l.Unite(min(i, j), first[0])
			l.Unite(max(i, j), first[1])
		}
	}
	for _, f := range [][]Label{outer, inner} {
		if l.allOne(f) {
			l.FreezeAll(f, why)
		}
	}
}

func (l *Labels) allOne(f []Label) bool {
	for _, u := range f {
		if l.find(int32(u)) != l.find(int32(f[0])) {
			return false
		}
	}
	return true
}

// Product returns the first position whose label is not the union of its outer and inner label, -1 where there is none. nil axes are zeros.
func (l *Labels) Product(whole, outer, inner []Label) int {
	b := len(inner)
	if inner == nil && outer != nil {
		b = len(whole) / len(outer)
	}
	for p := range whole {
		var want Label
		if outer != nil {
			want = l.Norm(outer[p/b])
		}
		if inner != nil {
			want = l.union(want, l.Norm(inner[p%b]))
		}
		if l.Norm(whole[p]) != want {
			return p
		}
	}
	return -1
}

func zeroToNil(v []Label) []Label {
	for _, x := range v {
		if x != 0 {
			return v
		}
	}
	return nil
}

// Merge is the row-major product of axes: position p depends on what each of its coordinates depends on. Sizes are the axes' lengths; nil
// axes are untracked.
func (l *Labels) Merge(axes [][]Label, sizes []int) []Label {
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
	out := make([]Label, total)
	stride := total
	for k, n := range sizes {
		stride /= max(n, 1)
		if axes[k] == nil {
			continue
		}
		for p := range out {
			x := l.Norm(axes[k][p/stride%n])
			if out[p] == 0 {
				out[p] = x
			} else {
				out[p] = l.union(out[p], x)
			}
		}
	}
	return out
}
