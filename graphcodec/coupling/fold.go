package coupling

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/onnxio"
)

// Source returns the model that was analysed, with its functions called.
func (a *Analysis) Source() *onnxio.Model {
	if a.source != nil {
		return a.source
	}
	return a.Model
}

// Flat returns the model with calls of its own functions and Ifs whose condition is known replaced
// by their bodies, and with the weights inside other Ifs moved out of them, so that all of these
// can be pruned as any others. Functions
// that cannot be written out (Analyze) stay.
func (a *Analysis) Flat() *onnxio.Model {
	out, called := *flatten.Lift(a.Unjoin(a.Model)), map[string]bool{}
	flatten.Domains(out.Graph.Nodes, nil, called)
	if slices.ContainsFunc(out.Functions, func(f *onnxio.Function) bool { return called[f.Domain] }) {
		return &out
	}
	out.Functions, out.OpsetImport = nil, slices.DeleteFunc(slices.Clone(out.OpsetImport), func(o *onnxio.OpsetID) bool { return !called[o.Domain] && o.Domain != "" })
	return &out
}

// Unjoin returns a model that was made of the Analysis's one, whose nodes it has in the same
// places, with Ifs where both of their branches stand.
func (a *Analysis) Unjoin(m *onnxio.Model) *onnxio.Model {
	out, g := *m, *m.Graph
	g.Nodes = a.folded(m.Graph.Nodes, nil, nil, func(e flatten.Expanded) *onnxio.Node {
		if e.Parts != nil {
			return e.Call
		}
		return nil
	}, nil)
	out.Graph = &g
	return &out
}

// Fold returns a model that was made of the Analysis's one, whose nodes it has in the same places,
// with functions called again where nothing of their bodies has changed.
func (a *Analysis) Fold(m *onnxio.Model) *onnxio.Model {
	if a.source == nil {
		return m
	}
	out, g := *m, *m.Graph
	g.Nodes = a.folded(m.Graph.Nodes, nil, nil, func(e flatten.Expanded) *onnxio.Node { return e.Call }, nil)
	out.Graph = &g
	return &out
}

// folded lists the nodes of a model whose nodes are at the same places as the Analysis's own. Nodes
// of before are put in
// front of some places, and places in gone are left out. A function is called again where nothing
// of its body has
// changed. A branch becomes the node that kept gives, or else an If with the branches as they are
// now, whose output types
// are corrected by typed.
func (a *Analysis) folded(now []*onnxio.Node, before map[int][]*onnxio.Node, gone map[int]bool, kept func(flatten.Expanded) *onnxio.Node, typed func(n *onnxio.Node)) []*onnxio.Node {
	old := a.Model.Graph.Nodes
	var out []*onnxio.Node
	at := 0
	emit := func(end int) {
		for ; at < end; at++ {
			out = append(out, before[at]...)
			if !gone[at] {
				out = append(out, now[at])
			}
		}
	}
	for _, e := range a.expanded {
		emit(e.First)
		same := true
		for i := e.First; i < e.Last; i++ {
			same = same && old[i] == now[i] && len(before[i]) == 0 && !gone[i]
		}
		var call *onnxio.Node
		if same {
			call = kept(e)
		}
		if call == nil && e.Parts != nil {
			var outside []*onnxio.Node
			outside, call = e.Rebuilt(now, before, gone)
			if typed != nil {
				typed(call)
			}
			out = append(out, outside...)
		}
		if call == nil {
			emit(e.Last)
			continue
		}
		out = append(out, call)
		at = e.Last
	}
	emit(len(now))
	return out
}
