package coupling

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
)

// shrinker makes the smaller model node by node: patch, run the rule again, compare with what was
// predicted.
type shrinker struct {
	*op.Smaller
	old     *Analysis
	state   *State
	gone    map[int]bool // nodes that became initializers
	holders map[*onnxio.Tensor][]holder
}

// Shrink returns the model without the removed units of s. The original is not changed; tensor data
// is shared with it and is cut when the result is written. Every shape of the result is
// computed anew and compared with the prediction; an error means that nothing should be written.
func (a *Analysis) Shrink(s *State) (m *onnxio.Model, err error) {
	defer op.Caught(&err)
	sh := &shrinker{Smaller: op.NewSmaller(s.keep), old: a, state: s, gone: map[int]bool{}, holders: map[*onnxio.Tensor][]holder{}}
	sh.clone()
	if err := sh.cutConstants(); err != nil {
		return nil, err
	}
	sh.Analyzer = op.NewAnalyzer(sh.Model)
	sh.Analyzer.Infos = nil // declared shapes are the old ones until they are patched
	sh.patchInfos()
	for _, v := range sh.Model.Graph.ValueInfos {
		sh.addInfo(v)
	}
	for _, v := range sh.Model.Graph.Outputs {
		sh.addInfo(v)
	}
	if err := sh.Analyzer.Begin(); err != nil {
		return nil, err
	}
	for _, c := range a.Analyzer.Calls {
		if sh.gone[c.Index] {
			continue
		}
		if err := sh.step(c); err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", c.Name(), c.Node.OpType, err)
		}
	}
	sh.rebuild()
	sh.orphans()
	return sh.Model, sh.Analyzer.End()
}

func (sh *shrinker) addInfo(v *onnxio.ValueInfo) {
	if sh.Analyzer.Infos == nil {
		sh.Analyzer.Infos = map[string]*onnxio.ValueInfo{}
	}
	sh.Analyzer.Infos[v.Name] = v
}

func (sh *shrinker) clone() {
	m, g := *sh.old.Model, *sh.old.Model.Graph
	g.Nodes, g.Initializers = slices.Clone(g.Nodes), slices.Clone(g.Initializers)
	g.ValueInfos, g.Inputs = slices.Clone(g.ValueInfos), slices.Clone(g.Inputs)
	m.Graph = &g
	sh.Model = &m
	for name := range sh.old.Analyzer.Values {
		sh.Names[name] = true
	}
}

func (sh *shrinker) cutConstants() error {
	index := map[string]int{}
	for i, t := range sh.Model.Graph.Initializers {
		index[t.Name] = i
	}
	for _, c := range sh.old.constants {
		keep := make([][]int, len(c.Axes))
		cut := false
		for k, axis := range c.Axes {
			keep[k] = sh.Keep(axis)
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
			sh.Model.Graph.Initializers[i] = &t
		case c.Copy:
			sh.replaceCopy(c, &t)
		default:
			sh.replaceConstant(c, &t)
		}
	}
	return nil
}

// shareCopy leaves a copy an Identity where another constant over the same tensor is cut in the
// same way.
func (sh *shrinker) shareCopy(c *op.Constant, keep [][]int) bool {
	for _, h := range sh.holders[c.Tensor] {
		if slices.EqualFunc(h.keep, keep, func(a, b []int) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }) && c.Copy {
			if n := sh.Model.Graph.Nodes[c.Node]; n.Inputs[0] != h.name {
				changed := *n
				changed.Inputs = []string{h.name}
				sh.Model.Graph.Nodes[c.Node] = &changed
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
func (sh *shrinker) replaceCopy(c *op.Constant, t *onnxio.Tensor) {
	fresh := onnxio.Tensor{Name: c.Name, Dims: t.Dims, DataType: t.DataType, Lazy: t.Lazy, RawData: t.RawData, StringData: t.StringData}
	if sh.Model.IRVersion < 4 {
		n := onnxio.ConstantNode(c.Name, &fresh)
		sh.Model.Graph.Nodes[c.Node] = n
		return
	}
	sh.Model.Graph.Initializers = append(sh.Model.Graph.Initializers, &fresh)
	sh.gone[c.Node] = true
}

func (sh *shrinker) replaceConstant(c *op.Constant, t *onnxio.Tensor) {
	n := *sh.Model.Graph.Nodes[c.Node]
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
	sh.Model.Graph.Nodes[c.Node] = &n
}

// patchInfos updates declared shapes, of inputs that are weights too.
func (sh *shrinker) patchInfos() {
	for _, list := range [][]*onnxio.ValueInfo{sh.Model.Graph.ValueInfos, sh.Model.Graph.Inputs} {
		for i, info := range list {
			if v := sh.old.Analyzer.Values[info.Name]; v != nil && v.Ranked {
				list[i] = patchInfo(info, v.Shape, sh.Predicted(v))
			}
		}
	}
}

// patchInfo returns the info with the dims that changed.
func patchInfo(info *onnxio.ValueInfo, before, after []dim.Dim) *onnxio.ValueInfo {
	dims, ok := dim.Declared(info)
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
func (sh *shrinker) step(old *op.Call) error {
	n := *sh.Model.Graph.Nodes[old.Index]
	p := &op.Patching{Smaller: sh.Smaller, Old: old, Node: &n}
	if err := p.Resolve(); err != nil {
		return err
	}
	if p.ShortenZeros(); p.Err != nil {
		return p.Err
	}
	if p.SelectInputs(); p.Err != nil {
		return p.Err
	}
	for i := range old.In {
		if old.Pins.Has(i) {
			p.Pin(i)
		}
	}
	if r := op.Lookup(n.Domain, n.OpType, old.Version); r != nil && r.Patch != nil && !old.Blind && !sh.Analyzer.Funcs[n.Domain+":"+n.OpType] {
		r.Patch(p)
	}
	if p.Err != nil {
		return p.Err
	}
	if p.Changed {
		sh.Model.Graph.Nodes[old.Index] = &n
	}
	c, err := sh.Analyzer.Prepare(old.Index, sh.Model.Graph.Nodes[old.Index])
	if err != nil {
		return err
	}
	if sh.Analyzer.Run(c); sh.Analyzer.Broken != nil {
		return sh.Analyzer.Broken
	}
	return sh.compare(old, c)
}

func (sh *shrinker) compare(old, now *op.Call) error {
	for i, v := range old.Out {
		if v == nil || !v.Ranked {
			continue
		}
		want, got := sh.Predicted(v), sh.Analyzer.Values[v.Name]
		if got == nil {
			return fmt.Errorf("output %d %q has disappeared; please report this model", i, v.Name)
		}
		if !got.Ranked || len(got.Shape) != len(want) {
			return fmt.Errorf("output %q: shape %v, predicted %v; please report this model", v.Name, got.Shape, want)
		}
		for k := range want {
			if want[k] != got.Shape[k] && (want[k].IsNum() || v.Axes != nil && v.Axes[k] != nil) {
				return fmt.Errorf("output %q: shape %v, predicted %v; please report this model", v.Name, got.Shape, want)
			}
		}
	}
	return nil
}

// rebuild puts the added nodes in place, leaves out those that became initializers, and calls
// functions again.
func (sh *shrinker) rebuild() {
	sh.Model.Graph.Nodes = sh.old.folded(sh.Model.Graph.Nodes, sh.Before, sh.gone, sh.kept, sh.retype)
}
