package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Patching adapts one node to the axes that were cut.
type Patching struct {
	*Smaller
	Old     *Call
	Node    *onnxio.Node // a copy; changes count once changed is set
	in      []*Value     // of the smaller model
	Changed bool
	Err     error
}

// Resolve looks up the values of the node's inputs in the smaller model.
func (p *Patching) Resolve() error {
	p.in = nil
	for _, name := range p.Node.Inputs {
		v := p.Analyzer.Values[name]
		if v == nil && name != "" {
			return fmt.Errorf("input %q has disappeared", name)
		}
		p.in = append(p.in, v)
	}
	return nil
}

// want is the shape that output i will have, nil where it is not known or the model does not want
// it.
func (p *Patching) want(i int) []dim.Dim { return p.Predicted(p.Old.Result(i)) }

// base is what names of added values begin with.
func (p *Patching) base() string { return p.Old.outName(0) }

// setInput makes input i a new constant with the given integers and dims.
func (p *Patching) setInput(i int, t *onnxio.Tensor) {
	t.Name = p.fresh(fmt.Sprintf("%s/input%d", p.base(), i))
	p.addConstant(t)
	p.rewire(i, t.Name)
}

func (p *Patching) rewire(i int, name string) {
	inputs := slices.Clone(p.Node.Inputs)
	for len(inputs) <= i {
		inputs = append(inputs, "")
	}
	inputs[i] = name
	p.Node.Inputs, p.Changed = inputs, true
	p.Err = p.Resolve()
}

// addConstant makes a tensor known to the model: an initializer, or a Constant node where
// initializers have to be inputs.
func (p *Patching) addConstant(t *onnxio.Tensor) {
	if p.Model.IRVersion >= 4 {
		p.Model.Graph.Initializers = append(p.Model.Graph.Initializers, t)
		p.Analyzer.add(constValue(t.Name, t, -1))
		return
	}
	p.insert(onnxio.ConstantNode(t.Name, t))
}

// insert puts a node in front of the patched one and runs its rule.
func (p *Patching) insert(n *onnxio.Node) {
	p.Before[p.Old.Index] = append(p.Before[p.Old.Index], n)
	c, err := p.Analyzer.Prepare(p.Old.Index, n)
	if err != nil {
		p.Err = err
		return
	}
	p.Analyzer.Run(c)
}

// setVector makes input i the vector of the given elements: numbers are written, others are picked
// at run time from what the input was.
func (p *Patching) setVector(i int, want []dim.Dim) {
	if p.correct(i, want) {
		return
	}
	t := p.Old.In[i].Type
	numeric := !slices.ContainsFunc(want, func(d dim.Dim) bool { return !d.IsNum() })
	if numeric {
		v := make([]int64, len(want))
		for k, d := range want {
			v[k] = d.N
		}
		c := &onnxio.Tensor{Dims: []int64{int64(len(v))}, DataType: t}
		c.SetInt64s(v)
		p.setInput(i, c)
		return
	}
	source := p.Node.Inputs[i]
	var parts []string
	for k, d := range want {
		c := &onnxio.Tensor{Dims: []int64{1}, DataType: t, Name: p.fresh(fmt.Sprintf("%s/input%d.%d", p.base(), i, k))}
		if d.IsNum() {
			c.SetInt64s([]int64{d.N})
			p.addConstant(c)
			parts = append(parts, c.Name)
			continue
		}
		c.DataType = onnxio.Int64
		c.SetInt64s([]int64{int64(k)})
		p.addConstant(c)
		out := p.fresh(c.Name + "/pick")
		p.insert(&onnxio.Node{OpType: "Gather", Name: out, Inputs: []string{source, c.Name}, Outputs: []string{out},
			Attributes: []*onnxio.Attribute{{Name: "axis", Type: onnxio.AttrInt}}})
		parts = append(parts, out)
	}
	out := p.fresh(fmt.Sprintf("%s/input%d", p.base(), i))
	p.insert(&onnxio.Node{OpType: "Concat", Name: out, Inputs: parts, Outputs: []string{out},
		Attributes: []*onnxio.Attribute{{Name: "axis", Type: onnxio.AttrInt}}})
	if p.Err == nil {
		p.rewire(i, out)
	}
}

// correct adds the difference to a vector that the graph computes, so that shape arithmetic stays
// arithmetic; false where the input is a constant or the
// difference is not known in numbers.
func (p *Patching) correct(i int, want []dim.Dim) bool {
	if i >= len(p.in) || p.in[i] == nil || p.in[i].Const != nil && !p.in[i].copiedIntegers() || len(p.in[i].Shape) != 1 {
		return false
	}
	now := p.in[i].Elements
	if len(now) != len(want) || len(now) == 0 {
		return false
	}
	delta := make([]int64, len(want))
	for k, d := range want {
		n := now[k].Int
		switch {
		case now[k].IsFloat:
			return false
		case n == d:
		case !d.IsNum() || !n.IsNum() || (d.N < 0) != (n.N < 0):
			return false
		default:
			delta[k] = d.N - n.N
		}
	}
	c := &onnxio.Tensor{Dims: []int64{int64(len(delta))}, DataType: p.Old.In[i].Type, Name: p.fresh(fmt.Sprintf("%s/delta%d", p.base(), i))}
	c.SetInt64s(delta)
	p.addConstant(c)
	out := p.fresh(fmt.Sprintf("%s/input%d", p.base(), i))
	p.insert(&onnxio.Node{OpType: "Add", Name: out, Inputs: []string{p.Node.Inputs[i], c.Name}, Outputs: []string{out}})
	if p.Err == nil {
		p.rewire(i, out)
	}
	return true
}

// Pin keeps the original contents of an input through which an axis's length flows into data.
func (p *Patching) Pin(i int) {
	old := p.Old.In[i]
	want, _ := old.floats()
	if have, ok := p.in[i].floats(); ok && slices.Equal(have, want) {
		return
	}
	if p.pinNumber(i, old, want) {
		return
	}
	t := &onnxio.Tensor{DataType: old.Type, Dims: []int64{}}
	for _, d := range old.Shape {
		t.Dims = append(t.Dims, d.N)
	}
	switch old.Type {
	case onnxio.Float:
		v := make([]float32, len(want))
		for k, x := range want {
			v[k] = float32(x)
		}
		t.SetRaw(rawFloats(v))
	case onnxio.Float16:
		t.SetRaw(rawHalves(want, onnxio.Float32To16))
	case onnxio.BFloat16:
		t.SetRaw(rawHalves(want, onnxio.Float32ToB16))
	case onnxio.Double:
		var raw []byte
		for _, x := range want {
			b := math.Float64bits(x)
			for k := range 8 {
				raw = append(raw, byte(b>>(8*k)))
			}
		}
		t.SetRaw(raw)
	default:
		v := make([]int64, len(want))
		for k, e := range old.Elements {
			v[k] = e.Int.N
		}
		t.SetInt64s(v)
	}
	p.setInput(i, t)
}

// pinNumber writes one number that is quantised as an attribute of a Constant node. As a tensor it
// would be counted as a parameter beside weights of integers, which some readers do not count.
func (p *Patching) pinNumber(i int, old *Value, want []float64) bool {
	if p.Old.Op().Operands == "" || old.Type != onnxio.Float || len(want) != 1 || len(old.Shape) > 1 || p.Old.Versions[""] < 12 {
		return false
	}
	a := &onnxio.Attribute{Name: "value_float", Type: onnxio.AttrFloat, F: float32(want[0])}
	if len(old.Shape) == 1 {
		a = &onnxio.Attribute{Name: "value_floats", Type: onnxio.AttrFloats, Floats: []float32{float32(want[0])}}
	}
	name := p.fresh(fmt.Sprintf("%s/input%d", p.base(), i))
	if p.insert(&onnxio.Node{OpType: "Constant", Name: name, Outputs: []string{name}, Attributes: []*onnxio.Attribute{a}}); p.Err == nil {
		p.rewire(i, name)
	}
	return true
}

func rawHalves(v []float64, convert func(float32) uint16) []byte {
	var raw []byte
	for _, x := range v {
		h := convert(float32(x))
		raw = append(raw, byte(h), byte(h>>8))
	}
	return raw
}

func (p *Patching) setAttr(a *onnxio.Attribute) {
	p.Node.Attributes = slices.DeleteFunc(slices.Clone(p.Node.Attributes), func(b *onnxio.Attribute) bool { return b.Name == a.Name })
	p.Node.Attributes = append(p.Node.Attributes, a)
	p.Changed = true
}

func (p *Patching) dropAttr(name string) {
	if p.Old.attr(name) != nil {
		p.Node.Attributes = slices.DeleteFunc(slices.Clone(p.Node.Attributes), func(b *onnxio.Attribute) bool { return b.Name == name })
		p.Changed = true
	}
}

// patchGroup sets the number of groups of a convolution from its smaller weight.
func patchGroup(p *Patching) {
	old := p.Old.Int("group", 1)
	if old == 1 {
		return
	}
	layer := p.Old.Op().Layer
	_, ranked := p.Old.Input(0).dim(1) // of an input of unknown rank nothing is cut, nor are groups that read it
	each, fits := p.now(layer.Weight).dim(1)
	if !ranked || !fits {
		return
	}
	channels, known := p.now(0).dim(1)
	if layer.Out == 1 {
		channels, known = dimOf(p.want(0), 1)
	}
	if g, ok := channels.DivExact(each); known && ok && g.IsNum() && g.N != old {
		p.setAttr(&onnxio.Attribute{Name: "group", Type: onnxio.AttrInt, I: g.N})
	}
}

// now is input i of the smaller model, nil where it is left out.
func (p *Patching) now(i int) *Value {
	if i >= len(p.in) {
		return nil
	}
	return p.in[i]
}

func dimOf(shape []dim.Dim, k int) (dim.Dim, bool) {
	if k >= len(shape) {
		return dim.Dim{}, false
	}
	return shape[k], true
}

func patchNumGroups(p *Patching) {
	old := p.Old.Int("num_groups", 1)
	before, a := p.Old.Input(0).dim(1)
	after, b := p.now(0).dim(1)
	if !a || !b || before == after || !before.IsNum() || !after.IsNum() {
		return
	}
	p.setAttr(&onnxio.Attribute{Name: "num_groups", Type: onnxio.AttrInt, I: after.N * old / before.N})
}

// patchShapeInput rewrites the target shape of Reshape, Expand and ConstantOfShape where what it
// evaluates to is not what is wanted.
func patchShapeInput(p *Patching) {
	i := 1
	if p.Node.OpType == "ConstantOfShape" {
		i = 0
	}
	if !p.Old.Result(0).Ranked || p.Old.Input(i) == nil || i >= len(p.in) {
		return
	}
	want := p.want(0)
	was := p.Old.In[i].Elements
	if was == nil || slices.Equal(want, p.Old.Result(0).Shape) && !p.Old.In[i].tainted() {
		return
	}
	if p.targetHolds(i, want) {
		return
	}
	target := make([]dim.Dim, len(was))
	for k, e := range was {
		w := want[len(want)-len(was)+k]
		switch {
		case e.Int == dim.Num(-1), p.Node.OpType == "Expand" && e.Int == dim.Num(1):
			target[k] = e.Int
		case e.Int == dim.Num(0) && p.Node.OpType == "Reshape" && p.in[0].Shape[k] == w:
			target[k] = e.Int
		case w.IsNum():
			target[k] = w
		default:
			target[k] = e.Int
		}
	}
	if !p.correct(i, target) {
		p.setVector(i, p.inferOne(target))
	}
}

// inferOne replaces the only element of a Reshape's target that is known at run time alone by -1.
func (p *Patching) inferOne(target []dim.Dim) []dim.Dim {
	at := -1
	for k, d := range target {
		if d == dim.Num(-1) || (!d.IsNum() && at >= 0) {
			return target
		}
		if !d.IsNum() {
			at = k
		}
	}
	if at >= 0 && p.Node.OpType == "Reshape" {
		target[at] = dim.Num(-1)
	}
	return target
}

// targetHolds reports whether the target shape as it is gives the wanted one.
func (p *Patching) targetHolds(i int, want []dim.Dim) bool {
	if p.in[i].Elements == nil {
		return false
	}
	c := &Call{Analyzer: p.Analyzer, Node: p.Node, Index: p.Old.Index, Version: p.Old.Version, In: p.in}
	switch p.Node.OpType {
	case "Reshape":
		got, ok := c.reshapeDims(p.in[0], p.in[1])
		return ok && slices.Equal(got, want)
	case "Expand":
		for k, e := range p.in[i].Elements {
			if w := want[len(want)-len(p.in[i].Elements)+k]; e.Int != w && e.Int != dim.Num(1) {
				return false
			}
		}
		return true
	}
	got, _ := shapeFrom(p.in[i].Elements)
	return slices.Equal(got, want)
}

func patchSplit(p *Patching) {
	x := p.Old.Input(0)
	if x == nil {
		return
	}
	axis, ok := NormAxis(p.Old.Int("axis", 0), len(x.Shape))
	if !ok {
		return
	}
	before, ok := p.Old.splitSizes(x, axis)
	if !ok {
		return
	}
	c := &Call{Analyzer: p.Analyzer, Node: p.Node, Index: p.Old.Index, Version: p.Old.Version, In: p.in, Out: p.Old.Out}
	sizes, ok := c.splitSizes(p.in[0], axis)
	same := ok
	want := make([]int64, len(p.Old.Out))
	whole, at := p.Old.axis(x, axis), int64(0)
	for i, w := range before {
		if !w.IsNum() {
			return
		}
		if want[i] = w.N; whole != nil {
			want[i] = p.surviving(whole[at : at+w.N : at+w.N]).N
		}
		at += w.N
		same = same && sizes[i] == dim.Num(want[i])
	}
	if same {
		return
	}
	if p.Old.Version < 13 {
		p.setAttr(&onnxio.Attribute{Name: "split", Type: onnxio.AttrInts, Ints: want})
		return
	}
	p.dropAttr("num_outputs")
	p.setInput(1, onnxio.NewInt64s("", want))
}

func patchSlice(p *Patching) {
	x := p.Old.Input(0)
	if x == nil || !x.Ranked || !p.Old.Result(0).Ranked {
		return
	}
	bounds, ok := p.Old.sliceBounds(len(x.Shape))
	if !ok {
		return
	}
	c := &Call{Analyzer: p.Analyzer, Node: p.Node, Index: p.Old.Index, Version: p.Old.Version, In: p.in}
	now, evaluated := c.sliceBounds(len(x.Shape))
	starts, ends, changed := make([]dim.Dim, len(bounds)), make([]dim.Dim, len(bounds)), false
	for i, b := range bounds {
		starts[i], ends[i] = p.oldBound(1, i, b.start), p.oldBound(2, i, b.end)
		axis := p.Old.axis(x, b.axis)
		keep := p.Keep(axis)
		if !b.known || (keep == nil && (!evaluated || now[i] == b)) {
			continue
		}
		if keep == nil {
			keep = upTo(int(x.Shape[b.axis].N))
		}
		at := b.positions(int(x.Shape[b.axis].N))
		want := movedPositions(at, keep)
		if evaluated && now[i].known && slices.Equal(now[i].positions(len(keep)), want) && len(want) > 0 {
			continue
		}
		changed = true
		s, e := boundsFor(want, b, len(keep))
		starts[i], ends[i] = dim.Num(s), dim.Num(e)
	}
	if !changed {
		return
	}
	if p.Old.Version < 10 {
		p.setAttr(&onnxio.Attribute{Name: "starts", Type: onnxio.AttrInts, Ints: plain(starts)})
		p.setAttr(&onnxio.Attribute{Name: "ends", Type: onnxio.AttrInts, Ints: plain(ends)})
		return
	}
	p.setVector(1, starts)
	p.setVector(2, ends)
}

func (p *Patching) oldBound(input, i int, n int64) dim.Dim {
	if p.Old.Version >= 10 {
		return p.Old.In[input].Elements[i].Int
	}
	return dim.Num(n)
}

func plain(v []dim.Dim) []int64 {
	out := make([]int64, len(v))
	for i, d := range v {
		out[i] = d.N
	}
	return out
}

// movedPositions maps the picked positions that survive to their new indices.
func movedPositions(at, keep []int) []int {
	out := []int{}
	for _, p := range at {
		if i, ok := slices.BinarySearch(keep, p); ok {
			out = append(out, i)
		}
	}
	return out
}

// boundsFor returns bounds that pick the wanted positions of an axis of n.
func boundsFor(want []int, b sliceArgs, n int) (start, end int64) {
	if len(want) == 0 {
		return 0, 0
	}
	first, last := int64(want[0]), int64(want[len(want)-1])
	switch {
	case b.step > 1:
		return b.start, int64(n)
	case b.step > 0:
		return first, last + 1
	case last == 0:
		return first, math.MinInt64
	}
	return first, last - 1
}

func patchGather(p *Patching) {
	x, index := p.Old.Input(0), p.Old.Input(1)
	if x == nil || index == nil || !x.Ranked || !p.Old.Result(0).Ranked || !p.Old.shapeIn.Has(1) {
		return
	}
	axis, ok := NormAxis(p.Old.Int("axis", 0), len(x.Shape))
	if !ok {
		return
	}
	keep := p.Keep(p.Old.axis(x, axis))
	ids, known := index.ints()
	if keep == nil || !known {
		return
	}
	t := &onnxio.Tensor{DataType: index.Type, Dims: []int64{}}
	out := p.want(0)
	for k := range index.Shape {
		t.Dims = append(t.Dims, out[axis+k].N)
	}
	var v []int64
	for _, i := range ids {
		if i < 0 {
			i += x.Shape[axis].N
		}
		if at, ok := slices.BinarySearch(keep, int(i)); ok {
			v = append(v, int64(at))
		}
	}
	t.SetInt64s(v)
	p.setInput(1, t)
}

// patchPad sets the amounts to the padding of the kept channels, and keeps them where they are
// computed from lengths that changed.
func patchPad(p *Patching) {
	x, y := p.Old.Input(0), p.Old.Result(0)
	if x == nil || !x.Ranked || !y.Ranked {
		return
	}
	rank := len(x.Shape)
	amounts, ok := p.Old.padAmounts(rank)
	if !ok {
		return
	}
	want := make([]dim.Dim, 2*rank)
	for k := range rank {
		before, after := amounts[k].Int, amounts[rank+k].Int
		want[k], want[rank+k] = before, after
		padded := y.Axes[k]
		if padded == nil || !before.IsNum() || !after.IsNum() {
			continue
		}
		want[k] = p.surviving(padded[:before.N])
		want[rank+k] = p.surviving(padded[int64(len(padded))-after.N:])
	}
	c := &Call{Analyzer: p.Analyzer, Node: p.Node, Index: p.Old.Index, Version: p.Old.Version, In: p.in}
	if now, ok := c.padAmounts(rank); ok && slices.EqualFunc(now, want, func(e Elem, d dim.Dim) bool { return e.Int == d }) {
		return
	}
	if p.Old.Version < 11 {
		p.setAttr(&onnxio.Attribute{Name: "pads", Type: onnxio.AttrInts, Ints: plain(want)})
		return
	}
	p.setVector(1, p.padOrder(want, rank))
}

// padOrder returns the amounts of the axes that the node names, in its order.
func (p *Patching) padOrder(want []dim.Dim, rank int) []dim.Dim {
	axes, ok := p.Old.Input(3).ints()
	if !ok {
		return want
	}
	out := make([]dim.Dim, 2*len(axes))
	for i, a := range axes {
		k, _ := NormAxis(a, rank)
		out[i], out[len(axes)+i] = want[k], want[rank+k]
	}
	return out
}

func (p *Patching) surviving(axis []label.Label) dim.Dim {
	if keep := p.Keep(axis); keep != nil {
		return dim.Num(int64(len(keep)))
	}
	return dim.Num(int64(len(axis)))
}

// patchResize rewrites the sizes of axes that were cut.
func patchResize(p *Patching) {
	_, i := p.Old.resizeInputs()
	if i < 0 || p.Old.Input(i) == nil || !p.Old.Result(0).Ranked || len(p.Old.In[i].Elements) == 0 {
		return
	}
	axes, ok := p.Old.resizeAxes(len(p.Old.Result(0).Shape))
	if !ok {
		return
	}
	want, changed := make([]dim.Dim, len(axes)), false
	for k, axis := range axes {
		w := p.want(0)[axis]
		want[k] = w
		if !w.IsNum() {
			want[k] = p.Old.In[i].Elements[k].Int
		}
		changed = changed || p.in[i].Elements == nil || p.in[i].Elements[k].Int != w
	}
	if changed {
		p.setVector(i, want)
	}
}
