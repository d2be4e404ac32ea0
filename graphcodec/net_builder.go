package graphcodec

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// nodeSet is a NodeSet in the making. Its nodes have numbers of their own until the graph is finished.
type nodeSet struct {
	name, kind string
	base, size int // size -1: a model input whose channels no layer has read yet
	labels     []label.Label
	keys       []keyed // its nodes by identity
	depth      int
	weight     *weightView
	out        *op.Value // of the layer
	output     bool
	depthwise  bool
	feeds      bool     // a block begins here
	into       *nodeSet // whose nodes it shares: the reference's downsampling convolution
	slots      [numSlots][]slotRef
}

// provenance says which layers' channels a value carries: main on its channels, rest on other axes.
type provenance struct {
	main []*nodeSet
	rest [][]*nodeSet
}

// netBuilder turns calls into node sets and blocks.
type netBuilder struct {
	a       *coupling.Analysis
	scheme  Scheme
	ref     bool
	from    map[*op.Value]*provenance
	sets    []*nodeSet
	owner   []*nodeSet // by node
	blocks  []*EdgeBlock
	taken   map[*op.Constant]bool
	scaled  map[*op.Value]bool // behind a scale, so that a constant added is that normalisation's bias
	lenses  map[string][]float32
	orphans map[*op.Value]map[int]*nodeSet
	rms     map[*op.Constant]float64
}

// slot is a kind of vector that nodes carry.
type slot int

const (
	normWeight   = slot(op.VectorScale)
	normBias     = slot(op.VectorShift)
	runningMean  = slot(op.VectorMean)
	runningVar   = slot(op.VectorVariance)
	layerBias    = runningVar + 1
	shortcutNorm = layerBias + 1 // of the reference: four more
	numSlots     = shortcutNorm + 4
)

// slotRef is a node's element of a vector.
type slotRef struct {
	c     *op.Constant
	index int32
	fixed bool
}

// maxJoined bounds the layers that a chain of Concat gathers.
const maxJoined = 1024

// maxRuns bounds the diagonal blocks between two lists of nodes; orders more scattered than that get none.
const maxRuns = 256

func newNetBuilder(a *coupling.Analysis, s Scheme) *netBuilder {
	b := &netBuilder{a: a, scheme: s, ref: s.Name == ReferenceCNN.Name, from: map[*op.Value]*provenance{}, taken: map[*op.Constant]bool{}, scaled: map[*op.Value]bool{},
		lenses: map[string][]float32{}, orphans: map[*op.Value]map[int]*nodeSet{}, rms: map[*op.Constant]float64{}}
	for _, in := range a.Model.Graph.Inputs {
		if v := a.Analyzer.Values[in.Name]; v != nil && v.Const == nil {
			b.from[v] = &provenance{main: []*nodeSet{{name: in.Name, kind: "input", size: -1}}}
		}
	}
	return b
}

// call adds what one node of the model contributes.
func (b *netBuilder) call(c *op.Call) {
	if o := c.Op(); o.Graph != op.PassesOn && len(c.Out) > 0 && (c.Out[0] != nil || o.LaterOutputs) && encoders[o.Graph](b, c) {
		return
	}
	p := b.deepest(c.In)
	for _, v := range c.Out {
		if v != nil && v.Const == nil && p != nil {
			b.from[v] = p
		}
	}
}

// deepest returns the provenance of the input behind most layers.
func (b *netBuilder) deepest(in []*op.Value) *provenance {
	var best *provenance
	for _, v := range in {
		if p := b.from[v]; p != nil && (best == nil || p.depth() > best.depth()) {
			best = p
		}
	}
	return best
}

func (p *provenance) depth() int {
	d := 0
	for _, s := range p.main {
		d = max(d, s.depth)
	}
	return d
}

// labelsOf returns an axis' labels, nil where it is untracked.
func labelsOf(v *op.Value, k int) []label.Label {
	switch {
	case !v.Has(k):
		return nil
	case v.Const != nil:
		return v.Const.Axes[k]
	case v.Axes == nil:
		return nil
	}
	return v.Axes[k]
}

// place gives a set its nodes.
func (b *netBuilder) place(s *nodeSet, n int, labels []label.Label) {
	s.base, s.size = len(b.owner), n
	if len(labels) == n {
		s.labels = labels
	}
	for range n {
		b.owner = append(b.owner, s)
	}
	b.sets = append(b.sets, s)
}

// slot returns what stands in a slot of a node.
func (b *netBuilder) slot(k slot, node int32) *slotRef {
	s := b.owner[node]
	if s.slots[k] == nil {
		s.slots[k] = make([]slotRef, s.size)
	}
	return &s.slots[k][int(node)-s.base]
}

// keyed is a node with its identity.
type keyed struct {
	key  label.Label
	node int32
}

// sortByKey sorts nodes by identity; those of one identity keep their order. Numbers are sorted and not the nodes themselves: the program has that code already.
func sortByKey(all []keyed) {
	order := upFrom(0, len(all))
	slices.SortStableFunc(order, func(i, j int32) int { return cmp.Compare(all[i].key, all[j].key) })
	before := slices.Clone(all)
	for at, i := range order {
		all[at] = before[i]
	}
}

// byKey returns a set's nodes in order of their identity, nil where not all are known.
func (b *netBuilder) byKey(s *nodeSet) []keyed {
	if s.keys != nil || s.labels == nil {
		return s.keys
	}
	s.keys = make([]keyed, len(s.labels))
	for i, x := range s.labels {
		key := b.a.Analyzer.Labels.Identity(x)
		if key == 0 {
			s.keys, s.labels = nil, nil
			return nil
		}
		s.keys[i] = keyed{key, int32(s.base + i)}
	}
	sortByKey(s.keys)
	return s.keys
}

// nodesOf returns the nodes of one identity.
func nodesOf(all []keyed, key label.Label) []keyed {
	from, ok := slices.BinarySearchFunc(all, key, func(k keyed, key label.Label) int { return cmp.Compare(k.key, key) })
	if !ok {
		return nil
	}
	to := from + 1
	for to < len(all) && all[to].key == key {
		to++
	}
	return all[from:to]
}

// byUnits matches the positions of an axis to nodes that live and die with them; nil where some have none. Several positions of one channel, or several channels of one position, are matched in order.
func (b *netBuilder) byUnits(sets []*nodeSet, axis []label.Label) []int32 {
	if len(axis) == 0 {
		return nil
	}
	keys := make([]label.Label, len(axis))
	for i, x := range axis {
		if keys[i] = b.a.Analyzer.Labels.Identity(x); keys[i] == 0 {
			return nil
		}
	}
	all := b.merged(sets)
	var count, seen map[label.Label]int // only where a channel has several positions or the reverse
	out := make([]int32, len(axis))
	for i, key := range keys {
		list := nodesOf(all, key)
		switch len(list) {
		case 0:
			return nil
		case 1:
			out[i] = list[0].node
			continue
		}
		if count == nil {
			count, seen = map[label.Label]int{}, map[label.Label]int{}
			for _, key := range keys {
				count[key]++
			}
		}
		out[i] = list[min(seen[key]*len(list)/count[key], len(list)-1)].node
		seen[key]++
	}
	return out
}

// merged returns the nodes of several sets in order of their identity, and of the sets within it.
func (b *netBuilder) merged(sets []*nodeSet) []keyed {
	if len(sets) == 1 {
		return b.byKey(sets[0])
	}
	var all []keyed
	for _, s := range sets {
		all = append(all, b.byKey(s)...)
	}
	sortByKey(all)
	return all
}

// byCount matches positions to nodes in order: n positions, or the same number for each node.
func byCount(sets []*nodeSet, n int) []int32 {
	total := 0
	for _, s := range sets {
		total += max(s.size, 0)
	}
	if total == 0 || n%total != 0 {
		return nil
	}
	out := make([]int32, 0, n)
	for _, s := range sets {
		for i := range s.size {
			for range n / total {
				out = append(out, int32(s.base+i))
			}
		}
	}
	return out
}

// axisLength returns the length of an axis, 0 where it is unknown or too long.
func axisLength(v *op.Value, k int) int {
	if v == nil || !v.Ranked || k < 0 || k >= len(v.Shape) || !v.Shape[k].IsNum() || v.Shape[k].N > op.MaxAxis {
		return 0
	}
	return int(v.Shape[k].N)
}

// match returns the node of each position on an axis; nil where they are not known.
func (b *netBuilder) match(v *op.Value, k int) []int32 {
	n, p := axisLength(v, k), b.from[v]
	if n == 0 || p == nil {
		return nil
	}
	if len(p.main) == 1 && p.main[0].size < 0 {
		b.place(p.main[0], n, labelsOf(v, k))
	}
	for _, sets := range p.all() {
		if ids := b.byUnits(sets, labelsOf(v, k)); ids != nil {
			return ids
		}
	}
	for _, sets := range p.all() {
		if at := b.unitAxis(v, sets); at >= 0 && at != k {
			continue
		}
		if ids := byCount(sets, n); ids != nil {
			return ids
		}
	}
	return nil
}

func (p *provenance) all() [][]*nodeSet { return append([][]*nodeSet{p.main}, p.rest...) }

// unitAxis returns the axis on which a value carries the sets' channels, -1 where the analysis does not say.
func (b *netBuilder) unitAxis(v *op.Value, sets []*nodeSet) int {
	for k := range v.Shape {
		if axisLength(v, k) > 1 && b.byUnits(sets, labelsOf(v, k)) != nil {
			return k
		}
	}
	return -1
}

// channelAxis returns the axis on which a value carries its main channels, or else one as long as they are many: the second, the last, any.
func (b *netBuilder) channelAxis(v *op.Value) int {
	p := b.from[v]
	if p == nil || !v.Ranked {
		return -1
	}
	if k := b.unitAxis(v, p.main); k >= 0 {
		return k
	}
	total := 0
	for _, s := range p.main {
		total += max(s.size, 0)
	}
	order := []int{1, len(v.Shape) - 1}
	for k := range v.Shape {
		order = append(order, k)
	}
	for _, k := range order {
		if n := axisLength(v, k); n > 0 && n == total {
			return k
		}
	}
	return -1
}

// nodes returns the node of each position on an axis, new ones where its origin is not known.
func (b *netBuilder) nodes(v *op.Value, k int) []int32 {
	if ids := b.match(v, k); ids != nil {
		return ids
	}
	n := axisLength(v, k)
	if n == 0 {
		return nil
	}
	if b.orphans[v] == nil {
		b.orphans[v] = map[int]*nodeSet{}
	}
	s := b.orphans[v][k]
	if s == nil {
		s = &nodeSet{name: v.Name, kind: "input", depth: b.depthOf(v)}
		b.place(s, n, labelsOf(v, k))
		b.orphans[v][k] = s
	}
	return byCount([]*nodeSet{s}, n)
}

func (b *netBuilder) depthOf(v *op.Value) int {
	if p := b.from[v]; p != nil {
		return p.depth()
	}
	return 0
}

// layer adds the node set of a layer whose channels are axis k of out.
func (b *netBuilder) layer(c *op.Call, w *weightView, n int, out *op.Value, k int, x *op.Value) *nodeSet {
	s := &nodeSet{name: c.Name(), kind: "layer", depth: b.depthOf(x) + 1, weight: w, out: out}
	if w != nil {
		s.name = w.c.Name
	}
	var labels []label.Label
	if axisLength(out, k) == n {
		labels = labelsOf(out, k)
	}
	b.place(s, n, labels)
	return s
}

// dense adds the edges from the nodes ids, one per column of the view from column `first` on, to a set's nodes from row on.
func (b *netBuilder) dense(s *nodeSet, row, rows int, ids []int32, w *weightView, base int, fixed bool) {
	if rows == 0 {
		return
	}
	for _, seg := range b.segments(ids) {
		col := make([]int32, 0, len(seg.positions))
		for _, p := range seg.positions {
			col = append(col, p*int32(w.colStride))
		}
		b.addKernels(w, &EdgeBlock{Out: s.base + row, In: int(seg.first), Rows: rows, Cols: len(col) / seg.repeat, Fixed: fixed}, seg.repeat,
			kernels{base: base, out: w.rowStride, col: col})
	}
}

// lens returns the lens for kernels of the given extents.
func (b *netBuilder) lens(extents []int) []float32 {
	key := fmt.Sprint(extents)
	if l, ok := b.lenses[key]; ok {
		return l
	}
	make := dct
	if b.ref {
		make = centre
	}
	b.lenses[key] = make(extents, b.scheme.Edges[0].Features)
	return b.lenses[key]
}

// addKernels completes a block of a weight's kernels, each of `repeat` kernels of the view.
func (b *netBuilder) addKernels(w *weightView, e *EdgeBlock, repeat int, k kernels) {
	k.raw, k.width, k.read, k.inner, k.repeat = w.raw, w.width, w.read, w.inner, repeat
	e.Const, e.Kernel, e.at = w.c, repeat*len(w.inner), k
	e.Lens = b.lens(append(square(repeat), w.extents...))
	b.owner[e.In].feeds = true
	b.blocks = append(b.blocks, e)
}

// nodeRun is a run of consecutive nodes of one set, each with the same number of positions.
type nodeRun struct {
	first     int32
	repeat    int
	positions []int32 // [nodes, repeat]
}

// segments gathers positions by node.
func (b *netBuilder) segments(ids []int32) []nodeRun {
	if len(ids) == 0 {
		return nil
	}
	order := make([]int32, len(ids))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(i, j int32) int { return int(ids[i] - ids[j]) })
	var out []nodeRun
	for at := 0; at < len(order); {
		node, n := ids[order[at]], 1
		for at+n < len(order) && ids[order[at+n]] == node {
			n++
		}
		last := len(out) - 1
		if last >= 0 && out[last].repeat == n && int(node-out[last].first) == len(out[last].positions)/n && b.owner[node] == b.owner[out[last].first] {
			out[last].positions = append(out[last].positions, order[at:at+n]...)
		} else {
			out = append(out, nodeRun{node, n, append([]int32(nil), order[at:at+n]...)})
		}
		at += n
	}
	return out
}

// depthwise adds the diagonal edges of a depthwise kernel.
func (b *netBuilder) depthwise(s *nodeSet, ids []int32, w *weightView, fixed bool) {
	for _, r := range b.runs(ids, upFrom(s.base, len(ids))) {
		b.addKernels(w, &EdgeBlock{Out: int(r.to), In: int(r.from), Rows: r.n, Cols: r.n, Diagonal: true, Fixed: fixed}, 1,
			kernels{base: (int(r.to) - s.base) * w.rowStride, out: w.rowStride, col: []int32{0}})
	}
}

func upFrom(first, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(first + i)
	}
	return out
}

// pairRun is a run of consecutive nodes that stand opposite each other.
type pairRun struct {
	from, to int32
	n        int
}

// runs finds the runs in which both lists go up by one within one set.
func (b *netBuilder) runs(from, to []int32) []pairRun {
	var out []pairRun
	for i := range from {
		if l := len(out) - 1; l >= 0 {
			if r := &out[l]; from[i] == r.from+int32(r.n) && to[i] == r.to+int32(r.n) && b.owner[from[i]] == b.owner[r.from] && b.owner[to[i]] == b.owner[r.to] {
				r.n++
				continue
			}
		}
		out = append(out, pairRun{from[i], to[i], 1})
	}
	return out
}

// connect adds diagonal edges without parameters. Edges of a node with itself, and orders too scattered, get none.
func (b *netBuilder) connect(from, to []int32, kind int) {
	var f, t []int32
	seen := map[[2]int32]bool{}
	for i := range from {
		pair := [2]int32{from[i], to[i]}
		if from[i] != to[i] && !seen[pair] {
			seen[pair] = true
			f, t = append(f, from[i]), append(t, to[i])
		}
	}
	runs := b.runs(f, t)
	if len(runs) > maxRuns {
		return
	}
	for _, r := range runs {
		e := &EdgeBlock{Out: int(r.to), In: int(r.from), Rows: r.n, Cols: r.n, Diagonal: true, Type: kind, Kernel: 1, at: kernels{kind: ones1}}
		if b.ref {
			*e = EdgeBlock{Out: e.Out, In: e.In, Rows: r.n, Cols: r.n, Kernel: 9, at: kernels{kind: identity3x3}}
		}
		b.owner[r.from].feeds = true
		b.blocks = append(b.blocks, e)
	}
}

// attach makes vectors parameters of the nodes on an axis; where those have such parameters already, of new nodes behind them. It reports whether it could.
func (b *netBuilder) attach(c *op.Call, x *op.Value, k int, at []slot, vectors []*op.Value) bool {
	refs := make([]*weightView, len(vectors))
	for i, v := range vectors {
		if refs[i] = b.vector(c, v, axisLength(x, k)); refs[i] == nil {
			return false
		}
	}
	ids := b.match(x, k)
	if ids == nil {
		return false
	}
	if !b.free(at, ids) {
		ids = b.normSet(c, x, k, ids)
	}
	for i, ref := range refs {
		fixed := b.take(ref.c) || ref.c.Own
		for j, id := range ids {
			*b.slot(at[i], id) = slotRef{ref.c, ref.inner[j], fixed}
		}
	}
	return true
}

// take notes that a constant has a place in the graph; it reports whether it had one before.
func (b *netBuilder) take(c *op.Constant) bool {
	for c.Tied != nil {
		c = c.Tied
	}
	before := b.taken[c]
	b.taken[c] = true
	return before
}

// free reports whether no node occurs twice or has one of the slots filled.
func (b *netBuilder) free(at []slot, ids []int32) bool {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) < len(ids) {
		return false
	}
	for _, id := range ids {
		for _, s := range at {
			if b.owner[id].slots[s] != nil && b.slot(s, id).c != nil {
				return false
			}
		}
	}
	return true
}

// normSet adds nodes for a normalisation of their own, each behind the node in its place.
func (b *netBuilder) normSet(c *op.Call, x *op.Value, k int, ids []int32) []int32 {
	s := &nodeSet{name: c.Name(), kind: "norm", depth: b.depthOf(x) + 1, out: c.Out[0]}
	b.place(s, len(ids), labelsOf(x, k))
	own := upFrom(s.base, len(ids))
	b.connect(ids, own, min(edgeResidual, len(b.scheme.Edges)-1))
	p := &provenance{main: []*nodeSet{s}}
	if old := b.from[x]; old != nil {
		p.rest = old.rest
	}
	b.from[c.Out[0]] = p
	return own
}

// vector returns the view of n floating-point numbers that v is, nil where it is none.
func (b *netBuilder) vector(c *op.Call, v *op.Value, n int) *weightView {
	if w := b.weight(c, v, -1, -1); w != nil && len(w.inner) == n && n > 0 {
		return w
	}
	return nil
}
