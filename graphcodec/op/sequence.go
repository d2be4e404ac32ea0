package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

func init() {
	const note = "items keep their labels where it is known which they are"
	register(
		Op{Name: "SequenceConstruct", Since: 11, Infer: sequenceConstruct, Note: note},
		Op{Name: "SequenceEmpty", Since: 11, Infer: func(c *Call) { c.sequence(nil) }, Note: note},
		Op{Name: "SequenceInsert", Since: 11, Infer: sequenceInsert, Note: note},
		Op{Name: "SequenceErase", Since: 11, Infer: sequenceErase, Note: note},
		Op{Name: "SequenceAt", Since: 11, Infer: sequenceAt, Note: note},
		Op{Name: "SequenceLength", Since: 11, Infer: sequenceLength, Note: "evaluated"},
		Op{Name: "SplitToSequence", Since: 11, Infer: splitToSequence, Note: "the axis that is split is kept"},
		Op{Name: "ConcatFromSequence", Since: 11, Infer: concatFromSequence, Note: "the axis that is joined is kept"},
	)
}

// maxItems bounds the sequences that are followed.
const maxItems = 256

// sequence makes output 0 a sequence of known items. Constants in it stay whole: their readers are
// not told apart.
func (c *Call) sequence(items []*Value) {
	if len(items) > maxItems {
		for _, v := range items {
			c.freezeValue(v, "is put into a sequence of more than %d items", maxItems)
		}
		return
	}
	out := make([]*Value, len(items))
	for i, v := range items {
		if v.Const != nil {
			c.freezeValue(v, "is put into a sequence")
		}
		item := *v
		item.Const, item.Elements, item.Axes = nil, nil, make([][]label.Label, len(v.Shape))
		for k := range item.Axes {
			if v.Const == nil {
				item.Axes[k] = c.axis(v, k)
			}
		}
		out[i] = &item
	}
	if len(c.Out) > 0 && c.Out[0] != nil {
		c.Out[0].seq = out
	}
}

// items are those of the sequence that is input 0; false where they are not known, and then what
// the node reads is frozen.
func (c *Call) items() ([]*Value, bool) {
	if s := c.Input(0); s != nil && s.seq != nil {
		return s.seq, true
	}
	c.unknown("its sequence is not known")
	return nil, false
}

// position reads an index into n items from an input, last where it has none.
func (c *Call) position(i, n, last int) (int, bool) {
	if c.Input(i) == nil {
		return last, last >= 0
	}
	v, ok := c.Input(i).ints()
	c.shapeIn.set(i, ok)
	if !ok || len(v) != 1 {
		return 0, false
	}
	if v[0] < 0 {
		v[0] += int64(n)
	}
	return int(v[0]), v[0] >= 0 && v[0] < int64(n)
}

func sequenceConstruct(c *Call) {
	for _, v := range c.In {
		if v == nil {
			c.unknown("an item is missing")
			return
		}
	}
	c.sequence(c.In)
}

func sequenceInsert(c *Call) {
	s, ok := c.items()
	if !ok {
		return
	}
	at, known := c.position(2, len(s)+1, len(s))
	if !known || c.Input(1) == nil {
		c.unknown("the position is not known")
		return
	}
	c.sequence(append(append(slices.Clone(s[:at]), c.In[1]), s[at:]...))
}

func sequenceErase(c *Call) {
	s, ok := c.items()
	if !ok {
		return
	}
	at, known := c.position(1, len(s), len(s)-1)
	if !known {
		c.unknown("the position is not known")
		return
	}
	c.sequence(slices.Delete(slices.Clone(s), at, at+1))
}

func sequenceAt(c *Call) {
	s, ok := c.items()
	if !ok {
		return
	}
	at, known := c.position(1, len(s), -1)
	if !known || !s[at].Ranked {
		c.unknown("the position, or the rank of its item, is not known")
		return
	}
	c.same(0, s[at].Type, s[at])
}

func sequenceLength(c *Call) {
	s, ok := c.items()
	if !ok {
		c.set(0, onnxio.Int64, []dim.Dim{})
		return
	}
	c.set(0, onnxio.Int64, []dim.Dim{}).Elements = []Elem{{Int: dim.Num(int64(len(s)))}}
}

func splitToSequence(c *Call) {
	x, axis, ok := c.axisOfInput(0)
	if !ok {
		return
	}
	c.freeze(x, axis, "is split into a sequence")
	sizes, ok := c.sequenceSizes(x.Shape[axis])
	if !ok || len(sizes) > maxItems {
		c.unknown("the parts' sizes are not known")
		return
	}
	drops := c.Input(1) == nil && c.Int("keepdims", 1) == 0
	items := make([]*Value, len(sizes))
	for i, n := range sizes {
		item := *x
		item.Shape, item.Axes, item.Elements, item.Const = slices.Clone(x.Shape), make([][]label.Label, len(x.Shape)), nil, nil
		for k := range item.Axes {
			if k != axis {
				item.Axes[k] = c.axis(x, k)
			}
		}
		if item.Shape[axis] = dim.Num(n); drops {
			item.Shape, item.Axes = slices.Delete(item.Shape, axis, axis+1), slices.Delete(item.Axes, axis, axis+1)
		}
		items[i] = &item
	}
	if x.Const != nil {
		c.freezeValue(x, "is split into a sequence")
	}
	c.sequence(items)
}

// sequenceSizes are the lengths of the parts of an axis: ones, chunks of a size, or as they are
// listed.
func (c *Call) sequenceSizes(d dim.Dim) ([]int64, bool) {
	split := c.Input(1)
	size := int64(1)
	if split != nil {
		v, ok := split.ints()
		c.shapeIn.set(1, ok)
		if !ok || len(v) == 0 {
			return nil, false
		}
		if len(split.Shape) == 1 {
			return v, true
		}
		size = v[0]
	}
	if !d.IsNum() || size < 1 || d.N/size > maxItems {
		return nil, false
	}
	var out []int64
	for left := d.N; left > 0; left -= size {
		out = append(out, min(size, left))
	}
	return out, true
}

func concatFromSequence(c *Call) {
	s, ok := c.items()
	if !ok {
		return
	}
	rank := -1
	for _, v := range s {
		if !v.Ranked || rank >= 0 && len(v.Shape) != rank {
			c.unknown("the items' ranks are unknown or differ")
			return
		}
		rank = len(v.Shape)
	}
	grown := int(c.Int("new_axis", 0))
	axis, inside := NormAxis(c.Int("axis", 0), rank+grown)
	if rank < 0 || !inside {
		c.unknown("has no items, or axis is out of range")
		return
	}
	shape, axes, length := slices.Clone(s[0].Shape), make([][]label.Label, rank), dim.Num(0)
	zero := s[0].zero
	for k := range shape {
		if k == axis && grown == 0 {
			continue
		}
		axes[k] = c.axis(s[0], k)
		for _, v := range s[1:] {
			c.join(v, k, axes[k])
		}
	}
	for _, v := range s {
		if grown == 0 {
			c.freeze(v, axis, "is joined from a sequence along this axis")
			length = length.Add(v.Shape[axis])
		}
		if v.zero != isZero && c.tracked(v) {
			zero = nonZero
		}
	}
	if grown == 0 {
		shape[axis] = length
	} else {
		shape, axes = slices.Insert(shape, axis, dim.Num(int64(len(s)))), append(axes[:axis:axis], append([][]label.Label{nil}, axes[axis:]...)...)
	}
	c.set(0, s[0].Type, shape, axes...).zero = zero
}
