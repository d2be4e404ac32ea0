package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Operators that read from places, or write to places, that an index tensor says. The axes that are
// indexed are kept whole, unless the indices are known; channels pass along all others, and an
// index tensor that is as wide as the
// channels is cut at the same positions.

func init() {
	const note = "channels pass; frozen on the axes that are indexed at run time"
	register(
		Op{Name: "GatherElements", Since: 11, Infer: gatherElements, Note: note},
		Op{Name: "GatherND", Since: 11, Infer: gatherND, Patch: patchGrid, Note: note},
		Op{Name: "Scatter", Since: 9, Infer: scatterElements, Note: note},
		Op{Name: "ScatterElements", Since: 11, Infer: scatterElements, Note: note},
		Op{Name: "ScatterND", Since: 11, Infer: scatterND, Patch: patchGrid, Note: note},
		Op{Name: "TensorScatter", Since: 24, Infer: tensorScatter, Note: note},
		Op{Name: "ReverseSequence", Since: 10, Infer: reverseSequence, Note: "channels pass; frozen on time and batch"},
	)
}

// leading returns the labels of the first n positions of an axis, which are all that the node
// touches.
func (c *Call) leading(x *Value, k int, n dim.Dim) []label.Label {
	a := c.axis(x, k)
	switch {
	case a == nil:
		return nil
	case !n.IsNum() || n.N > int64(len(a)):
		c.freeze(x, k, "it is not known how many positions are indexed")
		return nil
	}
	return a[:n.N]
}

// alongside cuts axis k of an index tensor at the positions at which labels are cut: with the
// tensor itself where that can be, else what remains is picked from it in front of the node, which
// is right whatever its contents are.
func (c *Call) alongside(input, k int, labels []label.Label) {
	v := c.In[input]
	free := v.Const != nil && v.Const.Axes[k] == nil
	fits := v.Shape[k].IsNum() && v.Shape[k].N == int64(len(labels))
	shared := len(c.ReadersOf(v.Name)) > 1 // other readers may need it whole
	switch {
	case !fits || !c.alive(labels):
		c.join(v, k, labels)
	case free && !shared:
		v.Const.Axes[k] = labels
	case !free && c.alive(c.axis(v, k)) && !(shared && c.widened(v)):
		c.joinLabels(c.axis(v, k), labels)
	case c.stands(c.Node) && !c.Derived:
		c.freeze(v, k, "is read as indices")
		c.selections = append(c.selections, selection{input, k, labels})
	default:
		c.join(v, k, labels)
	}
}

// widened reports whether a value comes out of a node that repeats it, so that the labels of its
// widened axes may be its own.
func (c *Call) widened(v *Value) bool {
	return c.madeBy(v, "Expand") != nil || c.madeBy(v, "Tile") != nil
}

// indexed returns the data and the axis of GatherElements and ScatterElements, whose index tensor
// has as many axes as they.
func (c *Call) indexed() (x, index *Value, axis int, ok bool) {
	x, axis, ok = c.axisOfInput(0)
	if !ok {
		return
	}
	index = c.Input(1)
	if ok = index != nil && index.Ranked && len(index.Shape) == len(x.Shape); !ok {
		c.unknown("the rank of the indices is unknown or not that of the data")
	}
	return
}

func gatherElements(c *Call) {
	x, index, axis, ok := c.indexed()
	if !ok {
		return
	}
	axes := make([][]label.Label, len(x.Shape))
	for k := range axes {
		if k == axis {
			c.freeze(x, k, "picks along this axis at indices that differ between positions")
			c.freeze(index, k, "is read as indices")
			continue
		}
		axes[k] = c.leading(x, k, index.Shape[k])
		c.alongside(1, k, axes[k])
	}
	c.set(0, x.Type, slices.Clone(index.Shape), axes...).zero = x.zero
}

func scatterElements(c *Call) {
	x, index, axis, ok := c.indexed()
	if !ok {
		return
	}
	u := c.Input(2)
	if u == nil || len(u.Shape) != len(x.Shape) {
		c.unknown("the rank of the updates is unknown or not that of the data")
		return
	}
	axes := make([][]label.Label, len(x.Shape))
	for k := range axes {
		if k == axis {
			for _, v := range c.In {
				c.freeze(v, k, "writes along this axis at indices that differ between positions")
			}
			continue
		}
		part := c.leading(x, k, index.Shape[k])
		c.alongside(1, k, part)
		c.meet(u, k, part)
		axes[k] = c.axis(x, k)
	}
	c.set(0, x.Type, slices.Clone(x.Shape), axes...).zero = c.written(x, u)
}

// written is what data hold at removed positions after updates: zero where both do, or where the
// data that are multiplied do.
func (c *Call) written(x, u *Value) zeroState {
	if x.zero == isZero && (c.zeroed(u) == isZero || c.str("reduction", "none") == "mul") {
		return isZero
	}
	return nonZero
}

// coordinate is one number of the places that an index tensor [I.., depth] holds, where it varies
// along one axis of I alone.
type coordinate struct {
	axis int // of the index tensor; -1: it is the same everywhere
	at   []int64
}

// maxIndex bounds the constants that are looked into for indices.
const maxIndex = 1 << 20

// indices returns the contents of an index tensor and its dims, where they are known.
func indices(v *Value) (ids []int64, dims []int, ok bool) {
	ids, ok = v.ints()
	if v.Const != nil && !ok {
		if n, err := v.Const.Tensor.NumElements(); err == nil && n <= maxIndex {
			ids, err = v.Const.Tensor.Int64s()
			ok = err == nil
		}
	}
	dims, plain := dim.Numbers(v.Shape)
	return ids, dims, ok && plain && len(ids) > 0 && !v.tainted()
}

// coordinates returns those of an index tensor into axes of the given lengths, nil for one that is
// not known or varies along several axes.
func (c *Call) coordinates(v *Value, over []dim.Dim) []*coordinate {
	out := make([]*coordinate, len(over))
	ids, dims, ok := indices(v)
	var parts []*Value
	if !ok {
		parts = c.partsOf(v, len(over))
	}
	for j, d := range over {
		switch {
		case !d.IsNum():
		case ok:
			out[j] = coordinateOf(ids, dims, j, d.N)
		case parts != nil:
			if part, dims, known := indices(parts[j]); known {
				if out[j] = coordinateOf(part, append(dims, 1), 0, d.N); out[j] != nil && out[j].axis >= 0 {
					out[j].axis += len(v.Shape) - 1 - len(dims)
				}
			}
		}
	}
	return out
}

// partsOf returns the tensors of which an index tensor is made, one for each coordinate, before
// they are expanded to the same shape, as PyTorch writes assignments to slices; nil where it is
// made in another way.
func (c *Call) partsOf(v *Value, depth int) []*Value {
	whole := c.madeBy(v, "Concat")
	if whole == nil || len(whole.In) != depth || len(v.Shape) < 2 || whole.Int("axis", 0) != -1 && whole.Int("axis", 0) != int64(len(v.Shape)-1) {
		return nil
	}
	out := make([]*Value, depth)
	for j, part := range whole.In {
		column := c.madeBy(part, "Unsqueeze")
		if column == nil || part.Shape[len(part.Shape)-1] != dim.Num(1) || len(column.In[0].Shape) != len(part.Shape)-1 || !slices.Equal(column.In[0].Shape, part.Shape[:len(part.Shape)-1]) {
			return nil
		}
		if out[j] = column.In[0]; out[j].Elements != nil {
			continue
		}
		if wide := c.madeBy(out[j], "Expand"); wide != nil && len(wide.In[0].Shape) <= len(out[j].Shape) {
			out[j] = wide.In[0]
		}
	}
	return out
}

// madeBy returns the call that makes a value, where it is of the given operator.
func (c *Call) madeBy(v *Value, op string) *Call {
	a := c.Analyzer
	if a.makers == nil {
		a.makers = map[*Value]*Call{}
	}
	for ; a.made < len(a.Calls); a.made++ {
		if m := a.Calls[a.made]; len(m.Out) > 0 && m.Out[0] != nil {
			a.makers[m.Out[0]] = m
		}
	}
	if m := a.makers[v]; m != nil && m.Node.OpType == op && m.Node.Domain == "" && m.In[0] != nil {
		return m
	}
	return nil
}

func coordinateOf(ids []int64, dims []int, j int, n int64) *coordinate {
	last, depth := len(dims)-1, dims[len(dims)-1]
	for p := j; p < len(ids); p += depth {
		if ids[p] < -n || ids[p] >= n {
			return nil
		}
	}
	value := func(p int) int64 { return (ids[p] + n) % n }
	c := &coordinate{-1, []int64{value(j)}}
	for a, stride := last-1, depth; a >= 0; a, stride = a-1, stride*dims[a] {
		varies := false
		for p := j; p < len(ids) && !varies; p += depth {
			varies = value(p) != value(p-p/stride%dims[a]*stride)
		}
		switch {
		case varies && c.axis >= 0:
			return nil
		case varies:
			c.axis, c.at = a, make([]int64, dims[a])
			for i := range c.at {
				c.at[i] = value(j + i*stride)
			}
		}
	}
	return c
}

// places relates the indexed axes of x, from first on, to the axes I of the index tensor: it
// returns labels for those of I whose coordinate is known, and freezes what cannot be followed.
func (c *Call) places(x, index *Value, first, depth int) [][]label.Label {
	out := make([][]label.Label, len(index.Shape)-1)
	over := x.Shape[first : first+depth]
	known := c.coordinates(index, over)
	for k := range index.Shape {
		if k >= first {
			c.freeze(index, k, "is read as indices")
		}
	}
	for j := range over {
		at, labels := known[j], c.axis(x, first+j)
		switch {
		case !c.alive(labels):
		case at == nil || first > 0 || at.axis >= 0 && out[at.axis] != nil:
			c.freeze(x, first+j, "is indexed by positions that are known only at run time, or that vary along several axes")
		case at.axis < 0:
			c.Labels.Freeze(labels[at.at[0]], c.because("takes this one position"))
		default:
			picked := make([]label.Label, len(at.at))
			for i, p := range at.at {
				picked[i] = labels[p]
			}
			out[at.axis] = picked
		}
	}
	return out
}

// nd returns the data and indices of GatherND and ScatterND, and how many axes are indexed.
func (c *Call) nd() (x, index *Value, batch, depth int, ok bool) {
	x, index, batch = c.Input(0), c.Input(1), int(c.Int("batch_dims", 0))
	if x == nil || index == nil || !x.Ranked || len(index.Shape) == 0 || !index.Shape[len(index.Shape)-1].IsNum() {
		c.unknown("the shapes of its inputs are unknown")
		return
	}
	depth = int(index.Shape[len(index.Shape)-1].N)
	if ok = batch >= 0 && depth > 0 && batch+depth <= len(x.Shape) && batch < len(index.Shape); !ok {
		c.unknown("its indices do not fit its data")
	}
	return
}

func gatherND(c *Call) {
	x, index, batch, depth, ok := c.nd()
	if !ok {
		return
	}
	axes := c.places(x, index, batch, depth)
	for k := range batch {
		axes[k] = c.axis(x, k)
		c.alongside(1, k, axes[k])
	}
	for k := batch + depth; k < len(x.Shape); k++ {
		axes = append(axes, c.axis(x, k))
	}
	shape := slices.Concat(index.Shape[:len(index.Shape)-1], x.Shape[batch+depth:])
	c.set(0, x.Type, shape, axes...).zero = x.zero
}

func scatterND(c *Call) {
	x, index, _, depth, ok := c.nd()
	if !ok {
		return
	}
	u := c.Input(2)
	if n := len(index.Shape) - 1; u == nil || len(u.Shape) != n+len(x.Shape)-depth {
		c.unknown("the shape of the updates is unknown or does not fit")
		return
	}
	at := c.places(x, index, 0, depth)
	for k := depth; k < len(x.Shape); k++ {
		at = append(at, c.axis(x, k))
	}
	for k, a := range at {
		if a == nil {
			c.freeze(u, k, "is written to positions that cannot be pruned")
		} else {
			c.meet(u, k, a)
		}
	}
	axes := make([][]label.Label, len(x.Shape))
	for k := range axes {
		axes[k] = c.axis(x, k)
	}
	c.set(0, x.Type, slices.Clone(x.Shape), axes...).zero = c.written(x, u)
}

// patchGrid writes the indices of what remains where indexed axes were cut.
func patchGrid(p *Patching) {
	x, index, first, depth, ok := p.Old.nd()
	if !ok || first > 0 {
		return
	}
	rows, moved := make([][]int, len(index.Shape)-1), make([][]int64, depth)
	changed := false
	for j, at := range p.Old.coordinates(index, x.Shape[:depth]) {
		keep := p.Keep(p.Old.axis(x, j))
		if keep == nil || at == nil {
			continue
		}
		changed = true
		moved[j] = make([]int64, x.Shape[j].N)
		for now, was := range keep {
			moved[j][was] = int64(now)
		}
		if at.axis >= 0 {
			rows[at.axis] = slices.DeleteFunc(upTo(len(at.at)), func(i int) bool { _, in := slices.BinarySearch(keep, int(at.at[i])); return !in })
		}
	}
	ids, dims, known := indices(index)
	switch {
	case !changed:
	case known:
		for a := range rows {
			if rows[a] == nil {
				rows[a] = upTo(dims[a])
			}
		}
		p.setInput(1, smallerIndex(index, ids, append(rows, upTo(depth)), moved))
	default:
		p.renumber(rows, moved)
	}
}

// renumber puts nodes in front of this one that pick the rows of an index tensor, where they are
// given for an axis, and give its coordinates the numbers that they have now.
func (p *Patching) renumber(rows [][]int, moved [][]int64) {
	name := p.Node.Outputs[0] + "/index"
	node := func(op string, axis int, inputs ...string) string {
		out := p.fresh(name)
		p.insert(&onnxio.Node{OpType: op, Name: out, Inputs: inputs, Outputs: []string{out}, Attributes: []*onnxio.Attribute{{Name: "axis", Type: onnxio.AttrInt, I: int64(axis)}}})
		return out
	}
	numbers := func(v []int64) string {
		t := onnxio.NewInt64s(p.fresh(name+"/numbers"), v)
		p.addConstant(t)
		return t.Name
	}
	now := p.Node.Inputs[1]
	for a, at := range rows {
		if at == nil {
			continue
		}
		var v []int64
		for _, i := range at {
			v = append(v, int64(i))
		}
		now = node("Gather", a, now, numbers(v))
	}
	var columns []string
	for j, m := range moved {
		column := node("Gather", len(rows), now, numbers([]int64{int64(j)}))
		if m != nil {
			column = node("Gather", 0, numbers(m), column)
		}
		columns = append(columns, column)
	}
	if now = node("Concat", len(rows), columns...); p.Err == nil {
		p.rewire(1, now)
	}
}

// smallerIndex is an index tensor at the given rows; moved says, by coordinate, where a position is
// in the smaller model, and is nil where nothing moves.
func smallerIndex(index *Value, ids []int64, rows [][]int, moved [][]int64) *onnxio.Tensor {
	t := &onnxio.Tensor{DataType: index.Type}
	for _, at := range rows {
		t.Dims = append(t.Dims, int64(len(at)))
	}
	var out []int64
	var walk func(axis, base int)
	walk = func(axis, base int) {
		if axis == len(rows) {
			n := ids[base]
			if m := moved[base%len(moved)]; m != nil {
				n = m[(n+int64(len(m)))%int64(len(m))]
			}
			out = append(out, n)
			return
		}
		for _, i := range rows[axis] {
			walk(axis+1, base*int(index.Shape[axis].N)+i)
		}
	}
	walk(0, 0)
	t.SetInt64s(out)
	return t
}

// tensorScatter writes updates into a cache, [batch, .., places, channels], along one axis.
func tensorScatter(c *Call) {
	x, axis, ok := c.axisOfInput(-2)
	u := c.Input(1)
	if !ok {
		return
	}
	if u == nil || len(u.Shape) != len(x.Shape) || axis == 0 {
		c.unknown("the rank of the updates is unknown or not that of the cache")
		return
	}
	c.freezeValue(c.Input(2), "says where the cache is written")
	axes := make([][]label.Label, len(x.Shape))
	for k := range axes {
		if k == 0 || k == axis {
			c.freeze(x, k, "is written along this axis at indices that differ between samples")
			c.freeze(u, k, "is written along this axis at indices that differ between samples")
			continue
		}
		axes[k] = c.axis(x, k)
		c.meet(u, k, axes[k])
	}
	c.set(0, x.Type, slices.Clone(x.Shape), axes...).zero = c.written(x, u)
}

func reverseSequence(c *Call) {
	x := c.Input(0)
	if x == nil || len(x.Shape) < 2 {
		c.unknown("the rank of the input is unknown or below 2")
		return
	}
	c.freezeValue(c.Input(1), "holds lengths")
	for _, k := range []int64{c.Int("batch_axis", 1), c.Int("time_axis", 0)} {
		if k >= 0 && k < int64(len(x.Shape)) {
			c.freeze(x, int(k), "is reversed along this axis, at each sample as the lengths say")
		}
	}
	c.same(0, x.Type, x)
}
