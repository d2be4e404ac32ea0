package flatten

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/metaprune/metaprune/onnxio"
)

// maxInlined and maxInlinedBytes bound what functions are expanded to, so that a small file of functions that call one another cannot ask for unbounded memory.
const (
	maxInlined      = 1 << 20
	maxInlinedBytes = 1 << 26 // of names
)

// Expanded is a call of a function of the model, or an If whose branch is known, and the nodes from first up to last that replace it.
type Expanded struct {
	Call        *onnxio.Node
	First, Last int
	Branch      bool
	Parts       []int // of an If of which both branches are among the nodes: where the second one begins, and where they are joined
}

// Inline returns the model with calls of its own functions replaced by their bodies, and which nodes they are; the model itself where it has none. A function whose operator sets differ from the model's, or that calls itself, stays a
// call, which the analysis freezes.
func Inline(m *onnxio.Model) (*onnxio.Model, []Expanded) {
	if len(m.Functions) == 0 {
		return m, nil
	}
	in := &inliner{functions: map[functionKey]*onnxio.Function{}, names: map[string]bool{}, nodes: map[string]bool{}, open: map[functionKey]bool{}}
	versions := map[string]int64{}
	for _, o := range m.OpsetImport {
		versions[o.Domain] = o.Version
	}
	own := map[functionKey]bool{}
	for _, f := range m.Functions {
		own[functionKey{f.Domain, f.Name, f.Overload}] = true
	}
	for _, f := range m.Functions {
		if fits(f, versions, own) {
			in.functions[functionKey{f.Domain, f.Name, f.Overload}] = f
		}
	}
	in.reserve(m.Graph)
	out, g := *m, *m.Graph
	g.Nodes = nil
	var calls []Expanded
	for _, n := range m.Graph.Nodes {
		first := len(g.Nodes)
		g.Nodes = append(g.Nodes, in.expand([]*onnxio.Node{n})...)
		if len(g.Nodes) != first+1 || g.Nodes[first] != n {
			calls = append(calls, Expanded{Call: n, First: first, Last: len(g.Nodes)})
		}
	}
	if in.full() {
		return m, nil
	}
	out.Graph = &g
	return &out, calls
}

// functionKey tells functions apart by domain, name and overload, any of which may contain any sign.
type functionKey [3]string

// fits reports whether a function's body means the same among the model's nodes: the operators that it uses, but for functions of the model, are of the same operator sets.
func fits(f *onnxio.Function, versions map[string]int64, own map[functionKey]bool) bool {
	used := map[string]bool{}
	Domains(f.Nodes, own, used)
	for _, o := range f.OpsetImport {
		if v, ok := versions[o.Domain]; used[o.Domain] && (ok && v != o.Version || !ok && (o.Domain == "" || o.Domain == "ai.onnx")) {
			return false
		}
	}
	return true
}

// Domains notes those of the nodes, and of their subgraphs' nodes, that do not call one of the model's own functions.
func Domains(nodes []*onnxio.Node, own map[functionKey]bool, used map[string]bool) {
	for _, n := range nodes {
		used[n.Domain] = used[n.Domain] || !own[functionKey{n.Domain, n.OpType, n.Overload}]
		for _, a := range n.Attributes {
			for _, g := range slices.Concat([]*onnxio.Graph{a.G}, a.Graphs) {
				if g != nil {
					Domains(g.Nodes, own, used)
				}
			}
		}
	}
}

type inliner struct {
	functions map[functionKey]*onnxio.Function
	names     map[string]bool      // of values
	nodes     map[string]bool      // names of nodes
	open      map[functionKey]bool // functions being expanded
	count     int
	bytes     int // of names
}

func (in *inliner) full() bool { return in.count > maxInlined || in.bytes > maxInlinedBytes }

func (in *inliner) reserve(g *onnxio.Graph) {
	for _, v := range slices.Concat(g.Inputs, g.Outputs, g.ValueInfos) {
		in.names[v.Name] = true
	}
	for _, t := range g.Initializers {
		in.names[t.Name] = true
	}
	for _, n := range g.Nodes {
		in.nodes[n.Name] = true
		for _, name := range n.Outputs {
			in.names[name] = true
		}
	}
}

// fresh returns a name that is not in use, and takes it.
func fresh(used map[string]bool, base string) string {
	name := base
	for i := 1; used[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	used[name] = true
	return name
}

// expand replaces calls, those in the bodies too.
func (in *inliner) expand(nodes []*onnxio.Node) []*onnxio.Node {
	var out []*onnxio.Node
	for _, n := range nodes {
		key := functionKey{n.Domain, n.OpType, n.Overload}
		f := in.functions[key]
		if f == nil || in.open[key] || in.full() || len(n.Inputs) > len(f.Inputs) || len(n.Outputs) > len(f.Outputs) {
			out = append(out, n)
			continue
		}
		in.open[key] = true
		out = append(out, in.expand(in.body(f, n))...)
		in.open[key] = false
	}
	return out
}

// body is the function's nodes with the call's inputs, outputs and attributes in place.
func (in *inliner) body(f *onnxio.Function, call *onnxio.Node) []*onnxio.Node {
	prefix := call.Name
	if prefix == "" {
		prefix = slices.Concat(call.Outputs, []string{f.Name})[0]
	}
	rename := map[string]string{"": ""}
	for i, name := range f.Inputs {
		rename[name] = ""
		if i < len(call.Inputs) {
			rename[name] = call.Inputs[i]
		}
	}
	for i, name := range f.Outputs {
		if _, passed := rename[name]; !passed && i < len(call.Outputs) && call.Outputs[i] != "" {
			rename[name] = call.Outputs[i]
		}
	}
	given := map[string]*onnxio.Attribute{}
	for _, a := range slices.Concat(f.Defaults, call.Attributes) {
		given[a.Name] = a
	}
	for _, n := range f.Nodes {
		for _, name := range n.Outputs {
			if _, ok := rename[name]; !ok {
				rename[name] = fresh(in.names, prefix+"/"+name)
			}
		}
	}
	var out []*onnxio.Node
	for _, n := range f.Nodes {
		c := renamedNode(n, rename, given)
		c.Name = fresh(in.nodes, prefix+"/"+cmp.Or(n.Name, n.OpType))
		out = append(out, c)
	}
	for i, name := range f.Outputs { // an input that is handed on
		if i < len(call.Outputs) && call.Outputs[i] != "" && rename[name] != call.Outputs[i] {
			out = append(out, &onnxio.Node{OpType: "Identity", Name: fresh(in.nodes, prefix+"/"+name), Inputs: []string{rename[name]}, Outputs: []string{call.Outputs[i]}})
		}
	}
	in.add(out)
	return out
}

// renamedNode is a copy of a node with other names of values and with attributes that refer to the function's resolved.
func renamedNode(n *onnxio.Node, rename map[string]string, given map[string]*onnxio.Attribute) *onnxio.Node {
	c := *n
	c.Inputs, c.Outputs, c.Attributes = renamed(n.Inputs, rename), renamed(n.Outputs, rename), nil
	for _, a := range n.Attributes {
		switch {
		case a.RefName != "":
			if own := given[a.RefName]; own != nil {
				b := *own
				b.Name = a.Name
				c.Attributes = append(c.Attributes, &b)
			}
		case a.G != nil || len(a.Graphs) > 0:
			b := *a
			if a.G != nil {
				b.G = renamedGraph(a.G, rename, given)
			}
			b.Graphs = nil
			for _, g := range a.Graphs {
				b.Graphs = append(b.Graphs, renamedGraph(g, rename, given))
			}
			c.Attributes = append(c.Attributes, &b)
		default:
			c.Attributes = append(c.Attributes, a)
		}
	}
	return &c
}

// renamedGraph renames what a subgraph reads from outside; its own names hide those.
func renamedGraph(g *onnxio.Graph, rename map[string]string, given map[string]*onnxio.Attribute) *onnxio.Graph {
	inner := maps.Clone(rename)
	for _, v := range g.Inputs {
		delete(inner, v.Name)
	}
	for _, t := range g.Initializers {
		delete(inner, t.Name)
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			delete(inner, name)
		}
	}
	c := *g
	c.Nodes, c.Outputs = nil, nil
	for _, n := range g.Nodes {
		c.Nodes = append(c.Nodes, renamedNode(n, inner, given))
	}
	for _, v := range g.Outputs {
		o := *v
		if name, ok := inner[v.Name]; ok {
			o.Name = name
		}
		c.Outputs = append(c.Outputs, &o)
	}
	return &c
}

func renamed(names []string, rename map[string]string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		if to, ok := rename[name]; ok {
			out[i] = to
		}
	}
	return out
}
