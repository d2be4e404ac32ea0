package flatten

import (
	"cmp"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// An If whose condition is known is replaced by the nodes of its taken branch in the analysed model, so that the analysis
// follows them. The written file keeps the If where nothing of the branch has changed. Exporters write such Ifs around a
// Squeeze whose axis may have another length.
//
// An If whose condition is unknown (a decoder with and without a cache in one file) is replaced by the nodes of both
// branches, and then one node for each output. That node is an If whose inputs are the condition and the two values; no
// file has such a node. The written file gets the If back, with the branches as they are now. So weights outside the
// branches that both of them read can be pruned.

// Taken is an If at the top of the graph and the branch that its condition picks, or both.
type Taken struct {
	Node   *onnxio.Node
	Bodies []*onnxio.Graph
}

// WithBranches returns the model with the nodes of the branches in place of their Ifs, and the ranges of nodes that
// replace calls now. Both are nil where the model would be too large, or where nothing was replaced.
func WithBranches(m *onnxio.Model, calls []Expanded, branches []Taken) (*onnxio.Model, []Expanded) {
	bodies := map[*onnxio.Node][]*onnxio.Graph{}
	for _, t := range branches {
		bodies[t.Node] = t.Bodies
	}
	in := &inliner{names: map[string]bool{}, nodes: map[string]bool{}}
	in.reserve(m.Graph)
	out, g := *m, *m.Graph
	g.Nodes = nil
	start := make([]int, len(m.Graph.Nodes)+1) // where each node's own begin now
	var own []Expanded
	opened := false
	for i, n := range m.Graph.Nodes {
		start[i] = len(g.Nodes)
		body := bodies[n]
		inside := body != nil && slices.ContainsFunc(calls, func(e Expanded) bool { return e.First <= i && i < e.Last })
		if body == nil || len(body) == 2 && inside {
			g.Nodes = append(g.Nodes, n)
			continue
		}
		opened = true
		e := Expanded{Call: n, First: start[i], Branch: true}
		if len(body) == 2 {
			e.Parts = in.both(&g, body, n)
		} else {
			g.Nodes = append(g.Nodes, in.branch(body[0], n)...)
		}
		if e.Last = len(g.Nodes); !inside {
			own = append(own, e)
		}
	}
	start[len(m.Graph.Nodes)] = len(g.Nodes)
	if in.full() || !opened {
		return nil, nil
	}
	var all []Expanded
	for _, e := range calls {
		e.First, e.Last = start[e.First], start[e.Last]
		if e.Parts = slices.Clone(e.Parts); e.Parts != nil {
			e.Parts[0], e.Parts[1] = start[e.Parts[0]], start[e.Parts[1]]
		}
		for len(own) > 0 && own[0].First < e.First {
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

// Rebuilt makes the If again whose branches are both among the nodes, with the branches as they are now. The nodes in
// outside have to be put in front of it: they were added and read nothing of the branches, so other nodes may read them.
func (e Expanded) Rebuilt(now []*onnxio.Node, before map[int][]*onnxio.Node, gone map[int]bool) (outside []*onnxio.Node, n *onnxio.Node) {
	own := *e.Call
	own.Attributes = slices.Clone(own.Attributes)
	ends := []int{e.First, e.Parts[0], e.Parts[1]}
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
			v.Name = now[e.Parts[1]+j].Inputs[1+k]
			g.Outputs[j] = &v
		}
		b.G = &g
		own.Attributes[i] = &b
	}
	return outside, &own
}
