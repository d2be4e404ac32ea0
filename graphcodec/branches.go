package graphcodec

import (
	"cmp"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// A branch whose condition is known stands in the analysis in place of its If, so that what stands behind is followed; the file keeps the If where nothing of the branch has changed. Exporters write such branches for squeezes whose
// axis may have another length.
//
// Where the condition is not known (a decoder with and without a cache in one file), both branches stand there, one behind the other, and behind them a node for each output that joins what they give: an If with the condition and
// these two values as inputs, which no file has. The file gets the If back, with the branches as they are now in it. Weights that the branches read from outside can leave then.

// taken is an If at the top of the graph and the branch that its condition picks, or both.
type taken struct {
	node   *onnxio.Node
	bodies []*onnxio.Graph
}

// takes notes the branches of an If that can be looked into: the one that is taken whatever is pruned, or both.
func (c *call) takes(bodies ...*onnxio.Graph) {
	for _, b := range bodies {
		if b == nil || len(b.Outputs) != len(c.node.Outputs) || len(b.SparseInitializers) > 0 || len(b.Inputs) > 0 || slices.ContainsFunc(b.Initializers, (*onnxio.Tensor).IsExternal) {
			return // external initializers could not be written as nodes
		}
	}
	if c.depth == 0 && !c.reading && c.input(0) != nil && (len(bodies) == 1 || !slices.Contains(c.node.Outputs, "")) {
		c.taken = append(c.taken, taken{c.node, bodies})
	}
}

// withBranches returns the model with the branches in place of their Ifs, and what stands for calls now; nil where that would be too large, or nothing new.
func withBranches(m *onnxio.Model, calls []expanded, branches []taken) (*onnxio.Model, []expanded) {
	bodies := map[*onnxio.Node][]*onnxio.Graph{}
	for _, t := range branches {
		bodies[t.node] = t.bodies
	}
	in := &inliner{names: map[string]bool{}, nodes: map[string]bool{}}
	in.reserve(m.Graph)
	out, g := *m, *m.Graph
	g.Nodes = nil
	start := make([]int, len(m.Graph.Nodes)+1) // where each node's own begin now
	var own []expanded
	opened := false
	for i, n := range m.Graph.Nodes {
		start[i] = len(g.Nodes)
		body := bodies[n]
		inside := body != nil && slices.ContainsFunc(calls, func(e expanded) bool { return e.first <= i && i < e.last })
		if body == nil || len(body) == 2 && inside {
			g.Nodes = append(g.Nodes, n)
			continue
		}
		opened = true
		e := expanded{call: n, first: start[i], branch: true}
		if len(body) == 2 {
			e.parts = in.both(&g, body, n)
		} else {
			g.Nodes = append(g.Nodes, in.branch(body[0], n)...)
		}
		if e.last = len(g.Nodes); !inside {
			own = append(own, e)
		}
	}
	start[len(m.Graph.Nodes)] = len(g.Nodes)
	if in.full() || !opened {
		return nil, nil
	}
	var all []expanded
	for _, e := range calls {
		e.first, e.last = start[e.first], start[e.last]
		if e.parts = slices.Clone(e.parts); e.parts != nil {
			e.parts[0], e.parts[1] = start[e.parts[0]], start[e.parts[1]]
		}
		for len(own) > 0 && own[0].first < e.first {
			all, own = append(all, own[0]), own[1:]
		}
		all = append(all, e)
	}
	out.Graph = &g
	return &out, append(all, own...)
}

// both adds an If's branches to the graph, and the nodes that join their outputs. It returns where the second branch begins, and where what joins does.
func (in *inliner) both(g *onnxio.Graph, bodies []*onnxio.Graph, call *onnxio.Node) []int {
	name, at := cmp.Or(call.Name, call.Outputs[0]), make([]int, 2)
	outputs := make([][]string, 2)
	for k, body := range bodies {
		own := *call
		own.Name, own.Outputs = fresh(in.nodes, name+[]string{"/then", "/else"}[k]), nil
		for _, v := range body.Outputs {
			own.Outputs = append(own.Outputs, fresh(in.names, own.Name+"/"+v.Name+"/out"))
		}
		g.Nodes, outputs[k] = append(g.Nodes, in.branch(body, &own)...), own.Outputs
		at[k] = len(g.Nodes)
	}
	for i, out := range call.Outputs {
		g.Nodes = append(g.Nodes, &onnxio.Node{OpType: call.OpType, Name: fresh(in.nodes, name+"/"+out), Inputs: []string{call.Inputs[0], outputs[0][i], outputs[1][i]}, Outputs: []string{out}})
	}
	in.add(g.Nodes[at[1]:])
	return at
}

// joinBranches is what comes out of an If whose condition is not known: what both branches give, as one.
func joinBranches(c *call) {
	cond, a, b := c.input(0), c.input(1), c.input(2)
	if cond == nil || a == nil || b == nil {
		c.unknown("needs a condition and two values")
		return
	}
	for _, v := range []*Value{cond, a, b} {
		c.freezeTaint(v, "depends on the branch that is taken")
	}
	for k := range cond.Shape {
		c.freeze(cond, k, "decides which branch is taken")
	}
	shape, ok := c.both(a, b, c.outName(0))
	if !ok || len(a.seq) > 0 || len(b.seq) > 0 {
		c.freezeValue(a, "depends on the branch that is taken")
		c.freezeValue(b, "depends on the branch that is taken")
		c.comesOut(0, a.Type, shape, ok)
		return
	}
	axes := make([][]label, len(shape))
	for k := range shape {
		if a.Shape[k] == b.Shape[k] {
			c.link(a, k, b, k)
			axes[k] = c.axis(a, k)
			continue
		}
		c.freeze(a, k, "its length depends on the branch that is taken")
		c.freeze(b, k, "its length depends on the branch that is taken")
	}
	y := c.set(0, a.Type, shape, axes...)
	if y.zero = nonZero; c.zeroed(a) == isZero && c.zeroed(b) == isZero {
		y.zero = isZero
	}
}

// branch is the branch's nodes, its initializers as nodes too, with the If's outputs in place.
func (in *inliner) branch(g *onnxio.Graph, call *onnxio.Node) []*onnxio.Node {
	prefix := cmp.Or(call.Name, call.Outputs[0])
	rename := map[string]string{"": ""}
	made := map[string]bool{}
	for _, t := range g.Initializers {
		made[t.Name] = true
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			made[name] = true
		}
	}
	for i, v := range g.Outputs {
		if _, passed := rename[v.Name]; made[v.Name] && !passed && call.Outputs[i] != "" {
			rename[v.Name] = call.Outputs[i]
		}
	}
	own := func(name string) string {
		if _, ok := rename[name]; !ok {
			rename[name] = fresh(in.names, prefix+"/"+name)
		}
		return rename[name]
	}
	var out []*onnxio.Node
	for _, t := range g.Initializers {
		out = append(out, onnxio.ConstantNode(own(t.Name), t))
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			own(name)
		}
	}
	for _, n := range g.Nodes {
		c := renamedNode(n, rename, nil)
		c.Name = fresh(in.nodes, prefix+"/"+cmp.Or(n.Name, n.OpType))
		out = append(out, c)
	}
	for i, v := range g.Outputs { // what is handed on from outside, or twice
		from := cmp.Or(rename[v.Name], v.Name)
		if to := call.Outputs[i]; to != "" && to != from {
			out = append(out, &onnxio.Node{OpType: "Identity", Name: fresh(in.nodes, prefix+"/"+v.Name), Inputs: []string{from}, Outputs: []string{to}})
		}
	}
	in.add(out)
	return out
}

// add counts nodes that were made.
func (in *inliner) add(nodes []*onnxio.Node) {
	in.count += len(nodes)
	for _, n := range nodes {
		in.bytes += len(n.Name)
		for _, name := range slices.Concat(n.Inputs, n.Outputs) {
			in.bytes += len(name)
		}
	}
}

// kept is the If of a branch that has not changed itself, with the types of its bodies as they are now; nil where a body could contradict what comes in.
func (sh *shrinker) kept(e expanded) *onnxio.Node {
	if !e.branch || !sh.touches(e.call) {
		return e.call
	}
	if e.parts != nil {
		return nil
	}
	n := *e.call
	n.Attributes = slices.Clone(n.Attributes)
	for _, a := range n.Attributes {
		if a.G != nil && !sh.tolerates(a.G, map[string]bool{}) {
			return nil
		}
	}
	sh.retype(&n)
	return &n
}

// retype gives the bodies of an If, whose attributes it may change, the types that they have now.
func (sh *shrinker) retype(n *onnxio.Node) {
	for i, a := range n.Attributes {
		if a.G != nil {
			b := *a
			b.G = sh.typed(a.G, n)
			n.Attributes[i] = &b
		}
	}
}

// rebuilt is an If of which both branches stand among the nodes, with them as they are now, and what has to stand in front of it: added nodes that read nothing of the branches, which others may read too.
func (e expanded) rebuilt(now []*onnxio.Node, before map[int][]*onnxio.Node, gone map[int]bool) (outside []*onnxio.Node, n *onnxio.Node) {
	own := *e.call
	own.Attributes = slices.Clone(own.Attributes)
	ends := []int{e.first, e.parts[0], e.parts[1]}
	for i, a := range own.Attributes {
		k := slices.Index([]string{"then_branch", "else_branch"}, a.Name)
		if k < 0 || a.G == nil {
			continue
		}
		b, g := *a, *a.G
		g.Initializers, g.ValueInfos, g.Nodes, g.Outputs = nil, nil, nil, slices.Clone(g.Outputs)
		made := map[string]bool{}
		add := func(n *onnxio.Node) {
			g.Nodes = append(g.Nodes, n)
			for _, name := range n.Outputs {
				made[name] = true
			}
		}
		for at := ends[k]; at < ends[k+1]; at++ {
			for _, n := range before[at] {
				if slices.ContainsFunc(n.Inputs, func(name string) bool { return made[name] }) {
					add(n)
				} else {
					outside = append(outside, n)
				}
			}
			if !gone[at] {
				add(now[at])
			}
		}
		for j := range g.Outputs {
			v := *g.Outputs[j]
			v.Name = now[e.parts[1]+j].Inputs[1+k]
			g.Outputs[j] = &v
		}
		b.G = &g
		own.Attributes[i] = &b
	}
	return outside, &own
}

// tolerates reports whether no node of a body can contradict shapes that have changed; changed are the body's own values that follow from them.
func (sh *shrinker) tolerates(g *onnxio.Graph, changed map[string]bool) bool {
	constants := map[string]bool{}
	for _, t := range g.Initializers {
		constants[t.Name] = true
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			constants[name] = n.OpType == "Constant"
		}
		hit := false
		for name := range readers(&onnxio.Graph{Nodes: []*onnxio.Node{n}}) {
			hit = hit || changed[name] || sh.resized(name)
		}
		if !hit {
			continue
		}
		r := lookup(n.Domain, n.OpType, sh.old.an.versions[""])
		alike := r != nil && r.ElementWise && len(n.Inputs) == 1
		computed := n.OpType == "Reshape" && len(n.Inputs) == 2 && !constants[n.Inputs[1]] && !sh.knows(n.Inputs[1])
		if n.Domain != "" || !alike && !Describe("", n.OpType).AnyShape && !computed {
			return false
		}
		for _, name := range n.Outputs {
			changed[name] = true
		}
	}
	return true
}

// knows reports whether a value from outside has contents that ONNX's shape inference could see.
func (sh *shrinker) knows(name string) bool {
	v := sh.an.values[name]
	return v != nil && v.elems != nil
}

// resized reports whether a value of the graph has another shape now.
func (sh *shrinker) resized(name string) bool {
	old, now := sh.old.an.values[name], sh.an.values[name]
	return old != nil && (now == nil || !slices.Equal(old.Shape, now.Shape))
}

// touches reports whether a value that the node or its bodies read, or that comes out, has another shape now.
func (sh *shrinker) touches(n *onnxio.Node) bool {
	names := readers(&onnxio.Graph{Nodes: []*onnxio.Node{n}})
	for _, name := range n.Outputs {
		names[name] = true
	}
	for name := range names {
		if sh.resized(name) {
			return true
		}
	}
	return false
}

// typed is a body without the shapes that were noted in it; outputs keep their ranks, and the dims that stay.
func (sh *shrinker) typed(g *onnxio.Graph, n *onnxio.Node) *onnxio.Graph {
	out := *g
	out.ValueInfos, out.Outputs = nil, slices.Clone(g.Outputs)
	for i, info := range g.Outputs {
		dims, ok := declared(info)
		if i >= len(n.Outputs) || !ok {
			continue
		}
		old, now := sh.old.an.values[n.Outputs[i]], sh.an.values[n.Outputs[i]]
		v, t, tt, s := *info, *info.Type, *info.Type.Tensor, *info.Type.Tensor.Shape
		v.Type, t.Tensor, tt.Shape = &t, &tt, &s
		s.Dims = slices.Clone(s.Dims)
		for k := range dims {
			if old == nil || now == nil || len(dims) != len(old.Shape) || len(now.Shape) != len(old.Shape) || old.Shape[k] != now.Shape[k] {
				s.Dims[k] = &onnxio.Dim{}
			}
		}
		out.Outputs[i] = &v
	}
	return &out
}
