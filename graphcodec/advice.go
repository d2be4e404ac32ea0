package graphcodec

// Advice says how to get a model of which more can be pruned, where the file tells; empty where it does not.
func (a *Analysis) Advice() string {
	for _, c := range a.an.calls {
		if layoutDomains[c.node.Domain] && lookup(c.node.Domain, c.node.OpType, c.version) == nil {
			return "The model holds operators of " + c.node.Domain + ", which are for one processor. " + saveExtended
		}
	}
	m := a.Model
	if a.source != nil {
		m = a.source
	}
	if lifted(m) != m {
		return "Weights inside the branches of an If cannot be pruned; `metaprune inline` moves them out, after which they can"
	}
	return ""
}
