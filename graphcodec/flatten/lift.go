package flatten

import (
	"cmp"
	"maps"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Weights inside the branches of an If whose condition is not known have no name at the top of the graph, which a plan could give them. Moved out into the graph's own initializers, which branches may read, they are as any others;
// the branches compute what they did, and nothing is computed that was not before.

// Lift returns the model with the weights of such branches among its initializers; the model itself where there are none.
func Lift(m *onnxio.Model) *onnxio.Model {
	in := &inliner{names: map[string]bool{}, nodes: map[string]bool{}}
	in.reserveAll(m.Graph)
	out, g := *m, *m.Graph
	g.Nodes, g.Initializers = slices.Clone(g.Nodes), slices.Clone(g.Initializers)
	var first []*onnxio.Node // in front of all others, where initializers have to be inputs
	moved := false
	for i, n := range g.Nodes {
		if n.Domain != "" || n.OpType != "If" {
			continue
		}
		c := *n
		c.Attributes = slices.Clone(n.Attributes)
		for k, a := range n.Attributes {
			if a.G == nil {
				continue
			}
			body, weights := in.lift(a.G, cmp.Or(n.Name, slices.Concat(n.Outputs, []string{"If"})[0])+"/"+a.Name)
			if len(weights) == 0 {
				continue
			}
			b := *a
			b.G, c.Attributes[k], moved = body, &b, true
			for _, t := range weights {
				if m.IRVersion < 4 && !t.IsExternal() {
					first = append(first, onnxio.ConstantNode(t.Name, t))
				} else {
					g.Initializers = append(g.Initializers, t)
				}
			}
		}
		g.Nodes[i] = &c
	}
	if !moved {
		return m
	}
	g.Nodes, out.Graph = append(first, g.Nodes...), &g
	return &out
}

// reserveAll takes the names of the graph and of all graphs inside it.
func (in *inliner) reserveAll(g *onnxio.Graph) {
	in.reserve(g)
	for _, n := range g.Nodes {
		for _, a := range n.Attributes {
			for _, body := range a.Subgraphs() {
				in.reserveAll(body)
			}
		}
	}
}

// lift returns a body without its weights, and these under names that are not in use.
func (in *inliner) lift(g *onnxio.Graph, prefix string) (*onnxio.Graph, []*onnxio.Tensor) {
	rename, out := map[string]string{}, *g
	var weights []*onnxio.Tensor
	take := func(name string, t *onnxio.Tensor) bool {
		own := slices.ContainsFunc(g.Outputs, func(v *onnxio.ValueInfo) bool { return v.Name == name })
		if own || t == nil || len(t.Dims) == 0 || t.DataType == onnxio.Int64 || t.DataType == onnxio.Int32 || t.DataType == onnxio.Bool || t.DataType == onnxio.String {
			return false // what comes out has to be made in the body; shapes and indices are seen by readers of the body only there
		}
		c := *t
		c.Name = fresh(in.names, prefix+"/"+name)
		rename[name], weights = c.Name, append(weights, &c)
		return true
	}
	out.Initializers = slices.DeleteFunc(slices.Clone(g.Initializers), func(t *onnxio.Tensor) bool { return take(t.Name, t) })
	nodes := slices.DeleteFunc(slices.Clone(g.Nodes), func(n *onnxio.Node) bool {
		if n.Domain != "" || n.OpType != "Constant" || len(n.Outputs) != 1 {
			return false
		}
		for _, a := range n.Attributes {
			if a.Name == "value" {
				return take(n.Outputs[0], a.T)
			}
		}
		return false
	})
	if len(weights) == 0 {
		return g, nil
	}
	out.ValueInfos = slices.DeleteFunc(slices.Clone(g.ValueInfos), func(v *onnxio.ValueInfo) bool { return rename[v.Name] != "" })
	out.Nodes = nil
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, renamedNode(n, maps.Clone(rename), nil))
	}
	return &out, weights
}
