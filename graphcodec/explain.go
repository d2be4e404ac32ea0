package graphcodec

import (
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

// Path lists the nodes that the units of a group pass, in the order in which they run: why they hang together.
func (a *Analysis) Path(group int) []Step {
	on := map[int32]bool{}
	for _, u := range a.Groups[group].Units {
		on[a.units[u].root] = true
	}
	g := &a.Groups[group]
	carrying := map[*Value]bool{}
	for _, v := range a.an.order {
		for _, axis := range v.axes {
			if v.Const == nil && a.carries(axis, on) {
				carrying[v] = true
			}
		}
	}
	var out []Step
	maker := map[*Value]int{}
	for _, c := range a.an.calls {
		s := Step{Node: c.name(), Op: c.node.OpType}
		in, given := 0, false
		for _, v := range c.in {
			if v != nil && carrying[v] {
				in++
				if at, ok := maker[v]; ok && !slices.Contains(s.From, at) {
					s.From = append(s.From, at)
				}
			}
		}
		for _, v := range c.out {
			given = given || v != nil && carrying[v]
		}
		s.Does = a.does(c, g, in, given)
		if s.Node == g.Node {
			s.Why = g.Frozen
		}
		if s.Does == "" && s.Why == "" {
			continue
		}
		for _, v := range c.out {
			if v != nil && carrying[v] {
				maker[v] = len(out)
			}
		}
		out = append(out, s)
	}
	return out
}

// carries reports whether any position of an axis holds one of the units.
func (a *Analysis) carries(axis []label, on map[int32]bool) bool {
	lab := a.an.lab
	for _, x := range axis {
		if x == 0 {
			continue
		}
		for _, u := range lab.units(lab.norm(x)) {
			if on[u] {
				return true
			}
		}
	}
	return false
}

// does names a node's part, "" for one that has none.
func (a *Analysis) does(c *call, g *Group, in int, given bool) string {
	weight := func(role Role) bool {
		return slices.ContainsFunc(g.Members, func(m Member) bool {
			return m.Role == role && slices.ContainsFunc(c.in, func(v *Value) bool { return v != nil && v.Const == m.Const })
		})
	}
	switch {
	case weight(Output) && given:
		return Writes
	case weight(Input) && in > 0:
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
