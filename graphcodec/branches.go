package graphcodec

import (
	"cmp"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
)

// A branch whose condition is known stands in the analysis in place of its If, so that what stands behind is followed; the file keeps the If where nothing of the branch has changed. Exporters write such branches for squeezes whose
// axis may have another length.

// taken is an If at the top of the graph and the branch that its condition picks.
type taken struct {
	node *onnxio.Node
	body *onnxio.Graph
}

// takes notes that an If's condition is known, whatever is pruned.
func (c *call) takes(body *onnxio.Graph) {
	cond := c.input(0)
	if body != nil && slices.ContainsFunc(body.Initializers, (*onnxio.Tensor).IsExternal) {
		return // those could not be written as nodes
	}
	if c.depth == 0 && !c.reading && body != nil && len(body.Outputs) == len(c.node.Outputs) && len(body.SparseInitializers) == 0 && len(body.Inputs) == 0 && cond.elems[0].taint == nil && cond.elems[0].length == nil {
		c.taken = append(c.taken, taken{c.node, body})
	}
}

// withBranches returns the model with the branches in place of their Ifs, and what stands for calls now; nil where that would be too large.
func withBranches(m *onnxio.Model, calls []expanded, branches []taken) (*onnxio.Model, []expanded) {
	bodies := map[*onnxio.Node]*onnxio.Graph{}
	for _, t := range branches {
		bodies[t.node] = t.body
	}
	in := &inliner{names: map[string]bool{}, nodes: map[string]bool{}}
	in.reserve(m.Graph)
	out, g := *m, *m.Graph
	g.Nodes = nil
	start := make([]int, len(m.Graph.Nodes)+1) // where each node's own begin now
	var own []expanded
	for i, n := range m.Graph.Nodes {
		start[i] = len(g.Nodes)
		body := bodies[n]
		if body == nil {
			g.Nodes = append(g.Nodes, n)
			continue
		}
		g.Nodes = append(g.Nodes, in.branch(body, n)...)
		if !slices.ContainsFunc(calls, func(e expanded) bool { return e.first <= i && i < e.last }) {
			own = append(own, expanded{call: n, first: start[i], last: len(g.Nodes), branch: true})
		}
	}
	start[len(m.Graph.Nodes)] = len(g.Nodes)
	if in.full() {
		return nil, nil
	}
	var all []expanded
	for _, e := range calls {
		e.first, e.last = start[e.first], start[e.last]
		for len(own) > 0 && own[0].first < e.first {
			all, own = append(all, own[0]), own[1:]
		}
		all = append(all, e)
	}
	out.Graph = &g
	return &out, append(all, own...)
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
	n := *e.call
	n.Attributes = slices.Clone(n.Attributes)
	for i, a := range n.Attributes {
		if a.G == nil {
			continue
		}
		if !sh.tolerates(a.G, map[string]bool{}) {
			return nil
		}
		b := *a
		b.G = sh.typed(a.G, &n)
		n.Attributes[i] = &b
	}
	return &n
}

// tolerant are operators, beside element-wise ones of one input, that take whatever shape comes in.
var tolerant = map[string]bool{"Identity": true, "Dropout": true, "Cast": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true, "Flatten": true, "Shape": true, "Size": true, "Softmax": true, "LogSoftmax": true,
	"ReduceMean": true, "ReduceSum": true, "ReduceMax": true}

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
		alike := r != nil && len(n.Inputs) == 1 && strings.HasPrefix(r.note, "element-wise")
		computed := n.OpType == "Reshape" && len(n.Inputs) == 2 && !constants[n.Inputs[1]] && !sh.knows(n.Inputs[1])
		if n.Domain != "" || !alike && !tolerant[n.OpType] && !computed {
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
