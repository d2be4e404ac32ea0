package coupling

import (
	"github.com/metaprune/metaprune/graphcodec/flatten"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// Advice says how to get a model of which more can be pruned, where the file tells; empty where it
// does not.
func (a *Analysis) Advice() string {
	for _, c := range a.Analyzer.Calls {
		if op.LayoutDomains[c.Node.Domain] && op.Lookup(c.Node.Domain, c.Node.OpType, c.Version) == nil {
			return "The model holds operators of " + c.Node.Domain + ", which are for one processor. " + op.SaveExtended
		}
	}
	m := a.Model
	if a.source != nil {
		m = a.source
	}
	if flatten.Lift(m) != m {
		return "Weights inside the branches of an If cannot be pruned; `metaprune inline` moves them out, after which they can"
	}
	return ""
}
