package repair

import (
	"context"
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

// target is what a layer is fitted to: the original's output on the kept channels, plus what the
// value that it is added to is short of.
type target struct {
	value      string // of the original
	kept       []int
	was, other string    // the other operand in the original and in the pruned model; "" for none
	gain       []float64 // of what is short, by kept channel
	all        int       // channels of the original's output
}

// target runs both models as far as a fit needs; nil where there is nothing to fit.
func (q *pair) target(ctx context.Context, l *layer, at int) (*target, error) {
	t := &target{value: l.node.Outputs[0]}
	other, was, norm := q.others(l, at)
	if was != "" {
		q.p.keep(other)
		q.o.keep(was)
	}
	q.o.keep(t.value)
	q.p.keep(l.node.Inputs[0])
	if err := q.o.advance(ctx, at+1); err != nil {
		return nil, err
	}
	if err := q.p.advance(ctx, l.index); err != nil {
		return nil, err
	}
	if !q.o.store.has(t.value) || !q.p.store.has(l.node.Inputs[0]) {
		return nil, nil // a constant or an integer
	}
	y := q.o.store.like(t.value, 0)
	dims := q.p.constant(l.weight).Dims
	t.kept = q.kept(l.weight, l.out, int(dims[l.out]))
	if _, t.all, _ = y.Blocks(l.channel); t.kept[len(t.kept)-1] >= t.all {
		return nil, nil
	}
	if was == "" || !q.o.store.has(was) || !q.p.store.has(other) || !q.alike(l, t, other, was) {
		return t, nil
	}
	var err error
	t.other, t.was = other, was
	t.gain, err = q.gain(len(t.kept), norm)
	return t, err
}

// others are what a layer's output is added to in both models, as far as both have run by then; "" for nothing.
func (q *pair) others(l *layer, at int) (other, was string, norm *onnxio.Node) {
	other, norm = q.p.partner(l)
	if other == "" {
		return "", "", nil
	}
	was, n := q.o.partner(&layer{node: q.o.nodes[at]})
	if n == nil != (norm == nil) || was == "" || q.p.where[other] >= l.index || q.o.where[was] >= at || q.p.constant(other) != nil {
		return "", "", nil
	}
	return other, was, norm
}

// alike reports whether the other operands have the layer's shape, so that nothing is broadcast.
func (q *pair) alike(l *layer, t *target, other, was string) bool {
	y, s, o := q.o.store.like(t.value, 0), q.p.store.like(other, 0), q.o.store.like(was, 0)
	if len(s.Dims) != len(y.Dims) || len(o.Dims) != len(y.Dims) {
		return false
	}
	before, all, after := y.Blocks(l.channel)
	sb, sc, sa := s.Blocks(l.channel)
	tb, tc, ta := o.Blocks(l.channel)
	return sb == before && tb == before && sa == after && ta == after && sc == len(t.kept) && tc == all
}

// gain turns what is short after a BatchNormalization into what is short before it.
func (q *pair) gain(n int, norm *onnxio.Node) ([]float64, error) {
	gain := make([]float64, n)
	for i := range gain {
		gain[i] = 1
	}
	if norm == nil {
		return gain, nil
	}
	scale, err := q.p.floats(norm.Inputs[1])
	if err != nil {
		return nil, err
	}
	variance, err := q.p.floats(norm.Inputs[4])
	if err != nil {
		return nil, err
	}
	for i := range gain {
		if gain[i] = 0; scale[i] != 0 {
			gain[i] = math.Sqrt(float64(variance[i])+1e-5) / float64(scale[i])
		}
	}
	return gain, nil
}

// chunks visits what a layer is fitted from.
func (q *pair) chunks(l *layer, t *target, visit func(i int, c chunk) error) error {
	for i := range q.p.store.sizes {
		var c chunk
		var err error
		if c.x, err = q.p.store.part(l.node.Inputs[0], i); err != nil {
			return err
		}
		if c.y, err = q.o.store.part(t.value, i); err != nil {
			return err
		}
		if t.was != "" {
			if c.other, err = q.p.store.part(t.other, i); err != nil {
				return err
			}
			if c.was, err = q.o.store.part(t.was, i); err != nil {
				return err
			}
		}
		if err := visit(i, c); err != nil {
			return err
		}
	}
	return nil
}

// chunk is what a layer is fitted from on some samples.
type chunk struct{ x, y, other, was Array }

// row is that of a fit: the target's channels kept[from:from+len(z)] at a place before and after the channels.
func (t *target) row(c *chunk, b, p, after, from int, z []float32) {
	for j := range z {
		k := t.kept[from+j]
		v := c.y.Floats[(b*t.all+k)*after+p]
		if t.was != "" {
			d := float64(c.was.Floats[(b*t.all+k)*after+p]) - float64(c.other.Floats[(b*len(t.kept)+from+j)*after+p])
			v += float32(d * t.gain[from+j])
		}
		z[j] = v
	}
}
