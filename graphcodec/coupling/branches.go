package coupling

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// kept is the If of a branch that has not changed itself, with the types of its bodies as they are
// now; nil where a body could contradict what comes in.
func (sh *shrinker) kept(e flatten.Expanded) *onnxio.Node {
	if !e.Branch || !sh.touches(e.Call) {
		return e.Call
	}
	if e.Parts != nil {
		return nil
	}
	n := *e.Call
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

// tolerates reports whether no node of a body can contradict shapes that have changed; changed are
// the body's own values that follow from them.
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
		r := op.Lookup(n.Domain, n.OpType, sh.old.Analyzer.Versions[""])
		alike := r != nil && r.ElementWise && len(n.Inputs) == 1
		computed := n.OpType == "Reshape" && len(n.Inputs) == 2 && !constants[n.Inputs[1]] && !sh.knows(n.Inputs[1])
		if n.Domain != "" || !alike && !op.Describe("", n.OpType).AnyShape && !computed {
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
	v := sh.Analyzer.Values[name]
	return v != nil && v.Elements != nil
}

// resized reports whether a value of the graph has another shape now.
func (sh *shrinker) resized(name string) bool {
	old, now := sh.old.Analyzer.Values[name], sh.Analyzer.Values[name]
	return old != nil && (now == nil || !slices.Equal(old.Shape, now.Shape))
}

// touches reports whether a value that the node or its bodies read, or that comes out, has another
// shape now.
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

// typed is a body without the shapes that were declared in it. Its outputs keep their ranks, and
// the dims that did not change.
func (sh *shrinker) typed(g *onnxio.Graph, n *onnxio.Node) *onnxio.Graph {
	out := *g
	out.ValueInfos, out.Outputs = nil, slices.Clone(g.Outputs)
	for i, info := range g.Outputs {
		dims, ok := dim.Declared(info)
		if i >= len(n.Outputs) || !ok {
			continue
		}
		old, now := sh.old.Analyzer.Values[n.Outputs[i]], sh.Analyzer.Values[n.Outputs[i]]
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
