package coupling

import (
	"fmt"
	"github.com/metaprune/metaprune/graphcodec/op"
	"slices"
	"strings"
)

// nameGroups gives every group its ID and its name. Groups that can be pruned are named first, so
// that a number after a name is with a frozen group where there is a choice.
func (a *Analysis) nameGroups() {
	a.layers = a.readingLayers()
	taken := map[string]bool{}
	for _, prunable := range []bool{true, false} {
		for i := range a.Groups {
			if g := &a.Groups[i]; (g.Frozen == "") == prunable {
				g.Name = unused(taken, a.readable(g))
			}
		}
	}
	for name := range a.Analyzer.Values {
		taken[name] = true
	}
	for _, c := range a.Analyzer.Calls {
		taken[c.Node.Name] = true
	}
	prefix := "g"
	for range len(a.Groups) {
		if !slices.ContainsFunc(a.numbers(), func(n string) bool { return taken[prefix+n] }) {
			break
		}
		prefix += "g"
	}
	for i, n := range a.numbers() {
		a.Groups[i].ID = prefix + n
	}
}

// numbers are the numbers of the groups, from 1 on.
func (a *Analysis) numbers() []string {
	out := make([]string, len(a.Groups))
	for i := range out {
		out[i] = fmt.Sprint(i + 1)
	}
	return out
}

// unused adds a number to a name that is taken.
func unused(taken map[string]bool, name string) string {
	out := name
	for n := 2; taken[out]; n++ {
		out = fmt.Sprintf("%s #%d", name, n)
	}
	taken[out] = true
	return out
}

// readable is what a group is called: its first weight, or the layer that reads it where that says
// more, and what its units are.
func (a *Analysis) readable(g *Group) string {
	first := g.first()
	name, role := a.NameOf(first.Const), first.Role
	switch {
	case g.Kind == Heads:
		return name + " (heads)"
	case g.Kind == HeadDim:
		return name + " (channels per head)"
	case role == op.Input:
		return name + " (inputs)"
	}
	return name
}

// first is the member that a group is called by: the first weight that produces it.
func (g *Group) first() *Member {
	for _, want := range []op.Role{op.Output, op.Depthwise, op.Norm, op.Input} {
		if i := slices.IndexFunc(g.Members, func(m Member) bool { return m.Role == want }); i >= 0 {
			return &g.Members[i]
		}
	}
	return &g.Members[0]
}

// readingLayers finds, for every constant, the node that reads it as a weight, or the first one
// that reads it at all.
func (a *Analysis) readingLayers() map[*op.Constant]*op.Call {
	at, out := map[int]*op.Call{}, map[*op.Constant]*op.Call{}
	for _, c := range a.Analyzer.Calls {
		at[c.Index] = c
		for _, v := range c.In {
			if v != nil && v.Const != nil && out[v.Const] == nil {
				out[v.Const] = c
			}
		}
	}
	for _, c := range a.constants {
		if reader := at[c.Order]; c.Order >= 0 && reader != nil {
			out[c] = reader
		}
	}
	return out
}

// LayerOf is the node that reads a constant as its weight, or else first of all; "" where none
// does.
func (a *Analysis) LayerOf(c *op.Constant) string {
	if reader := a.layers[c]; reader != nil {
		return reader.Name()
	}
	return ""
}

// NameOf is what a constant is called for people: its own name, or the node path of the layer that
// reads it where an exporter has numbered the constant, with the path of its module in front where
// the node is only numbered too.
func (a *Analysis) NameOf(c *op.Constant) string {
	layer := a.LayerOf(c)
	own, other := telling(c.Name), telling(layer)
	if own == numbered && other < flat {
		if m := module(a.layers[c]); m != "" {
			return m + "/" + layer
		}
	}
	if own == numbered && other > numbered || own == flatNumbered && other == pathOfModules {
		return layer
	}
	return c.Name
}

// module is the path of the module that a node comes from, where PyTorch's exporter has noted it: a
// list such as [”, 'layer1', 'layer1.0', 'linear'], which the operation ends.
func module(c *op.Call) string {
	if c == nil {
		return ""
	}
	scopes := strings.Split(strings.Trim(c.Node.Metadata("pkg.torch.onnx.name_scopes"), "[]"), ", ")
	if len(scopes) < 2 {
		return ""
	}
	return strings.Trim(scopes[len(scopes)-2], "'\"")
}

// How much a name says, from nothing to a path of modules.
const (
	numbered      = iota // onnx::Conv_193, val_12, 193
	flatNumbered         // Conv_0
	flat                 // conv_weight
	pathOfModules        // layer1.0.conv1.weight, /layer1/0/conv1/Conv
)

// generic are the words that exporters number their own tensors with.
const generic = " val v t node tensor const constant const_fold_opt initializer init param parameter variable data n "

// telling rates how much a name says.
func telling(name string) int {
	name = strings.TrimSuffix(name, ":0")
	if strings.Contains(name, "::") || !strings.ContainsFunc(name, func(r rune) bool { return r > '9' && r != '_' && r != ':' }) {
		return numbered
	}
	last := name[strings.LastIndex(name, "/")+1:]
	word := strings.TrimRight(last, "0123456789_")
	word = strings.Trim(strings.TrimRight(strings.TrimSuffix(word, "_output"), "0123456789"), "_")
	ends := last[len(last)-min(len(last), 1):]
	switch ended := ends >= "0" && ends <= "9"; {
	case ended && strings.Contains(generic, " "+strings.ToLower(word)+" "):
		return numbered
	case strings.ContainsAny(strings.Trim(name, "./"), "./"):
		return pathOfModules
	case ended:
		return flatNumbered
	}
	return flat
}

// Of returns what a map has for a group: by its ID, its name, or else the tensor that it is called
// by, as files of earlier versions say.
func Of[V any](m map[string]V, g *Group) (V, bool) {
	for _, name := range []string{g.ID, g.Name} {
		if v, ok := m[name]; ok {
			return v, true
		}
	}
	v, ok := m[g.Tensor]
	return v, ok
}
