package coupling

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// orphans leaves out constants that were read in the original and are read by nothing now: what an
// un-shared copy was made from, and sizes that have been written anew. A constant that is cut
// stays, since the plan names it; so does one that nothing read before.
func (sh *shrinker) orphans() {
	g := sh.Model.Graph
	before, now := readers(sh.old.Model.Graph), readers(g)
	kept := map[string]bool{}
	for _, v := range g.Inputs { // without its initializer it would be an input that has to be given
		kept[v.Name] = true
	}
	for _, c := range sh.old.constants {
		if c.Packed {
			continue
		}
		for _, axis := range c.Axes {
			kept[c.Name] = kept[c.Name] || sh.Keep(axis) != nil
		}
	}
	lost := func(name string) bool { return before[name] && !now[name] && !kept[name] }
	g.Initializers = slices.DeleteFunc(g.Initializers, func(t *onnxio.Tensor) bool { return lost(t.Name) })
	g.Nodes = slices.DeleteFunc(slices.Clone(g.Nodes), func(n *onnxio.Node) bool {
		return n.OpType == "Constant" && n.Domain == "" && len(n.Outputs) == 1 && lost(n.Outputs[0])
	})
}

// readers are the names that nodes of a graph and of its bodies read, or that leave it.
func readers(g *onnxio.Graph) map[string]bool {
	read := map[string]bool{}
	var walk func(g *onnxio.Graph)
	walk = func(g *onnxio.Graph) {
		for _, v := range g.Outputs {
			read[v.Name] = true
		}
		for _, n := range g.Nodes {
			for _, name := range n.Inputs {
				read[name] = true
			}
			for _, a := range n.Attributes {
				if a.G != nil {
					walk(a.G)
				}
				for _, body := range a.Graphs {
					walk(body)
				}
			}
		}
	}
	walk(g)
	return read
}
