package graphcodec

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// shrinker makes the smaller model node by node: patch, run the rule again, compare with what was predicted.
type shrinker struct {
	*smaller
	old     *Analysis
	state   *State
	gone    map[int]bool // nodes that became initializers
	holders map[*onnxio.Tensor][]holder
}

// Shrink returns the model without the removed units of s. The original is not changed; tensor data is shared with it and is cut when the result is written. Every shape of the result is
// computed anew and compared with the prediction; an error means that nothing should be written.
func (a *Analysis) Shrink(s *State) (m *onnxio.Model, err error) {
	defer caught(&err)
	sh := &shrinker{smaller: newSmaller(s.keep), old: a, state: s, gone: map[int]bool{}, holders: map[*onnxio.Tensor][]holder{}}
	sh.clone()
	if err := sh.cutConstants(); err != nil {
		return nil, err
	}
	sh.an = newAnalyzer(sh.model)
	sh.an.infos = nil // declared shapes are the old ones until they are patched
	sh.patchInfos()
	for _, v := range sh.model.Graph.ValueInfos {
		sh.addInfo(v)
	}
	for _, v := range sh.model.Graph.Outputs {
		sh.addInfo(v)
	}
	if err := sh.an.begin(); err != nil {
		return nil, err
	}
	for _, c := range a.an.calls {
		if sh.gone[c.index] {
			continue
		}
		if err := sh.step(c); err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", c.name(), c.node.OpType, err)
		}
	}
	sh.rebuild()
	sh.orphans()
	return sh.model, sh.an.end()
}

func (sh *shrinker) addInfo(v *onnxio.ValueInfo) {
	if sh.an.infos == nil {
		sh.an.infos = map[string]*onnxio.ValueInfo{}
	}
	sh.an.infos[v.Name] = v
}

func (sh *shrinker) clone() {
	m, g := *sh.old.Model, *sh.old.Model.Graph
	g.Nodes, g.Initializers = slices.Clone(g.Nodes), slices.Clone(g.Initializers)
	g.ValueInfos, g.Inputs = slices.Clone(g.ValueInfos), slices.Clone(g.Inputs)
	m.Graph = &g
	sh.model = &m
	for name := range sh.old.an.values {
		sh.names[name] = true
	}
}

func (sh *shrinker) cutConstants() error {
	index := map[string]int{}
	for i, t := range sh.model.Graph.Initializers {
		index[t.Name] = i
	}
	for _, c := range sh.old.constants {
		keep := make([][]int, len(c.axes))
		cut := false
		for k, axis := range c.axes {
			keep[k] = sh.keep(axis)
			cut = cut || keep[k] != nil
		}
		if sh.shareCopy(c, keep) || !cut && !c.Copy {
			continue
		}
		t := *c.Tensor
		if err := t.Cut(keep); err != nil {
			return err
		}
		i, isInitializer := index[c.Name]
		switch {
		case isInitializer:
			sh.model.Graph.Initializers[i] = &t
		case c.Copy:
			sh.replaceCopy(c, &t)
		default:
			sh.replaceConstant(c, &t)
		}
	}
	return nil
}

// shareCopy leaves a copy an Identity where another constant over the same tensor is cut in the same way.
func (sh *shrinker) shareCopy(c *Constant, keep [][]int) bool {
	for _, h := range sh.holders[c.Tensor] {
		if slices.EqualFunc(h.keep, keep, func(a, b []int) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }) && c.Copy {
			if n := sh.model.Graph.Nodes[c.Node]; n.Inputs[0] != h.name {
				changed := *n
				changed.Inputs = []string{h.name}
				sh.model.Graph.Nodes[c.Node] = &changed
			}
			return true
		}
	}
	sh.holders[c.Tensor] = append(sh.holders[c.Tensor], holder{c.Name, keep})
	return false
}

// holder is a constant that has been cut.
type holder struct {
	name string
	keep [][]int
}

// replaceCopy turns an Identity over a constant into a tensor of its own.
func (sh *shrinker) replaceCopy(c *Constant, t *onnxio.Tensor) {
	fresh := onnxio.Tensor{Name: c.Name, Dims: t.Dims, DataType: t.DataType, Lazy: t.Lazy, RawData: t.RawData, StringData: t.StringData}
	if sh.model.IRVersion < 4 {
		n := onnxio.ConstantNode(c.Name, &fresh)
		sh.model.Graph.Nodes[c.Node] = n
		return
	}
	sh.model.Graph.Initializers = append(sh.model.Graph.Initializers, &fresh)
	sh.gone[c.Node] = true
}

func (sh *shrinker) replaceConstant(c *Constant, t *onnxio.Tensor) {
	n := *sh.model.Graph.Nodes[c.Node]
	n.Attributes = slices.Clone(n.Attributes)
	for i, a := range n.Attributes {
		switch a.Name {
		case "value":
			changed := *a
			changed.T = t
			n.Attributes[i] = &changed
		case "value_floats", "value_ints":
			n.Attributes[i] = &onnxio.Attribute{Name: "value", Type: onnxio.AttrTensor, T: t}
		}
	}
	sh.model.Graph.Nodes[c.Node] = &n
}

// patchInfos updates declared shapes, of inputs that are weights too.
func (sh *shrinker) patchInfos() {
	for _, list := range [][]*onnxio.ValueInfo{sh.model.Graph.ValueInfos, sh.model.Graph.Inputs} {
		for i, info := range list {
			if v := sh.old.an.values[info.Name]; v != nil && v.Ranked {
				list[i] = patchInfo(info, v.Shape, sh.predicted(v))
			}
		}
	}
}

// patchInfo returns the info with the dims that changed.
func patchInfo(info *onnxio.ValueInfo, before, after []Dim) *onnxio.ValueInfo {
	dims, ok := declared(info)
	if !ok || len(dims) != len(after) || slices.Equal(before, after) {
		return info
	}
	v, t, tt, s := *info, *info.Type, *info.Type.Tensor, *info.Type.Tensor.Shape
	v.Type, t.Tensor, tt.Shape = &t, &tt, &s
	s.Dims = slices.Clone(s.Dims)
	for k, d := range s.Dims {
		if before[k] != after[k] && after[k].IsNum() && d.HasValue {
			changed := *d
			changed.Value = after[k].N
			s.Dims[k] = &changed
		}
	}
	return &v
}

// step adapts one node, runs its rule on the smaller inputs and compares the shapes.
func (sh *shrinker) step(old *call) error {
	n := *sh.model.Graph.Nodes[old.index]
	p := &patching{smaller: sh.smaller, old: old, node: &n}
	if err := p.resolve(); err != nil {
		return err
	}
	if p.shortenZeros(); p.err != nil {
		return p.err
	}
	if p.selectInputs(); p.err != nil {
		return p.err
	}
	for i := range old.in {
		if old.pins.has(i) {
			p.pin(i)
		}
	}
	if r := lookup(n.Domain, n.OpType, old.version); r != nil && r.Patch != nil && !old.blind && !sh.an.funcs[n.Domain+":"+n.OpType] {
		r.Patch(p)
	}
	if p.err != nil {
		return p.err
	}
	if p.changed {
		sh.model.Graph.Nodes[old.index] = &n
	}
	c, err := sh.an.prepare(old.index, sh.model.Graph.Nodes[old.index])
	if err != nil {
		return err
	}
	if sh.an.run(c); sh.an.broken != nil {
		return sh.an.broken
	}
	return sh.compare(old, c)
}

func (sh *shrinker) compare(old, now *call) error {
	for i, v := range old.out {
		if v == nil || !v.Ranked {
			continue
		}
		want, got := sh.predicted(v), sh.an.values[v.Name]
		if got == nil {
			return fmt.Errorf("output %d %q has disappeared; please report this model", i, v.Name)
		}
		if !got.Ranked || len(got.Shape) != len(want) {
			return fmt.Errorf("output %q: shape %v, predicted %v; please report this model", v.Name, got.Shape, want)
		}
		for k := range want {
			if want[k] != got.Shape[k] && (want[k].IsNum() || v.axes != nil && v.axes[k] != nil) {
				return fmt.Errorf("output %q: shape %v, predicted %v; please report this model", v.Name, got.Shape, want)
			}
		}
	}
	return nil
}

// rebuild puts the added nodes in place, leaves out those that became initializers, and calls functions again.
func (sh *shrinker) rebuild() {
	sh.model.Graph.Nodes = sh.old.folded(sh.model.Graph.Nodes, sh.before, sh.gone, sh.kept, sh.retype)
}
