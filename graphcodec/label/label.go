package label

import (
	"encoding/binary"
	"slices"
)

// Label says what a position on an axis depends on: 0 on nothing (it always survives), a positive number on that unit, a negative one on a set
// of units. A position survives while all its units survive. nil stands for an axis of zeros.
type Label int32

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

// Labels is the store of units: union-find over units, units that stand for a set (a plain axis that met a split one), and frozen units.
// Every relation is a function of sets, so that facts established once stay true when units are joined, replaced or frozen later.
type Labels struct {
	parent  []int32 // by unit; unit 0 is unused
	expand  []Label // by root: the set that replaced the unit
	Frozen  []int32 // by root: index+1 into reasons
	Factor  []factorID
	factors []factorID // union-find over factors
	sets    [][]int32
	memo    map[string]Label
	Reasons []Reason
	Flat    bool // nothing is ever cut: for runs that only look for shapes
}

// New returns an algebra without units.
func New() *Labels {
	return &Labels{parent: make([]int32, 1), expand: make([]Label, 1), Frozen: make([]int32, 1), Factor: make([]factorID, 1), memo: map[string]Label{}}
}

// Fresh returns n new units of one new factor.
func (l *Labels) Fresh(n int) []Label {
	if l.Flat {
		return make([]Label, n)
	}
	f := factorID(len(l.factors))
	l.factors = append(l.factors, f)
	out := make([]Label, n)
	for i := range out {
		u := int32(len(l.parent))
		l.parent = append(l.parent, u)
		l.expand = append(l.expand, 0)
		l.Frozen = append(l.Frozen, 0)
		l.Factor = append(l.Factor, f)
		out[i] = Label(u)
	}
	return out
}

func (l *Labels) find(u int32) int32 {
	for l.parent[u] != u {
		l.parent[u] = l.parent[l.parent[u]]
		u = l.parent[u]
	}
	return u
}

// FindFactor returns the factor that a unit belongs to now.
func (l *Labels) FindFactor(f factorID) factorID {
	for l.factors[f] != f {
		l.factors[f] = l.factors[l.factors[f]]
		f = l.factors[f]
	}
	return f
}

// Norm returns the label as it stands now: 0, a root unit, or an interned set of root units, none of them frozen or replaced.
func (l *Labels) Norm(x Label) Label {
	if x == 0 {
		return 0
	}
	if x > 0 {
		r := l.find(int32(x))
		switch {
		case l.Frozen[r] != 0:
			return 0
		case l.expand[r] != 0:
			return l.Norm(l.expand[r])
		}
		return Label(r)
	}
	set := l.sets[-x-1]
	if l.settled(set) {
		return x
	}
	var out Label
	for _, u := range set {
		out = l.union(out, l.Norm(Label(u)))
	}
	return out
}

func (l *Labels) settled(set []int32) bool {
	for _, u := range set {
		if l.parent[u] != u || l.Frozen[u] != 0 || l.expand[u] != 0 {
			return false
		}
	}
	return true
}

// Units returns the units of a normalised label in ascending order. The result must not be changed.
func (l *Labels) Units(x Label) []int32 {
	switch {
	case x == 0:
		return nil
	case x > 0:
		return []int32{int32(x)}
	}
	return l.sets[-x-1]
}

// union returns the set of both normalised labels' units.
func (l *Labels) union(a, b Label) Label {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	set := slices.Concat(l.Units(a), l.Units(b))
	slices.Sort(set)
	return l.intern(slices.Compact(set))
}

func (l *Labels) intern(set []int32) Label {
	switch len(set) {
	case 0:
		return 0
	case 1:
		return Label(set[0])
	}
	key := make([]byte, 0, 4*len(set))
	for _, u := range set {
		key = binary.LittleEndian.AppendUint32(key, uint32(u))
	}
	if x, ok := l.memo[string(key)]; ok {
		return x
	}
	l.sets = append(l.sets, set)
	x := Label(-len(l.sets))
	l.memo[string(key)] = x
	return x
}

// intersect returns the units in both normalised labels.
func (l *Labels) intersect(a, b Label) Label {
	if a == b {
		return a
	}
	if a >= 0 && b >= 0 {
		return 0
	}
	return l.intern(slices.DeleteFunc(slices.Clone(l.Units(a)), func(u int32) bool { return !slices.Contains(l.Units(b), u) }))
}

// minus returns the units of a that are not in b, both normalised.
func (l *Labels) minus(a, b Label) Label {
	if b == 0 || a == 0 {
		return a
	}
	if a == b {
		return 0
	}
	return l.intern(slices.DeleteFunc(slices.Clone(l.Units(a)), func(u int32) bool { return slices.Contains(l.Units(b), u) }))
}

// Reason registers why something is about to be frozen.
func (l *Labels) Reason(r Reason) int32 {
	l.Reasons = append(l.Reasons, r)
	return int32(len(l.Reasons))
}

// Freeze notes that a label's units cannot be removed, for a reason.
func (l *Labels) Freeze(x Label, why int32) {
	x = l.Norm(x)
	for _, u := range slices.Clone(l.Units(x)) {
		l.Frozen[l.find(u)] = why
	}
}

// FreezeAll freezes every label of an axis.
func (l *Labels) FreezeAll(xs []Label, why int32) {
	for _, x := range xs {
		l.Freeze(x, why)
	}
}

// FrozenUnit returns a unit that keeps a position which cannot be removed: a frozen root of x or of what replaced it, 0 where there is none.
func (l *Labels) FrozenUnit(x Label) int32 {
	if x < 0 {
		for _, u := range l.sets[-x-1] {
			if r := l.FrozenUnit(Label(u)); r != 0 {
				return r
			}
		}
		return 0
	}
	r := l.find(int32(x))
	if l.Frozen[r] != 0 || l.expand[r] == 0 {
		return r * min(l.Frozen[r], 1)
	}
	return l.FrozenUnit(l.expand[r])
}

// whyFrozen returns the reason of a frozen unit in x, or else the given one.
func (l *Labels) whyFrozen(x Label, otherwise int32) int32 {
	if r := l.FrozenUnit(x); r != 0 {
		return l.Frozen[r]
	}
	return otherwise
}

// Unite makes two root units one.
func (l *Labels) Unite(a, b int32) {
	a, b = l.find(a), l.find(b)
	if a == b {
		return
	}
	if a > b {
		a, b = b, a
	}
	l.parent[b] = a
	if l.Frozen[a] == 0 {
		l.Frozen[a] = l.Frozen[b]
	}
	l.uniteFactors(l.Factor[a], l.Factor[b])
}

// OneFactor notes that an axis was made as one, whatever its units come from, as if it had had units of its own that were joined with them.
func (l *Labels) OneFactor(axis []Label) {
	first := factorID(-1)
	for _, x := range axis {
		if x = l.Norm(x); x <= 0 {
			continue
		}
		if f := l.Factor[x]; first < 0 {
			first = f
		} else {
			l.uniteFactors(first, f)
		}
	}
}

func (l *Labels) uniteFactors(f, g factorID) {
	f, g = l.FindFactor(f), l.FindFactor(g)
	if f < g {
		l.factors[g] = f
	} else if g < f {
		l.factors[f] = g
	}
}

// JoinAxes makes two axes of equal length live and die together, position by position.
func (l *Labels) JoinAxes(a, b []Label, why int32) {
	if len(a) > 0 && len(b) > 0 && &a[0] == &b[0] {
		return
	}
	for range 8 {
		if !l.joinPass(a, b, why) {
			return
		}
	}
	l.FreezeAll(a, why)
	l.FreezeAll(b, why)
}

// joinPass joins what can be joined position by position and then matches sets; it reports whether another pass is needed.
func (l *Labels) joinPass(a, b []Label, why int32) bool {
	sets := false
	for p := range a {
		x, y := l.Norm(a[p]), l.Norm(b[p])
		switch {
		case x == y:
		case x == 0:
			l.Freeze(y, l.whyFrozen(a[p], why))
		case y == 0:
			l.Freeze(x, l.whyFrozen(b[p], why))
		case x > 0 && y > 0:
			l.Unite(int32(x), int32(y))
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
func (l *Labels) replace(u int32, x Label) {
	set := l.Units(x)
	if slices.Contains(set, u) {
		for _, v := range set {
			l.Unite(u, v)
		}
		return
	}
	l.expand[u] = x
}

// matchSets joins the units of two split axes that stand at exactly the same positions; where none match, all factors but the largest are frozen.
func (l *Labels) matchSets(a, b []Label, why int32) bool {
	sigA, sigB := l.signatures(a), l.signatures(b)
	again, leftA, leftB := false, map[int32]bool{}, map[int32]bool{}
	for p := range a {
		x, y := l.Norm(a[p]), l.Norm(b[p])
		if x == y || x >= 0 || y >= 0 {
			again = again || x != y
			continue
		}
		onlyA, onlyB := slices.Clone(l.Units(l.minus(x, y))), slices.Clone(l.Units(l.minus(y, x)))
		for _, u := range onlyA {
			i := slices.IndexFunc(onlyB, func(v int32) bool { return sigA[u] == sigB[v] && sigA[u] != 0 })
			if i < 0 {
				leftA[u] = true
				continue
			}
			l.Unite(u, onlyB[i])
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
func (l *Labels) signatures(a []Label) map[int32]uint64 {
	sig := map[int32]uint64{}
	for p, x := range a {
		for _, u := range l.Units(l.Norm(x)) {
			sig[u] = (sig[u] ^ uint64(p+1)) * 1099511628211
		}
	}
	return sig
}

// keepLargest freezes the given units, except those of the factor that has most of them. A single factor that shares its positions with others
// is frozen whole.
func (l *Labels) keepLargest(units map[int32]bool, axis []Label, why int32) {
	count := map[factorID]int{}
	seen := map[int32]bool{}
	for _, x := range axis {
		for _, u := range l.Units(l.Norm(x)) {
			if !seen[u] {
				seen[u] = true
				count[l.FindFactor(l.Factor[u])]++
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
		if u = l.find(u); l.FindFactor(l.Factor[u]) != best || len(count) == 1 {
			l.Frozen[u] = why
		}
	}
}

// Identity returns what a label stands for, frozen or not: 0 where that is unknown.
func (l *Labels) Identity(x Label) Label {
	switch {
	case x == 0:
		return 0
	case x > 0:
		r := l.find(int32(x))
		if l.expand[r] != 0 {
			return l.Identity(l.expand[r])
		}
		return Label(r)
	}
	var out Label
	for _, u := range l.sets[-x-1] {
		out = l.union(out, l.Identity(Label(u)))
	}
	return out
}
