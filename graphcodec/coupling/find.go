package coupling

import (
	"fmt"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/graphcodec/op"
	"path"
	"slices"
	"strings"
)

// GroupsOf lists the groups that a name stands for, by their index: those of a tensor, those of a
// node, or the one with that ID or name.
func (a *Analysis) GroupsOf(name string) []int {
	if out := a.belonging(func(n string) bool { return n == name }); len(out) > 0 {
		return out
	}
	for i := range a.Groups {
		if g := &a.Groups[i]; g.ID == name || g.Name == name {
			return []int{i}
		}
	}
	return nil
}

// Names are all names that Matching and Has know: nodes, constants, and groups by ID and name.
func (a *Analysis) Names() []string {
	var out []string
	for _, c := range a.Analyzer.Calls {
		out = append(out, c.Name())
	}
	for _, k := range a.constants {
		out = append(out, k.Name)
	}
	for i := range a.Groups {
		out = append(out, a.Groups[i].ID, a.Groups[i].Name)
	}
	return out
}

// Has reports whether the model has a node, a tensor or another value of that name.
func (a *Analysis) Has(name string) bool {
	return a.Analyzer.Values[name] != nil || slices.ContainsFunc(a.Analyzer.Calls, func(c *op.Call) bool { return c.Name() == name })
}

// Unfollowed says why a node or a tensor belongs to no group: what is not known of its node, or
// what froze channels in front of it.
func (a *Analysis) Unfollowed(name string) string {
	froze := map[string]string{}
	for _, r := range a.Analyzer.Labels.Reasons {
		if _, ok := froze[r.Node]; !ok {
			froze[r.Node] = r.String()
		}
	}
	made := map[*op.Value]*op.Call{}
	var next []*op.Call
	for _, c := range a.Analyzer.Calls {
		for _, v := range c.Out {
			made[v] = c
		}
		if c.Name() == name || slices.Contains(c.Node.Inputs, name) || slices.Contains(c.Node.Outputs, name) {
			next = append(next, c)
		}
	}
	for seen := map[*op.Call]bool{nil: true}; len(next) > 0; next = next[1:] {
		c := next[0]
		if seen[c] {
			continue
		}
		seen[c] = true
		if op.Lookup(c.Node.Domain, c.Node.OpType, c.Version) == nil {
			return fmt.Sprintf("there is no rule for operator %s of node %s", strings.TrimPrefix(c.Node.Domain+"."+c.Node.OpType, "."), c.Name())
		}
		if why := froze[c.Name()]; why != "" {
			return why
		}
		for _, v := range c.In {
			if v != nil {
				next = append(next, made[v])
			}
		}
	}
	return "neither its weights nor its inputs and outputs have channels that the analysis can follow"
}

// Matching lists the groups that a name stands for or, where there is none, those whose tensors,
// nodes or names a pattern fits; its * stands for any characters, a slash too.
func (a *Analysis) Matching(pattern string) ([]int, error) {
	if out := a.GroupsOf(pattern); len(out) > 0 {
		return out, nil
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%q is neither a name in the model nor a valid pattern: %w (* and ? match characters, [a-z] matches one character of a set, and \\ before such a sign matches the sign itself)", pattern, err)
	}
	fits := Fitting(pattern)
	out := a.belonging(fits)
	for i := range a.Groups {
		if fits(a.Groups[i].Name) {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Fitting returns what tells whether a name is the pattern or fits it, as in Matching; a pattern
// that cannot be read fits nothing but itself.
func Fitting(pattern string) func(name string) bool {
	whole := strings.NewReplacer("/", "\x01") // path.Match stops at slashes
	p := whole.Replace(pattern)
	return func(name string) bool {
		ok, err := path.Match(p, whole.Replace(name))
		return name == pattern || ok && err == nil
	}
}

// belonging lists the groups of the tensors and nodes whose names fit.
func (a *Analysis) belonging(fits func(name string) bool) []int {
	hit := make([]bool, len(a.Groups))
	f := &finder{a: a, of: map[*op.Constant][]int{}, on: map[*label.Label][]int{}}
	for i := range a.Groups {
		for _, m := range a.Groups[i].Members {
			f.of[m.Const] = append(f.of[m.Const], i)
			hit[i] = hit[i] || fits(m.Const.Name)
		}
	}
	for _, c := range a.Analyzer.Calls {
		if !fits(c.Name()) && !slices.ContainsFunc(c.Node.Outputs, fits) {
			continue
		}
		groups := f.weighed(c)
		if len(groups) == 0 {
			groups = f.passing(c)
		}
		for _, g := range groups {
			hit[g] = true
		}
	}
	var out []int
	for i, h := range hit {
		if h {
			out = append(out, i)
		}
	}
	return out
}

// finder finds the groups of nodes.
type finder struct {
	a      *Analysis
	of     map[*op.Constant][]int
	on     map[*label.Label][]int // by the first label of an axis
	makers map[*op.Value]*op.Call // that compute values from constants alone
}

// weighed lists the groups of the constants that a node reads, also through nodes that compute them
// from constants alone.
func (f *finder) weighed(c *op.Call) []int {
	var out []int
	seen := map[*op.Value]bool{}
	for next := c.In; len(next) > 0; {
		v := next[0]
		next = next[1:]
		if v == nil || seen[v] {
			continue
		}
		seen[v] = true
		if v.Const != nil {
			out = append(out, f.of[v.Const]...)
		} else if m := f.maker(v); m != nil {
			next = slices.Concat(next, m.In)
		}
	}
	return out
}

// maker is the node that computes a value from constants alone, nil for any other value.
func (f *finder) maker(v *op.Value) *op.Call {
	if f.makers == nil {
		f.makers = map[*op.Value]*op.Call{}
		for _, c := range f.a.Analyzer.Calls {
			for _, o := range c.Out {
				if o != nil && o.Static {
					f.makers[o] = c
				}
			}
		}
	}
	return f.makers[v]
}

// passing lists the groups whose channels a node takes or gives.
func (f *finder) passing(c *op.Call) []int {
	var out []int
	for _, v := range slices.Concat(c.In, c.Out) {
		if v == nil || v.Const != nil {
			continue
		}
		for _, axis := range v.Axes {
			if len(axis) == 0 {
				continue
			}
			groups, ok := f.on[&axis[0]]
			if !ok {
				groups = f.a.groupsOn(axis)
				f.on[&axis[0]] = groups
			}
			out = append(out, groups...)
		}
	}
	return out
}

// groupsOn lists the groups whose units an axis holds, frozen ones too.
func (a *Analysis) groupsOn(axis []label.Label) []int {
	lab, on := a.Analyzer.Labels, map[int]bool{}
	note := func(root int32) {
		if id, ok := a.byRoot[root]; ok {
			on[a.units[id].group] = true
		}
	}
	for _, x := range axis {
		n := lab.Norm(x)
		if n == 0 {
			note(lab.FrozenUnit(x))
		}
		for _, u := range lab.Units(n) {
			note(u)
		}
	}
	out := make([]int, 0, len(on))
	for g := range on {
		out = append(out, g)
	}
	slices.Sort(out)
	return out
}
