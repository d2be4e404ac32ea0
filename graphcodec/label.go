package graphcodec

import (
	"encoding/binary"
	"slices"
)

// label says what a position on an axis depends on: 0 on nothing (it always survives), a positive number on that unit, a negative one on a set
// of units. A position survives while all its units survive. nil stands for an axis of zeros.
type label int32

// factorID names the axis, or the factor of a split axis, that a unit was made for.
type factorID int32

// Reason says why units are frozen.
type Reason struct {
	Node string // the node that froze them, empty for graph inputs and outputs
	Op   string
	Text string
}

func (r Reason) String() string {
	if r.Node == "" {
		return r.Text
	}
	return r.Op + " " + r.Node + ": " + r.Text
}

// labels is the store of units: union-find over units, units that stand for a set (a plain axis that met a split one), and frozen units.
// Every relation is a function of sets, so that facts established once stay true when units are joined, replaced or frozen later.
type labels struct {
	parent  []int32 // by unit; unit 0 is unused
	expand  []label // by root: the set that replaced the unit
	frozen  []int32 // by root: index+1 into reasons
	factor  []factorID
	factors []factorID // union-find over factors
	sets    [][]int32
	memo    map[string]label
	reasons []Reason
	flat    bool // nothing is ever cut: for runs that only look for shapes
}

func newLabels() *labels {
	return &labels{parent: make([]int32, 1), expand: make([]label, 1), frozen: make([]int32, 1), factor: make([]factorID, 1), memo: map[string]label{}}
}

// fresh returns n new units of one new factor.
func (l *labels) fresh(n int) []label {
	if l.flat {
		return make([]label, n)
	}
	f := factorID(len(l.factors))
	l.factors = append(l.factors, f)
	out := make([]label, n)
	for i := range out {
		u := int32(len(l.parent))
		l.parent = append(l.parent, u)
		l.expand = append(l.expand, 0)
		l.frozen = append(l.frozen, 0)
		l.factor = append(l.factor, f)
		out[i] = label(u)
	}
	return out
}

func (l *labels) find(u int32) int32 {
	for l.parent[u] != u {
		l.parent[u] = l.parent[l.parent[u]]
		u = l.parent[u]
	}
	return u
}

func (l *labels) findFactor(f factorID) factorID {
	for l.factors[f] != f {
		l.factors[f] = l.factors[l.factors[f]]
		f = l.factors[f]
	}
	return f
}

// norm returns the label as it stands now: 0, a root unit, or an interned set of root units, none of them frozen or replaced.
func (l *labels) norm(x label) label {
	if x == 0 {
		return 0
	}
	if x > 0 {
		r := l.find(int32(x))
		switch {
		case l.frozen[r] != 0:
			return 0
		case l.expand[r] != 0:
			return l.norm(l.expand[r])
		}
		return label(r)
	}
	set := l.sets[-x-1]
	if l.settled(set) {
		return x
	}
	var out label
	for _, u := range set {
		out = l.union(out, l.norm(label(u)))
	}
	return out
}

func (l *labels) settled(set []int32) bool {
	for _, u := range set {
		if l.parent[u] != u || l.frozen[u] != 0 || l.expand[u] != 0 {
			return false
		}
	}
	return true
}

// units returns the units of a normalised label in ascending order. The result must not be changed.
func (l *labels) units(x label) []int32 {
	switch {
	case x == 0:
		return nil
	case x > 0:
		return []int32{int32(x)}
	}
	return l.sets[-x-1]
}

// union returns the set of both normalised labels' units.
func (l *labels) union(a, b label) label {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	set := slices.Concat(l.units(a), l.units(b))
	slices.Sort(set)
	return l.intern(slices.Compact(set))
}

func (l *labels) intern(set []int32) label {
	switch len(set) {
	case 0:
		return 0
	case 1:
		return label(set[0])
	}
	key := make([]byte, 0, 4*len(set))
	for _, u := range set {
		key = binary.LittleEndian.AppendUint32(key, uint32(u))
	}
	if x, ok := l.memo[string(key)]; ok {
		return x
	}
	l.sets = append(l.sets, set)
	x := label(-len(l.sets))
	l.memo[string(key)] = x
	return x
}

// intersect returns the units in both normalised labels.
func (l *labels) intersect(a, b label) label {
	if a == b {
		return a
	}
	if a >= 0 && b >= 0 {
		return 0
	}
	return l.intern(slices.DeleteFunc(slices.Clone(l.units(a)), func(u int32) bool { return !slices.Contains(l.units(b), u) }))
}

// minus returns the units of a that are not in b, both normalised.
func (l *labels) minus(a, b label) label {
	if b == 0 || a == 0 {
		return a
	}
	if a == b {
		return 0
	}
	return l.intern(slices.DeleteFunc(slices.Clone(l.units(a)), func(u int32) bool { return slices.Contains(l.units(b), u) }))
}

// reason registers why something is about to be frozen.
func (l *labels) reason(r Reason) int32 {
	l.reasons = append(l.reasons, r)
	return int32(len(l.reasons))
}

func (l *labels) freeze(x label, why int32) {
	x = l.norm(x)
	for _, u := range slices.Clone(l.units(x)) {
		l.frozen[l.find(u)] = why
	}
}

func (l *labels) freezeAll(xs []label, why int32) {
	for _, x := range xs {
		l.freeze(x, why)
	}
}

// frozenUnit returns a unit that keeps a position which cannot be removed: a frozen root of x or of what replaced it, 0 where there is none.
func (l *labels) frozenUnit(x label) int32 {
	if x < 0 {
		for _, u := range l.sets[-x-1] {
			if r := l.frozenUnit(label(u)); r != 0 {
				return r
			}
		}
		return 0
	}
	r := l.find(int32(x))
	if l.frozen[r] != 0 || l.expand[r] == 0 {
		return r * min(l.frozen[r], 1)
	}
	return l.frozenUnit(l.expand[r])
}

// whyFrozen returns the reason of a frozen unit in x, or else the given one.
func (l *labels) whyFrozen(x label, otherwise int32) int32 {
	if r := l.frozenUnit(x); r != 0 {
		return l.frozen[r]
	}
	return otherwise
}

// unite makes two root units one.
func (l *labels) unite(a, b int32) {
	a, b = l.find(a), l.find(b)
	if a == b {
		return
	}
	if a > b {
		a, b = b, a
	}
	l.parent[b] = a
	if l.frozen[a] == 0 {
		l.frozen[a] = l.frozen[b]
	}
	l.uniteFactors(l.factor[a], l.factor[b])
}

// oneFactor notes that an axis was made as one, whatever its units come from, as if it had had units of its own that were joined with them.
func (l *labels) oneFactor(axis []label) {
	first := factorID(-1)
	for _, x := range axis {
		if x = l.norm(x); x <= 0 {
			continue
		}
		if f := l.factor[x]; first < 0 {
			first = f
		} else {
			l.uniteFactors(first, f)
		}
	}
}

func (l *labels) uniteFactors(f, g factorID) {
	f, g = l.findFactor(f), l.findFactor(g)
	if f < g {
		l.factors[g] = f
	} else if g < f {
		l.factors[f] = g
	}
}

// joinAxes makes two axes of equal length live and die together, position by position.
func (l *labels) joinAxes(a, b []label, why int32) {
	if len(a) > 0 && len(b) > 0 && &a[0] == &b[0] {
		return
	}
	for range 8 {
		if !l.joinPass(a, b, why) {
			return
		}
	}
	l.freezeAll(a, why)
	l.freezeAll(b, why)
}

// joinPass joins what can be joined position by position and then matches sets; it reports whether another pass is needed.
func (l *labels) joinPass(a, b []label, why int32) bool {
	sets := false
	for p := range a {
		x, y := l.norm(a[p]), l.norm(b[p])
		switch {
		case x == y:
		case x == 0:
			l.freeze(y, l.whyFrozen(a[p], why))
		case y == 0:
			l.freeze(x, l.whyFrozen(b[p], why))
		case x > 0 && y > 0:
			l.unite(int32(x), int32(y))
		case x > 0:
			l.replace(int32(x), y)
		case y > 0:
			l.replace(int32(y), x)
		default:
			sets = true
		}
	}
	return sets && l.matchSets(a, b, why)
}

// replace makes the unit u stand for the set x.
func (l *labels) replace(u int32, x label) {
	set := l.units(x)
	if slices.Contains(set, u) {
		for _, v := range set {
			l.unite(u, v)
		}
		return
	}
	l.expand[u] = x
}

// matchSets joins the units of two split axes that stand at exactly the same positions; where none match, all factors but the largest are frozen.
func (l *labels) matchSets(a, b []label, why int32) bool {
	sigA, sigB := l.signatures(a), l.signatures(b)
	again, leftA, leftB := false, map[int32]bool{}, map[int32]bool{}
	for p := range a {
		x, y := l.norm(a[p]), l.norm(b[p])
		if x == y || x >= 0 || y >= 0 {
			again = again || x != y
			continue
		}
		onlyA, onlyB := slices.Clone(l.units(l.minus(x, y))), slices.Clone(l.units(l.minus(y, x)))
		for _, u := range onlyA {
			i := slices.IndexFunc(onlyB, func(v int32) bool { return sigA[u] == sigB[v] && sigA[u] != 0 })
			if i < 0 {
				leftA[u] = true
				continue
			}
			l.unite(u, onlyB[i])
			onlyB = slices.Delete(onlyB, i, i+1)
			again = true
		}
		for _, v := range onlyB {
			leftB[v] = true
		}
	}
	if len(leftA)+len(leftB) > 0 {
		l.keepLargest(leftA, a, why)
		l.keepLargest(leftB, b, why)
		return true
	}
	return again
}

// signatures hashes, for each unit, the positions at which it stands.
func (l *labels) signatures(a []label) map[int32]uint64 {
	sig := map[int32]uint64{}
	for p, x := range a {
		for _, u := range l.units(l.norm(x)) {
			sig[u] = (sig[u] ^ uint64(p+1)) * 1099511628211
		}
	}
	return sig
}

// keepLargest freezes the given units, except those of the factor that has most of them. A single factor that shares its positions with others
// is frozen whole.
func (l *labels) keepLargest(units map[int32]bool, axis []label, why int32) {
	count := map[factorID]int{}
	seen := map[int32]bool{}
	for _, x := range axis {
		for _, u := range l.units(l.norm(x)) {
			if !seen[u] {
				seen[u] = true
				count[l.findFactor(l.factor[u])]++
			}
		}
	}
	best, most := factorID(-1), 0
	for f, n := range count {
		if n > most || (n == most && f < best) {
			best, most = f, n
		}
	}
	sorted := make([]int32, 0, len(units))
	for u := range units {
		sorted = append(sorted, u)
	}
	slices.Sort(sorted)
	for _, u := range sorted {
		if u = l.find(u); l.findFactor(l.factor[u]) != best || len(count) == 1 {
			l.frozen[u] = why
		}
	}
}

// identity returns what a label stands for, frozen or not: 0 where that is unknown.
func (l *labels) identity(x label) label {
	switch {
	case x == 0:
		return 0
	case x > 0:
		r := l.find(int32(x))
		if l.expand[r] != 0 {
			return l.identity(l.expand[r])
		}
		return label(r)
	}
	var out label
	for _, u := range l.sets[-x-1] {
		out = l.union(out, l.identity(label(u)))
	}
	return out
}
