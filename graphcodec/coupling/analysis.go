package coupling

import (
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"

	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// UnitID names a unit of an Analysis: what must leave together.
type UnitID int32

// Analysis holds the groups of coupled channels of a model.
type Analysis struct {
	Model  *onnxio.Model
	Groups []Group // in graph order, frozen ones too

	Analyzer  *op.Analyzer
	source    *onnxio.Model      // the model as it was given, where functions were expanded
	expanded  []flatten.Expanded // their calls
	constants []*op.Constant
	axes      []constAxis // every tracked axis of every constant
	unitAxes  map[int32][]axisRef
	units     []unit // by UnitID
	byRoot    map[int32]UnitID
	layers    map[*op.Constant]*op.Call // that read them
	counting  sync.Mutex
	classes   *classes // made when first asked for
	counted   *Counted
	sized     *op.Analyzer // the rules with sizes for the inputs; nil where these are fixed
}

type constAxis struct {
	c    *op.Constant
	axis int
}

// axisRef is a unit's part of one constant axis.
type axisRef struct {
	axis      int // index into Analysis.axes
	positions []int32
}

type unit struct {
	root  int32
	group int
	refs  []axisRef
}

// Group is the set of units with the same member tensors, axes and factor: DepGraph's pruning
// group.
type Group struct {
	ID      string   // unique, such as g12; no tensor or node has that name
	Name    string   // unique, for people: the first weight that produces it or, where an exporter has numbered that, the layer's node path
	Tensor  string   // the first weight that produces it; several groups may have the same
	Members []Member // in graph order
	Units   []UnitID // in order of their first position
	Frozen  string   // why its units stay; empty where they can leave
	Node    string   // the node that froze it
	NoLayer bool     // no layer and no normalisation has its channels, which is why its units stay
	Kind    Kind     // what its units are to an attention
}

// Kind says what a group's units are to the products of activations that make an attention.
type Kind string

// Kinds of groups; all others have none.
const (
	Heads   Kind = "heads"    // whole heads
	HeadDim Kind = "head-dim" // channels of every head
)

// Member is one axis of one constant in a group.
type Member struct {
	Const *op.Constant
	Axis  int
	Role  op.Role
	ref   int
}

// Analyze finds the groups of coupled channels of the model. Calls of the model's own functions are
// replaced by their bodies, and Ifs whose condition is known by the branch that is taken, in the
// Analysis's model.
func Analyze(m *onnxio.Model) (a *Analysis, err error) {
	defer op.Caught(&err)
	source := m
	m, calls := flatten.Inline(m)
	an, err := interpret(m, m, calls)
	if err != nil {
		return nil, err
	}
	for seen, depth := m, 0; len(an.Taken) > 0 && depth < op.MaxBodies; depth++ {
		open, more := flatten.WithBranches(m, calls, an.Taken)
		if open == nil {
			break
		}
		m, calls = open, more
		if an, err = interpret(m, seen, calls); err != nil {
			return nil, err
		}
	}
	a = &Analysis{Model: m, Analyzer: an, expanded: calls, unitAxes: map[int32][]axisRef{}, byRoot: map[int32]UnitID{}}
	if err := a.invariant(); err != nil {
		return nil, err
	}
	if len(calls) > 0 {
		a.source = source
	}
	a.collect()
	a.group()
	return a, nil
}

// interpret runs the rules over the model, whose file is read as seen.
func interpret(m, seen *onnxio.Model, calls []flatten.Expanded) (*op.Analyzer, error) {
	an := op.NewAnalyzer(m)
	an.Seen, an.Concealed = seen, map[*onnxio.Node]bool{}
	for _, e := range calls {
		for _, n := range m.Graph.Nodes[e.First:e.Last] {
			an.Bodies[n] = true
			an.Concealed[n] = e.Branch
		}
	}
	if err := an.Begin(); err != nil {
		return nil, err
	}
	order, err := op.Sorted(m.Graph)
	if err != nil {
		return nil, err
	}
	for _, i := range order {
		c, err := an.Prepare(i, m.Graph.Nodes[i])
		if err != nil {
			return nil, err
		}
		if an.Run(c); an.Broken != nil {
			return nil, an.Broken
		}
	}
	return an, an.End()
}

// invariant checks that what survives is a product set at every split.
func (a *Analysis) invariant() error {
	for _, s := range a.Analyzer.Splits {
		if a.Analyzer.Labels.Product(s.Whole, s.Outer, s.Inner) >= 0 {
			return errors.New("analysis: the survivors of " + s.Node + " are no product set; please report this model")
		}
	}
	return nil
}

// collect lists, for each unit, the constant axes that hold it.
func (a *Analysis) collect() {
	for _, v := range a.Analyzer.Order {
		if v.Const == nil {
			continue
		}
		a.constants = append(a.constants, v.Const)
		for k, labels := range v.Const.Axes {
			if labels == nil || v.Const.Packed {
				continue
			}
			at := len(a.axes)
			a.axes = append(a.axes, constAxis{v.Const, k})
			a.collectAxis(at, labels)
		}
	}
}

func (a *Analysis) collectAxis(at int, labels []label.Label) {
	lab := a.Analyzer.Labels
	for p, x := range labels {
		if x == 0 {
			continue
		}
		n := lab.Norm(x)
		if n == 0 {
			if r := lab.FrozenUnit(x); r != 0 {
				a.note(r, at, p) // frozen units are listed too, for their reason
			}
			continue
		}
		for _, u := range lab.Units(n) {
			a.note(u, at, p)
		}
	}
}

func (a *Analysis) note(u int32, at, p int) {
	refs := a.unitAxes[u]
	if n := len(refs); n > 0 && refs[n-1].axis == at {
		refs[n-1].positions = append(refs[n-1].positions, int32(p))
		return
	}
	a.unitAxes[u] = append(refs, axisRef{at, []int32{int32(p)}})
}

// group gathers units of the same members.
func (a *Analysis) group() {
	roots := make([]int32, 0, len(a.unitAxes))
	for u := range a.unitAxes {
		roots = append(roots, u)
	}
	slices.Sort(roots)
	index, kinds := map[string]int{}, a.kinds()
	for _, u := range roots {
		refs := a.unitAxes[u]
		key := binary.LittleEndian.AppendUint32(nil, uint32(a.Analyzer.Labels.FindFactor(a.Analyzer.Labels.Factor[u])))
		key = binary.LittleEndian.AppendUint32(key, uint32(a.Analyzer.Labels.Frozen[u]))
		for _, r := range refs {
			key = binary.LittleEndian.AppendUint32(key, uint32(r.axis))
		}
		g, ok := index[string(key)]
		if !ok {
			g = len(a.Groups)
			index[string(key)] = g
			a.Groups = append(a.Groups, a.newGroup(u, refs))
			a.Groups[g].Kind = kinds[u]
		}
		id := UnitID(len(a.units))
		a.units = append(a.units, unit{root: u, group: g, refs: refs})
		a.byRoot[u] = id
		a.Groups[g].Units = append(a.Groups[g].Units, id)
	}
	a.orderGroups()
}

// kinds tells of units that are heads or channels of heads.
func (a *Analysis) kinds() map[int32]Kind {
	out := map[int32]Kind{}
	for _, part := range []struct {
		axes [][]label.Label
		kind Kind
	}{{a.Analyzer.HeadDims, HeadDim}, {a.Analyzer.Heads, Heads}} {
		for _, axis := range part.axes {
			for _, x := range axis {
				for _, u := range a.Analyzer.Labels.Units(a.Analyzer.Labels.Norm(x)) {
					out[u] = part.kind
				}
			}
		}
	}
	return out
}

func (a *Analysis) newGroup(u int32, refs []axisRef) Group {
	g := Group{}
	for i, r := range refs {
		c := a.axes[r.axis]
		g.Members = append(g.Members, Member{c.c, c.axis, c.c.Roles[c.axis], i})
	}
	sort.SliceStable(g.Members, func(i, j int) bool { return memberOrder(g.Members[i]) < memberOrder(g.Members[j]) })
	if w := a.Analyzer.Labels.Frozen[u]; w != 0 {
		r := a.Analyzer.Labels.Reasons[w-1]
		g.Frozen, g.Node = r.String(), r.Node
	} else if !slices.ContainsFunc(g.Members, func(m Member) bool { return m.Role == op.Output || m.Role == op.Input || m.Role == op.Norm }) {
		g.Frozen, g.NoLayer = "no layer's channels", true
	}
	g.Tensor = g.first().Const.Name
	return g
}

// memberOrder sorts members by the node that reads them; constants that no layer reads as a weight
// come last.
func memberOrder(m Member) int {
	if m.Const.Order < 0 {
		return 1 << 30
	}
	return m.Const.Order
}

func (a *Analysis) orderGroups() {
	order := make([]int, len(a.Groups))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool {
		return memberOrder(a.Groups[order[i]].Members[0]) < memberOrder(a.Groups[order[j]].Members[0])
	})
	sorted := make([]Group, len(order))
	for to, from := range order {
		sorted[to] = a.Groups[from]
		g := &sorted[to]
		for _, u := range g.Units {
			a.units[u].group = to
		}
		first := g.Members[0].ref
		sort.SliceStable(g.Units, func(i, j int) bool {
			return a.units[g.Units[i]].refs[first].positions[0] < a.units[g.Units[j]].refs[first].positions[0]
		})
	}
	a.Groups = sorted
	a.nameGroups()
}

// NumUnits returns the number of units, frozen ones included.
func (a *Analysis) NumUnits() int { return len(a.units) }

// GroupOf returns the index of a unit's group.
func (a *Analysis) GroupOf(u UnitID) int { return a.units[u].group }

// Positions returns the indices of the unit on a member's axis, in ascending order. They must not
// be changed.
func (a *Analysis) Positions(u UnitID, m Member) []int32 { return a.units[u].refs[m.ref].positions }

// Value returns what is known of a value, nil where the graph has none of that name.
func (a *Analysis) Value(name string) *op.Value { return a.Analyzer.Values[name] }

// Removal is one axis of one constant with the indices that leave.
type Removal struct {
	Tensor  string `json:"tensor"`
	Axis    int    `json:"axis"`
	Indices []int  `json:"indices"`
}

// Removals lists what every constant loses when the given units are removed. A constant that a
// Constant node holds is declared first by an entry without indices, so that readers which turn
// such nodes
// into initializers as they meet them see the tensor before its first cut.
func (a *Analysis) Removals(removed []UnitID) []Removal {
	dead := a.deadPositions(removed)
	var out []Removal
	declared := map[*op.Constant]bool{}
	nodes := map[*onnxio.Tensor]bool{} // that Constant nodes hold, which an Identity may copy
	for _, c := range a.constants {
		nodes[c.Tensor] = nodes[c.Tensor] || c.Node >= 0 && !c.Copy
	}
	for i, c := range a.axes {
		if d := dead[i]; len(d) > 0 {
			if nodes[c.c.Tensor] && !declared[c.c] {
				declared[c.c] = true
				out = append(out, Removal{c.c.Name, 0, []int{}})
			}
			slices.Sort(d)
			out = append(out, Removal{c.c.Name, c.axis, slices.Compact(d)})
		}
	}
	return out
}

func (a *Analysis) deadPositions(removed []UnitID) map[int][]int {
	dead := map[int][]int{}
	for _, u := range removed {
		for _, r := range a.units[u].refs {
			for _, p := range r.positions {
				dead[r.axis] = append(dead[r.axis], int(p))
			}
		}
	}
	return dead
}

// UnitsOf returns the units whose removal removes exactly the given slices; an error names what
// does not fit.
func (a *Analysis) UnitsOf(removals []Removal) ([]UnitID, error) {
	gone := map[constAxis]map[int32]bool{}
	byName := map[string]*op.Constant{}
	for _, c := range a.constants {
		byName[c.Name] = c
	}
	for _, r := range removals {
		c := byName[r.Tensor]
		if c == nil || r.Axis < 0 || r.Axis >= len(c.Roles) {
			return nil, op.Malformed("plan: the model has no constant %q with an axis %d", r.Tensor, r.Axis)
		}
		at := constAxis{c, r.Axis}
		if gone[at] == nil {
			gone[at] = map[int32]bool{}
		}
		for _, i := range r.Indices {
			gone[at][int32(i)] = true
		}
	}
	out := []UnitID{}
	for id, u := range a.units {
		if a.Groups[u.group].Frozen == "" && a.allGone(u, gone) {
			out = append(out, UnitID(id))
		}
	}
	have := map[constAxis]int{}
	for _, r := range a.Removals(out) {
		have[constAxis{byName[r.Tensor], r.Axis}] += len(r.Indices)
	}
	// What the units remove is part of the plan by construction, so equal numbers are equal sets.
	for at, set := range gone {
		if have[at] != len(set) {
			return nil, op.Malformed("plan: the slices of %q axis %d are coupled with slices that the plan does not name", at.c.Name, at.axis)
		}
	}
	return out, nil
}

func (a *Analysis) allGone(u unit, gone map[constAxis]map[int32]bool) bool {
	for _, r := range u.refs {
		set := gone[a.axes[r.axis]]
		for _, p := range r.positions {
			if !set[p] {
				return false
			}
		}
	}
	return true
}

// Weight is a layer's weight with the axes of its output and input channels, -1 where it has none.
type Weight struct {
	Const         *op.Constant
	Output, Input int
}

// Weights lists the constants that layers read as weights, in graph order of the model's constants.
func (a *Analysis) Weights() []Weight {
	var out []Weight
	for _, c := range a.constants {
		w := Weight{Const: c, Output: -1, Input: -1}
		for k, r := range c.Roles {
			switch r {
			case op.Output:
				w.Output = k
			case op.Input:
				w.Input = k
			}
		}
		if w.Output >= 0 || w.Input >= 0 {
			out = append(out, w)
		}
	}
	return out
}

// Unknown counts the nodes whose operator has no rule, by operator.
func (a *Analysis) Unknown() map[string]int {
	out := map[string]int{}
	for _, c := range a.Analyzer.Calls {
		if op.Lookup(c.Node.Domain, c.Node.OpType, c.Version) == nil {
			name := c.Node.OpType
			if c.Node.Domain != "" {
				name = c.Node.Domain + "." + name
			}
			out[name]++
		}
	}
	return out
}

// Constants lists every constant of the graph: initializers, Constant nodes and copies.
func (a *Analysis) Constants() []*op.Constant { return a.constants }

// Replace returns the model with some constants replaced. A copy of a replaced constant that does
// not change becomes a constant of its own.
func (a *Analysis) Replace(changed map[*op.Constant]*onnxio.Tensor) *onnxio.Model {
	m, g := *a.Model, *a.Model.Graph
	g.Nodes, g.Initializers = slices.Clone(g.Nodes), slices.Clone(g.Initializers)
	m.Graph = &g
	origin := map[*onnxio.Tensor]bool{}
	for c := range changed {
		if !c.Copy {
			origin[c.Tensor] = true
		}
	}
	at := map[string]int{}
	for i, t := range g.Initializers {
		at[t.Name] = i
	}
	for _, c := range a.constants {
		t := changed[c]
		if t == nil && c.Copy && c.Tied == nil && origin[c.Tensor] {
			kept := *c.Tensor
			kept.Name = c.Name
			t = &kept
		}
		if t == nil {
			continue
		}
		if i, ok := at[c.Name]; ok && c.Node < 0 {
			g.Initializers[i] = t
			continue
		}
		g.Nodes[c.Node] = onnxio.ConstantNode(c.Name, t)
	}
	return a.Fold(&m)
}

// Removable reports whether pruning can remove a position.
func (a *Analysis) Removable(x label.Label) bool {
	x = a.Analyzer.Labels.Norm(x)
	for _, u := range a.Analyzer.Labels.Units(x) {
		if id, ok := a.byRoot[u]; ok && a.Groups[a.units[id].group].Frozen == "" {
			return true
		}
	}
	return false
}

// GroupOfAxis returns the group of the first position, frozen or not; -1 where it is in none.
func (a *Analysis) GroupOfAxis(axis []label.Label) int {
	if len(axis) == 0 {
		return -1
	}
	for _, u := range a.Analyzer.Labels.Units(a.Analyzer.Labels.Identity(axis[0])) {
		if id, ok := a.byRoot[u]; ok {
			return a.units[id].group
		}
	}
	return -1
}
