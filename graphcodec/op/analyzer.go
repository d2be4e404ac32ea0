package op

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Analyzer holds the state of one interpretation of a graph.
type Analyzer struct {
	model     *onnxio.Model
	Versions  map[string]int64
	Values    map[string]*Value
	Order     []*Value // as they came into being
	Infos     map[string]*onnxio.ValueInfo
	Labels    *label.Labels
	Calls     []*Call
	traces    map[*Value]*trace
	points    map[*Value]*Value // zero points of quantised values, where they are not 0
	scales    map[*Value]*Value // computed scales of activations, with the scale of a weight that they were multiplied with (nil: none)
	integers  map[*Value]*integerProduct
	flat      map[*Value]*Value // values [N, 1, L] in a normalisation over all channels, and what was flattened
	Readings  map[*onnxio.Tensor]Reading
	Splits    []label.SplitRecord
	Funcs     map[string]bool
	Bodies    map[*onnxio.Node]bool     // nodes that come from a function: their constants are not the model's to cut
	Heads     [][]label.Label           // axes that activations are multiplied along as a batch: heads of an attention
	HeadDims  [][]label.Label           // axes of such a product's matrices: channels of a head
	readers   map[string][]*onnxio.Node // made when first asked for
	zeros     map[string]bool           // vectors of zeros, by name, that several nodes read
	given     map[string]bool           // the graph's inputs, which whoever runs the model may set
	Taken     []flatten.Taken           // Ifs whose branch is known
	makers    map[*Value]*Call          // of the first outputs of calls, as far as made
	made      int
	Concealed map[*onnxio.Node]bool // nodes that come from a branch: static shape inference does not look into it
	Seen      *onnxio.Model         // what static shape inference sees: the model with its Ifs
	reading   bool                  // as a reader of the file, see reader.go
	view      *Analyzer             // the results of static shape inference, made when first asked for
	sizes     map[string][]int64    // of inputs, where the rules run with numbers for free ones
	symbols   map[string]int64      // numbers for free sizes in what the file declares
	outer     *Analyzer             // of the graph around a body
	depth     int                   // of bodies in bodies
	budget    *int                  // nodes that may still be run in bodies
	counted   map[*label.Label]bool // axes that have been counted
	labelled  int                   // their positions
	Broken    error                 // what stopped a rule: the model contradicts itself
}

// NewAnalyzer prepares the rules for a model; Begin has to be called before the first node.
func NewAnalyzer(m *onnxio.Model) *Analyzer {
	a := &Analyzer{model: m, Versions: map[string]int64{}, Values: map[string]*Value{}, Infos: map[string]*onnxio.ValueInfo{},
		Labels: label.New(), traces: map[*Value]*trace{}, points: map[*Value]*Value{}, scales: map[*Value]*Value{}, integers: map[*Value]*integerProduct{}, flat: map[*Value]*Value{}, Readings: map[*onnxio.Tensor]Reading{}, Funcs: map[string]bool{}, Bodies: map[*onnxio.Node]bool{}, budget: new(int), counted: map[*label.Label]bool{}}
	*a.budget = maxBodyNodes
	for _, o := range m.OpsetImport {
		domain := o.Domain
		if domain == "ai.onnx" {
			domain = ""
		}
		a.Versions[domain] = o.Version
	}
	for _, v := range m.Graph.ValueInfos {
		a.Infos[v.Name] = v
	}
	for _, v := range m.Graph.Outputs {
		a.Infos[v.Name] = v
	}
	for _, f := range m.Functions {
		a.Funcs[f.Domain+":"+f.Name] = true
	}
	return a
}

// affordable counts the positions of an axis when it is first met and reports whether all are still
// within maxLabels.
func (a *Analyzer) affordable(axis []label.Label) bool {
	if !a.counted[&axis[0]] {
		if a.labelled+len(axis) > maxLabels {
			return false
		}
		a.counted[&axis[0]] = true
		a.labelled += len(axis)
	}
	return true
}

func (a *Analyzer) add(v *Value) *Value {
	a.Values[v.Name] = v
	a.Order = append(a.Order, v)
	return v
}

// Begin puts initializers and graph inputs in place.
func (a *Analyzer) Begin() error {
	g := a.model.Graph
	a.given = map[string]bool{}
	for _, in := range g.Inputs {
		a.given[in.Name] = true
	}
	for i, t := range g.Initializers {
		if err := checkTensor(t); err != nil {
			return fmt.Errorf("graph.initializer[%d]: %w", i, err)
		}
		if _, ok := a.Values[t.Name]; ok {
			return Malformed("graph.initializer[%d] %q: the name is used twice", i, t.Name)
		}
		v := a.add(constValue(t.Name, t, -1))
		if v.Type == onnxio.Bool && a.model.IRVersion >= 4 && a.given[t.Name] {
			v.Elements = nil // a flag that whoever runs the model may set
		}
	}
	for _, s := range g.SparseInitializers {
		if s.Values == nil {
			continue
		}
		v := a.add(&Value{Name: s.Values.Name, Type: s.Values.DataType, Ranked: true})
		for _, d := range s.Dims {
			v.Shape = append(v.Shape, dim.Num(d))
		}
		v.Axes = make([][]label.Label, len(v.Shape))
	}
	seen := map[string]bool{}
	for i, in := range g.Inputs {
		if seen[in.Name] {
			return Malformed("graph.input[%d] %q: the name is used twice", i, in.Name)
		}
		seen[in.Name] = true
		if a.Values[in.Name] != nil {
			continue
		}
		v := a.add(&Value{Name: in.Name, zero: nonZero, Plain: true})
		if in.Type != nil && in.Type.Tensor != nil {
			v.Type = in.Type.Tensor.ElemType
		}
		v.Shape, v.Ranked = dim.Declared(in)
		if dims := a.sizes[in.Name]; dims != nil {
			v.Shape, v.Ranked = dim.Of(dims), true
		}
		v.Axes = make([][]label.Label, len(v.Shape))
	}
	return nil
}

// Malformed is the error of a model that contradicts itself.
func Malformed(format string, args ...any) error {
	return &onnxio.FormatError{Offset: -1, Err: fmt.Errorf(format, args...)}
}

// checkTensor compares a tensor's dims with the data that is there.
func checkTensor(t *onnxio.Tensor) error {
	if !t.DataType.Known() {
		return Malformed("tensor %q: element type %d is unknown", t.Name, int32(t.DataType))
	}
	n, err := t.NumElements()
	if err != nil {
		return err
	}
	if t.DataType == onnxio.String {
		if int64(len(t.StringData)) != n {
			return Malformed("tensor %q: %d strings for dims %v", t.Name, len(t.StringData), t.Dims)
		}
		return nil
	}
	if t.Lazy != nil {
		return checkLazy(t)
	}
	_, err = t.Bytes()
	return err
}

// checkLazy compares sizes without producing the data.
func checkLazy(t *onnxio.Tensor) error {
	size, err := t.ByteSize()
	if err == nil && size != t.Lazy.Size() {
		return Malformed("tensor %q: %d bytes for %s%v", t.Name, t.Lazy.Size(), t.DataType, t.Dims)
	}
	return err
}

// Prepare makes the call of a node: its inputs resolved, its outputs entered as unknown values.
func (a *Analyzer) Prepare(i int, n *onnxio.Node) (*Call, error) {
	domain := n.Domain
	if domain == "ai.onnx" {
		domain = ""
	}
	c := &Call{Analyzer: a, Node: n, Index: i, Version: a.Versions[domain]}
	for k, name := range n.Inputs {
		if name == "" {
			c.In = append(c.In, nil)
			continue
		}
		v, ok := a.Values[name]
		if !ok {
			v = a.fromOutside(name)
		}
		if v == nil {
			return nil, Malformed("graph.node[%d] %q (%s): input %d %q is neither an initializer, a graph input nor a node's output", i, n.Name, n.OpType, k, name)
		}
		c.In = append(c.In, a.ownZeros(n, v))
	}
	for _, name := range n.Outputs {
		if name == "" {
			c.Out = append(c.Out, nil)
			continue
		}
		if _, ok := a.Values[name]; ok {
			return nil, Malformed("graph.node[%d] %q (%s): output %q is produced twice", i, n.Name, n.OpType, name)
		}
		c.Out = append(c.Out, a.add(&Value{Name: name}))
	}
	return c, nil
}

// Run applies the node's rule.
func (a *Analyzer) Run(c *Call) {
	a.freezeCaptured(c)
	domain := c.Node.Domain
	if domain == "ai.onnx" {
		domain = ""
	}
	c.readsTensors()
	r := Lookup(c.Node.Domain, c.Node.OpType, c.Version)
	switch {
	case a.Funcs[c.Node.Domain+":"+c.Node.OpType]:
		c.unknown("is a function of the model that is not analysed")
	case r == nil && LayoutDomains[domain]:
		c.unknown("operator %s.%s is for one processor; %s", domain, c.Node.OpType, SaveExtended)
	case r == nil && domain != "":
		c.unknown("no rule for operator %s.%s", domain, c.Node.OpType)
	case r == nil:
		c.unknown("no rule for operator %s (opset %d)", c.Node.OpType, c.Version)
	default:
		r.Infer(c)
		c.followIntegers()
		c.signs()
		c.passPoints()
		c.handleLeaks()
	}
	static, plain := c.static(), c.shapeKnown(func(v *Value) (bool, bool) { return v.Plain, v.Const != nil && !v.copiedIntegers() })
	if c.Blind || domain != "" || c.Op().Static.Opaque || a.Concealed[c.Node] || c.Node.OpType == "Compress" {
		plain = false
	}
	if a.reading {
		c.forget(domain)
	}
	for _, v := range c.Out {
		if v != nil {
			v.Static, v.Plain = v.Static || static, v.Plain || plain
			a.refine(v)
		}
	}
	if c.MACs != nil {
		c.MACs.Kind = c.work()
	}
	a.Calls = append(a.Calls, c)
}

// stands reports whether a node is part of the file's main graph, not of a body, a function or a
// branch.
func (a *Analyzer) stands(n *onnxio.Node) bool {
	return a.outer == nil && !a.Bodies[n] && !a.Concealed[n]
}

// static reports whether all inputs are computed from constants alone.
func (c *Call) static() bool {
	for _, v := range c.In {
		if v != nil && !v.Static {
			return false
		}
	}
	return len(c.In) > 0
}

// shapeKnown reports whether the outputs' shapes follow from the inputs': known tells of an input
// whether its shape is known and whether its contents are.
func (c *Call) shapeKnown(known func(v *Value) (shape, contents bool)) bool {
	for i, v := range c.In {
		if v == nil {
			continue
		}
		shape, contents := known(v)
		if !shape || (i > 0 && c.shapeIn.Has(i) && !contents) {
			return false
		}
	}
	return true
}

// handleLeaks pins inputs through which the length of a cut axis would flow into data.
func (c *Call) handleLeaks() {
	for i, v := range c.In {
		if v == nil || c.shapeIn.Has(i) || !v.tainted() {
			continue
		}
		if v.pinnable() {
			c.Pins.set(i, true)
			continue
		}
		c.freezeTaint(v, "the length of the axis is used as a number here")
	}
}

// pinnable reports whether the contents can be written as a constant.
func (v *Value) pinnable() bool {
	if !v.Type.IsInteger() && !v.Type.IsFloat() {
		return false
	}
	_, ok := v.floats()
	return ok
}

// refine takes numbers for untracked symbolic dims from what the model declares.
func (a *Analyzer) refine(v *Value) {
	info := a.Infos[v.Name]
	if info == nil {
		return
	}
	dims, ok := a.declared(info)
	if !v.Ranked && ok {
		v.Shape, v.Ranked, v.Axes = dims, true, make([][]label.Label, len(dims))
		v.zero = nonZero
	}
	if v.Type == onnxio.Undefined && info.Type != nil && info.Type.Tensor != nil {
		v.Type = info.Type.Tensor.ElemType
	}
	if !ok || len(dims) != len(v.Shape) {
		return
	}
	v.Plain, v.Shape = true, slices.Clone(v.Shape) // which the rule may have taken from an input
	for k, d := range dims {
		if d.IsNum() && !v.Shape[k].IsNum() {
			v.Shape[k] = d
		}
	}
}

// declared is what the file says of a value's shape, with numbers for free sizes that have one.
func (a *Analyzer) declared(info *onnxio.ValueInfo) ([]dim.Dim, bool) {
	dims, ok := dim.Declared(info)
	for k, d := range dims {
		if n := a.symbols[d.Sym]; n > 0 && d.N == 1 {
			dims[k] = dim.Num(n)
		}
	}
	return dims, ok
}

// freezeCaptured freezes every outer value that a subgraph of the node reads.
func (a *Analyzer) freezeCaptured(c *Call) {
	for _, at := range c.Node.Attributes {
		for _, g := range at.Subgraphs() {
			a.captured(c, g, map[string]bool{})
		}
	}
}

func (a *Analyzer) captured(c *Call, g *onnxio.Graph, inner map[string]bool) {
	own := map[string]bool{}
	for k := range inner {
		own[k] = true
	}
	for _, v := range g.Inputs {
		own[v.Name] = true
	}
	for _, t := range g.Initializers {
		own[t.Name] = true
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			own[name] = true
		}
	}
	use := func(name string) {
		if v := a.Values[name]; v != nil && !own[name] {
			c.freezeValue(v, "read inside a subgraph")
		}
	}
	for _, n := range g.Nodes {
		for _, name := range n.Inputs {
			use(name)
		}
		for _, at := range n.Attributes {
			for _, sub := range at.Subgraphs() {
				a.captured(c, sub, own)
			}
		}
	}
	for _, v := range g.Outputs {
		use(v.Name)
	}
}

// End freezes the graph's outputs.
func (a *Analyzer) End() error {
	for i, o := range a.model.Graph.Outputs {
		v, ok := a.Values[o.Name]
		if !ok {
			return Malformed("graph.output[%d] %q is produced by nothing", i, o.Name)
		}
		why := int32(0)
		freeze := func(x []label.Label) {
			if why == 0 {
				why = a.Labels.Reason(label.Reason{Text: fmt.Sprintf("graph output %s", o.Name)})
			}
			a.Labels.FreezeAll(x, why)
		}
		v.eachAxis(freeze)
	}
	return nil
}

// eachAxis visits the labels of a value's axes, of those that its contents depend on, and of a
// sequence's items.
func (v *Value) eachAxis(visit func(axis []label.Label)) {
	for k := range v.Shape {
		if v.Const != nil {
			visit(v.Const.Axes[k])
		} else if v.Axes != nil {
			visit(v.Axes[k])
		}
	}
	for _, e := range v.Elements {
		for _, t := range e.taint {
			visit(t)
		}
	}
	for _, item := range v.seq {
		item.eachAxis(visit)
	}
}

// Sorted returns the nodes' indices in an order in which every value is produced before it is read,
// constants first: so that they are there for rules that look ahead, as initializers are.
func Sorted(g *onnxio.Graph) ([]int, error) {
	producer := map[string]int{}
	for i, n := range g.Nodes {
		for _, o := range n.Outputs {
			if _, twice := producer[o]; twice {
				return nil, Malformed("graph.node[%d] %q (%s): output %q is produced twice", i, n.Name, n.OpType, o)
			}
			if o != "" {
				producer[o] = i
			}
		}
	}
	state := make([]int8, len(g.Nodes)) // 1: being visited, 2: done
	order := make([]int, 0, len(g.Nodes))
	type frame struct {
		node int
		deps []string
	}
	for start := range g.Nodes {
		stack := []frame{}
		push := func(i int) {
			state[i] = 1
			stack = append(stack, frame{i, dependencies(g.Nodes[i])})
		}
		if state[start] == 0 {
			push(start)
		}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.deps) == 0 {
				state[top.node] = 2
				order = append(order, top.node)
				stack = stack[:len(stack)-1]
				continue
			}
			name := top.deps[0]
			top.deps = top.deps[1:]
			p, ok := producer[name]
			switch {
			case !ok || state[p] == 2:
			case state[p] == 1:
				n := g.Nodes[p]
				return nil, Malformed("graph.node[%d] %q (%s): is part of a cycle through %q", p, n.Name, n.OpType, name)
			default:
				push(p)
			}
		}
	}
	return constantsFirst(g, order), nil
}

// constantsFirst moves Constant nodes and Identity nodes over constants to the front.
func constantsFirst(g *onnxio.Graph, order []int) []int {
	known := map[string]bool{}
	for _, t := range g.Initializers {
		known[t.Name] = true
	}
	var first, rest []int
	for _, i := range order {
		n := g.Nodes[i]
		if n.Domain == "" && (n.OpType == "Constant" || n.OpType == "Identity" && len(n.Inputs) == 1 && known[n.Inputs[0]]) {
			for _, o := range n.Outputs {
				known[o] = true
			}
			first = append(first, i)
			continue
		}
		rest = append(rest, i)
	}
	return append(first, rest...)
}

// dependencies returns the names that a node and its subgraphs read.
func dependencies(n *onnxio.Node) []string {
	out := append([]string(nil), n.Inputs...)
	for _, a := range n.Attributes {
		for _, g := range a.Subgraphs() {
			own := map[string]bool{}
			for _, m := range g.Nodes {
				for _, o := range m.Outputs {
					own[o] = true
				}
			}
			for _, m := range g.Nodes {
				for _, d := range dependencies(m) {
					if !own[d] {
						out = append(out, d)
					}
				}
			}
			for _, o := range g.Outputs {
				if !own[o.Name] {
					out = append(out, o.Name)
				}
			}
		}
	}
	return out
}

// ReadersOf returns the nodes that read a value.
func (a *Analyzer) ReadersOf(name string) []*onnxio.Node {
	if a.readers == nil {
		a.readers = map[string][]*onnxio.Node{}
		for _, n := range a.model.Graph.Nodes {
			for _, in := range n.Inputs {
				a.readers[in] = append(a.readers[in], n)
			}
		}
	}
	return a.readers[name]
}

// At runs the rules with sizes for the inputs. An error there only means that more is unknown.
func (a *Analyzer) At(sizes map[string][]int64, symbols map[string]int64) (s *Analyzer) {
	s = NewAnalyzer(a.model)
	s.Seen, s.sizes, s.symbols = a.Seen, sizes, symbols
	s.Bodies, s.Concealed, s.Labels.Flat = a.Bodies, a.Concealed, true
	defer func() { _ = recover() }()
	order, err := Sorted(a.model.Graph)
	if err != nil || s.Begin() != nil {
		return s
	}
	for _, i := range order {
		c, err := s.Prepare(i, a.model.Graph.Nodes[i])
		if err != nil {
			return s
		}
		s.Run(c)
		s.Broken = nil
	}
	return s
}

// Caught turns a panic over a model that no rule foresaw into an error.
func Caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the analysis failed: %v; please report this model", p)
	}
}
