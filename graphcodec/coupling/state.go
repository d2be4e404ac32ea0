package coupling

import (
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// classes are the distinct tracked axes of a model: axes that lose the same positions share a
// class.
type classes struct {
	size  []int
	at    [][]classRef // by UnitID
	nodes []nodeCost
	use   [][]int32 // by class: the nodes and tensors that have it
	sizes []tensorSize

	visible *bool // whether half of the work is visible at the sizes of the inputs; nil: not worked out yet
}

type classRef struct {
	class     int32
	positions []int32
}

// nodeCost is a node's multiply-accumulates: fixed times the survivors of its classes.
type nodeCost struct {
	call    int // index into the analyzer's
	fixed   int64
	classes []int32
	seen    readerCost
}

// readerCost is a node's cost as a reader of the file counts it.
type readerCost struct {
	fixed   int64
	classes []int32
}

// tensorSize is a constant's number of elements: fixed times the survivors of its classes.
type tensorSize struct {
	fixed   int64
	bits    int64
	tensor  *onnxio.Tensor
	reading op.Reading
	copied  bool
	classes []int32
}

type classBuilder struct {
	a      *Analysis
	c      *classes
	byPtr  map[op.AxisKey]int32
	byHash map[uint64][]int32
	keys   [][]label.Label
	seed   maphash.Seed
}

func newClasses(a *Analysis, costs []callCost) *classes {
	b := &classBuilder{a: a, c: &classes{at: make([][]classRef, len(a.units))}, byPtr: map[op.AxisKey]int32{}, byHash: map[uint64][]int32{}, seed: maphash.MakeSeed()}
	for _, v := range a.Analyzer.Order {
		axes := v.Axes
		if v.Const != nil {
			axes = v.Const.Axes
		}
		for _, l := range axes {
			b.class(l)
		}
	}
	for _, l := range slices.Concat(a.Analyzer.Heads, a.Analyzer.HeadDims) { // of packed weights no value has these axes
		b.class(l)
	}
	for i, cost := range costs {
		if cost.fixed != 0 || cost.seenFixed != 0 {
			n := nodeCost{call: i}
			n.classes, n.fixed = b.factors(cost.axes, cost.fixed)
			n.seen.classes, n.seen.fixed = b.factors(cost.seen, cost.seenFixed)
			b.c.nodes = append(b.c.nodes, n)
		}
	}
	for _, k := range a.constants {
		b.addTensor(k)
	}
	b.c.use = make([][]int32, len(b.c.size))
	for i, n := range b.c.nodes {
		for _, k := range slices.Concat(n.classes, n.seen.classes) {
			if u := b.c.use[k]; len(u) == 0 || u[len(u)-1] != int32(i) {
				b.c.use[k] = append(u, int32(i))
			}
		}
	}
	return b.c
}

func (b *classBuilder) factors(axes []op.CostAxis, fixed int64) ([]int32, int64) {
	var out []int32
	for _, x := range axes {
		if k := b.class(x.Labels); k >= 0 {
			out = append(out, k)
			continue
		}
		fixed, _ = dim.MulOK(fixed, max(x.Size, 1))
	}
	return out, fixed
}

func (b *classBuilder) addTensor(k *op.Constant) {
	if k.Tied != nil {
		return
	}
	t := tensorSize{bits: int64(k.Tensor.DataType.Bits()), tensor: k.Tensor, reading: b.a.Analyzer.Readings[k.Tensor], copied: k.Copy}
	axes := make([]op.CostAxis, len(k.Axes))
	for i, l := range k.Axes {
		axes[i] = op.CostAxis{Labels: l, Size: k.Tensor.Dims[i]}
		if k.Tensor.Dims[i] == 0 {
			return
		}
	}
	t.classes, t.fixed = b.factors(axes, 1)
	b.c.sizes = append(b.c.sizes, t)
}

// class returns the class of an axis, -1 where nothing on it can leave.
func (b *classBuilder) class(axis []label.Label) int32 {
	if len(axis) == 0 {
		return -1
	}
	if k, ok := b.byPtr[op.KeyOf(axis)]; ok {
		return k
	}
	norm := make([]label.Label, len(axis))
	var h maphash.Hash
	h.SetSeed(b.seed)
	buf := make([]byte, 0, 4*len(axis))
	any := false
	for i, x := range axis {
		norm[i] = b.a.Analyzer.Labels.Norm(x)
		any = any || b.prunable(norm[i])
		buf = binary.LittleEndian.AppendUint32(buf, uint32(norm[i]))
	}
	k := int32(-1)
	if any {
		h.Write(buf)
		k = b.intern(h.Sum64(), norm)
	}
	b.byPtr[op.KeyOf(axis)] = k
	return k
}

func (b *classBuilder) prunable(x label.Label) bool {
	for _, u := range b.a.Analyzer.Labels.Units(x) {
		if id, ok := b.a.byRoot[u]; ok && b.a.Groups[b.a.units[id].group].Frozen == "" {
			return true
		}
	}
	return false
}

func (b *classBuilder) intern(hash uint64, norm []label.Label) int32 {
	for _, k := range b.byHash[hash] {
		if slices.Equal(b.keys[k], norm) {
			return k
		}
	}
	k := int32(len(b.keys))
	b.keys = append(b.keys, norm)
	b.byHash[hash] = append(b.byHash[hash], k)
	b.c.size = append(b.c.size, len(norm))
	for p, x := range norm {
		for _, u := range b.a.Analyzer.Labels.Units(x) {
			id, ok := b.a.byRoot[u]
			if !ok {
				continue
			}
			refs := b.c.at[id]
			if n := len(refs); n > 0 && refs[n-1].class == k {
				refs[n-1].positions = append(refs[n-1].positions, int32(p))
			} else {
				b.c.at[id] = append(refs, classRef{k, []int32{int32(p)}})
			}
		}
	}
	return k
}

// whole is what a node costs before anything is removed.
func (c *classes) whole(i int) int64 {
	m := c.nodes[i].fixed
	for _, k := range c.nodes[i].classes {
		m *= int64(c.size[k])
	}
	return m
}

// State is a set of removed units with the cost of what is left.
type State struct {
	a       *Analysis
	c       *classes
	left    []int64  // by class
	dead    [][]bool // by class
	removed []bool   // by unit
	count   int
	macs    []int64 // by node cost
	seen    []int64 // the same as a reader counts
	total   int64
	visible int64
}

// NewState returns the state in which everything is left.
func (a *Analysis) NewState() *State {
	c := a.counts()
	s := &State{a: a, c: c, removed: make([]bool, len(a.units)), macs: make([]int64, len(c.nodes)), seen: make([]int64, len(c.nodes))}
	for _, n := range c.size {
		s.left = append(s.left, int64(n))
		s.dead = append(s.dead, make([]bool, n))
	}
	for i := range s.macs {
		s.macs[i] = s.nodeCost(i)
		s.total += s.macs[i]
		s.seen[i] = s.readersCost(i)
		s.visible += s.seen[i]
	}
	return s
}

// readersCost is nodeCost without what only evaluating computed shapes shows.
func (s *State) readersCost(i int) int64 {
	n := s.c.nodes[i].seen
	m := n.fixed
	for _, k := range n.classes {
		m *= s.left[k]
	}
	return m
}

func (s *State) nodeCost(i int) int64 {
	n := s.c.nodes[i]
	m := n.fixed
	for _, k := range n.classes {
		m *= s.left[k]
	}
	return m
}

// CanRemove reports whether every axis keeps a position without the units.
func (s *State) CanRemove(us ...UnitID) bool {
	gone := map[int32]int64{}
	type place struct{ class, pos int32 }
	seen := map[place]bool{}
	for _, u := range us {
		if s.removed[u] || s.a.Groups[s.a.units[u].group].Frozen != "" {
			return false
		}
		for _, r := range s.c.at[u] {
			for _, p := range r.positions {
				if s.dead[r.class][p] || (len(us) > 1 && seen[place{r.class, p}]) {
					continue
				}
				if len(us) > 1 {
					seen[place{r.class, p}] = true
				}
				gone[r.class]++
			}
		}
	}
	for k, n := range gone {
		if n >= s.left[k] {
			return false
		}
	}
	return true
}

// Remove removes a unit and updates the cost.
func (s *State) Remove(u UnitID) {
	if s.removed[u] {
		return
	}
	s.removed[u] = true
	s.count++
	touched := map[int32]bool{}
	for _, r := range s.c.at[u] {
		for _, p := range r.positions {
			if !s.dead[r.class][p] {
				s.dead[r.class][p] = true
				s.left[r.class]--
				touched[r.class] = true
			}
		}
	}
	for k := range touched {
		for _, i := range s.c.use[k] {
			m := s.nodeCost(int(i))
			s.total += m - s.macs[i]
			s.macs[i] = m
			seen := s.readersCost(int(i))
			s.visible += seen - s.seen[i]
			s.seen[i] = seen
		}
	}
}

// Saves returns the multiply-accumulates that would leave with a unit now, 0 for one that is
// removed.
func (s *State) Saves(u UnitID) int64 {
	saved, _ := s.savings(u)
	return saved
}

// VisibleSaves is Saves as VisibleMACs counts.
func (s *State) VisibleSaves(u UnitID) int64 {
	_, saved := s.savings(u)
	return saved
}

func (s *State) savings(u UnitID) (saved, visible int64) {
	if s.removed[u] {
		return 0, 0
	}
	gone := map[int32]int64{}
	for _, r := range s.c.at[u] {
		for _, p := range r.positions {
			if !s.dead[r.class][p] {
				gone[r.class]++
			}
		}
	}
	met := map[int32]bool{}
	for k := range gone {
		for _, i := range s.c.use[k] {
			if met[i] {
				continue
			}
			met[i] = true
			n := s.c.nodes[i]
			after, seen := n.fixed, n.seen.fixed
			for _, c := range n.classes {
				after *= s.left[c] - gone[c]
			}
			for _, c := range n.seen.classes {
				seen *= s.left[c] - gone[c]
			}
			saved += s.macs[i] - after
			visible += s.seen[i] - seen
		}
	}
	return saved, visible
}

// Removed reports whether a unit is removed.
func (s *State) Removed(u UnitID) bool { return s.removed[u] }

// Units returns the removed units in order.
func (s *State) Units() []UnitID {
	out := make([]UnitID, 0, s.count)
	for u, gone := range s.removed {
		if gone {
			out = append(out, UnitID(u))
		}
	}
	return out
}

// MACs returns the multiply-accumulates of one run at the sizes of CountedAt, with shapes
// evaluated; dimensions that depend on data count as 1.
func (s *State) MACs() int64 { return s.total }

// VisibleMACs is MACs at static shapes, as ONNX's shape inference sees them: shapes that nodes
// compute count as 1, and so do free sizes that were not given.
func (s *State) VisibleMACs() int64 { return s.visible }

// StaticCounts reports whether MACs at static shapes say something about the model: they do not
// where
// less than half of the work is visible there, because nodes compute shapes that ONNX's shape
// inference
// does not follow, or because of operators of other domains. Free sizes hide nothing: for this
// question
// they have the sizes of CountedAt in both counts.
func (s *State) StaticCounts() bool {
	switch {
	case 2*s.visible >= s.total:
		return true
	case slices.ContainsFunc(s.a.Analyzer.Calls, func(c *op.Call) bool { return c.Node.Domain != "" && c.Node.Domain != "ai.onnx" }):
		return false
	}
	return s.a.visibleAtSizes(s.c)
}

// Params returns the number of parameters: floating-point numbers and quantised weights, without
// scales and zero points.
func (s *State) Params() int64 {
	n, _ := s.sum()
	return n
}

// Bytes returns the size of all constants.
func (s *State) Bytes() int64 {
	_, b := s.sum()
	return b
}

func (s *State) sum() (params, bytes int64) {
	for _, t := range s.c.sizes {
		n, whole := t.fixed, true
		for _, k := range t.classes {
			n *= s.left[k]
			whole = whole && s.left[k] == int64(s.c.size[k])
		}
		if !(t.copied && whole) {
			params += t.reading.Numbers(t.tensor, n)
			bytes += (n*t.bits + 7) / 8
		}
	}
	return params, bytes
}

// LayerCost is the cost of one node.
type LayerCost struct {
	Node   string `json:"node"`
	Op     string `json:"op"`
	MACs   int64  `json:"macs"`
	After  int64  `json:"macs_after,omitempty"`
	Params int64  `json:"params"`
	Shape  string `json:"shape"` // of the first output
}

// Layers returns the cost of every node that multiplies, in graph order.
func (s *State) Layers() []LayerCost {
	var out []LayerCost
	start := s.a.NewState()
	for i, n := range s.c.nodes {
		c := s.a.Analyzer.Calls[n.call]
		l := LayerCost{Node: c.Name(), Op: c.Node.OpType, MACs: start.macs[i], After: s.macs[i]}
		for _, v := range c.In {
			if k := c.ConstantBehind(v); k != nil {
				n, _ := k.Tensor.NumElements()
				l.Params += s.a.Analyzer.Readings[k.Tensor].Numbers(k.Tensor, n)
			}
		}
		if len(c.Out) > 0 && c.Out[0] != nil {
			shape, _ := s.a.shapeAt(c.Out[0])
			l.Shape = dim.Text(shape)
		}
		out = append(out, l)
	}
	return out
}

// GroupMACs returns the multiply-accumulates of all nodes that work on channels of a group, frozen
// ones included.
func (a *Analysis) GroupMACs(g *Group) int64 {
	readers := map[string]bool{}
	for _, m := range g.Members {
		if m.Role == op.Output || m.Role == op.Input || m.Role == op.Depthwise {
			readers[m.Const.Name] = true
		}
	}
	var sum int64
	c := a.counts()
	for i, n := range c.nodes {
		call := a.Analyzer.Calls[n.call]
		for _, v := range call.In {
			if k := call.ConstantBehind(v); k != nil && readers[k.Name] {
				sum += c.whole(i)
				break
			}
		}
	}
	return sum
}

// Activations returns the bytes of the largest set of values that are alive at one time at the
// sizes of CountedAt; dimensions that depend on data count as 1.
func (a *Analysis) Activations(s *State) int64 {
	a.counts()
	last := map[string]int{}
	for i, c := range a.Analyzer.Calls {
		for _, v := range c.In {
			if v != nil {
				last[v.Name] = i
			}
		}
	}
	size := func(v *op.Value) int64 {
		if v == nil || v.Const != nil {
			return 0
		}
		shape, ok := a.shapeAt(v)
		if !ok {
			return 0
		}
		n := int64(v.Type.Bits()+7) / 8
		for k, d := range shape {
			x := d.N
			if k < len(v.Axes) && v.Axes[k] != nil {
				x = int64(len(s.keep(v.Axes[k])))
			}
			n, _ = dim.MulOK(n, max(x, 1))
		}
		return n
	}
	var live, peak int64
	for i, c := range a.Analyzer.Calls {
		for _, v := range c.Out {
			live += size(v)
		}
		peak = max(peak, live)
		freed := map[string]bool{}
		for _, v := range slices.Concat(c.In, c.Out) {
			if v != nil && last[v.Name] <= i && !freed[v.Name] {
				freed[v.Name] = true
				live -= size(v)
			}
		}
	}
	return peak
}

// keep returns the surviving positions of an axis.
func (s *State) keep(axis []label.Label) []int {
	out := make([]int, 0, len(axis))
	lab := s.a.Analyzer.Labels
next:
	for p, x := range axis {
		for _, u := range lab.Units(lab.Norm(x)) {
			if id, ok := s.a.byRoot[u]; ok && s.removed[id] {
				continue next
			}
		}
		out = append(out, p)
	}
	return out
}

// Dead marks the removed positions on a constant's axis, nil where there are none.
func (s *State) Dead(c *op.Constant, axis int) []bool {
	if c.Axes[axis] == nil || s.count == 0 {
		return nil
	}
	keep := s.keep(c.Axes[axis])
	if len(keep) == len(c.Axes[axis]) {
		return nil
	}
	dead := make([]bool, len(c.Axes[axis]))
	for i := range dead {
		dead[i] = true
	}
	for _, p := range keep {
		dead[p] = false
	}
	return dead
}

// Signature describes a group's structure: groups of equal signature do the same in different
// places of the model.
func (a *Analysis) Signature(g *Group) string {
	s := ""
	for _, m := range g.Members {
		s += string(rune('a'+int(m.Role))) + dim.Text(dim.Of(m.Const.Tensor.Dims)) + "/" + string(rune('0'+m.Axis)) + ";"
	}
	return s
}

// Count returns the number of removed units.
func (s *State) Count() int { return s.count }
