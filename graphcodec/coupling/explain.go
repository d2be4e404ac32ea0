package coupling

import (
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/graphcodec/op"
	"slices"
)

// What a node does with the channels of a group.
const (
	Writes  = "writes"  // its weight makes them
	Reads   = "reads"   // its weight takes them in and ends them there
	Joins   = "joins"   // brings two values together that carry them, so that their channels have to leave together
	Carries = "carries" // hands them on, channel by channel
	Ends    = "ends"    // takes them in without a weight, and gives nothing on that carries them
)

// Step is a node that a group's channels pass.
type Step struct {
	Node string `json:"node"`
	Op   string `json:"op"`
	Does string `json:"does"`
	From []int  `json:"from,omitempty"` // earlier steps that these channels come from
	Why  string `json:"why,omitempty"`  // where it is the node that froze the group
}

// Path lists the nodes that the units of a group pass, in the order in which they run. They are why
// the units are coupled.
func (a *Analysis) Path(group int) []Step {
	on := map[int32]bool{}
	for _, u := range a.Groups[group].Units {
		on[a.units[u].root] = true
	}
	g := &a.Groups[group]
	carrying := map[*op.Value]bool{}
	for _, v := range a.Analyzer.Order {
		for _, axis := range v.Axes {
			if v.Const == nil && a.carries(axis, on) {
				carrying[v] = true
			}
		}
	}
	var out []Step
	maker := map[*op.Value]int{}
	for _, c := range a.Analyzer.Calls {
		s := Step{Node: c.Name(), Op: c.Node.OpType}
		in, given := 0, false
		for _, v := range c.In {
			if v != nil && carrying[v] {
				in++
				if at, ok := maker[v]; ok && !slices.Contains(s.From, at) {
					s.From = append(s.From, at)
				}
			}
		}
		for _, v := range c.Out {
			given = given || v != nil && carrying[v]
		}
		s.Does = a.does(c, g, in, given)
		if s.Node == g.Node {
			s.Why = g.Frozen
		}
		if s.Does == "" && s.Why == "" {
			continue
		}
		for _, v := range c.Out {
			if v != nil && carrying[v] {
				maker[v] = len(out)
			}
		}
		out = append(out, s)
	}
	return out
}

// carries reports whether any position of an axis holds one of the units.
func (a *Analysis) carries(axis []label.Label, on map[int32]bool) bool {
	lab := a.Analyzer.Labels
	for _, x := range axis {
		if x == 0 {
			continue
		}
		for _, u := range lab.Units(lab.Norm(x)) {
			if on[u] {
				return true
			}
		}
	}
	return false
}

// does names a node's part, "" for one that has none.
func (a *Analysis) does(c *op.Call, g *Group, in int, given bool) string {
	weight := func(role op.Role) bool {
		return slices.ContainsFunc(g.Members, func(m Member) bool {
			return m.Role == role && slices.ContainsFunc(c.In, func(v *op.Value) bool { return v != nil && v.Const == m.Const })
		})
	}
	switch {
	case weight(op.Output) && given:
		return Writes
	case weight(op.Input) && in > 0:
		return Reads
	case in > 1 && given:
		return Joins
	case in > 0 && given:
		return Carries
	case in > 0:
		return Ends
	case given:
		return Writes
	}
	return ""
}
