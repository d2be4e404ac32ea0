package repair

import (
	"context"
	"math"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// solvable reports whether least squares fit a layer: one output's inputs must be few enough, and depthwise kernels have nothing to redistribute.
func (q *pair) solvable(l *layer) bool {
	w := q.p.constant(l.weight)
	inputs := 1
	for i, d := range w.Dims {
		if i != l.out {
			inputs *= int(d)
		}
	}
	if l.conv != nil && l.conv.groups > 1 && w.Dims[1] == 1 {
		return false
	}
	return inputs <= q.options.MaxInputs && q.own(l.weight, l.bias)
}

// solve replaces a layer's weights by the least-squares fit of the original's outputs on the inputs that are left.
func (q *pair) solve(ctx context.Context, l *layer, at int) error {
	out := l.node.Outputs[0]
	q.o.keep(out)
	in := l.node.Inputs[0]
	target, err := q.target(ctx, l, at)
	if err != nil {
		return err
	}
	x, err := q.p.value(in)
	if err != nil {
		return nil //nolint:nilerr // a constant or an integer: nothing to fit
	}
	w, err := q.p.floats(l.weight)
	if err != nil {
		return err
	}
	dims := q.p.constant(l.weight).Dims
	kept := q.kept(l.weight, l.out, int(dims[l.out]))
	if _, c, _ := target.Blocks(l.channel); kept[len(kept)-1] >= c {
		return nil
	}
	var bias []float32
	if l.bias != "" {
		if bias, err = q.p.floats(l.bias); err != nil {
			return err
		}
		if len(bias) != len(kept) {
			return nil
		}
		bias = slices.Clone(bias)
	}
	w = slices.Clone(w)
	// A BatchNormalization after the layer absorbs any shift; its mean is matched next.
	free := bias != nil || q.p.normBehind(l) != nil
	ok := false
	if l.conv != nil {
		ok = q.solveConv(l, x, target, w, bias, dims, kept, free)
	} else {
		ok = q.solveDense(l, x, target, w, bias, dims, kept, free)
	}
	if !ok {
		return nil
	}
	return q.putAll(l, w, bias)
}

// putAll replaces a layer's weight and, where there is one, its bias.
func (q *pair) putAll(l *layer, w, bias []float32) error {
	if err := q.put(l.weight, w); err != nil || bias == nil {
		return err
	}
	return q.put(l.bias, bias)
}

func (q *pair) solveDense(l *layer, x, target Array, w, bias []float32, dims []int64, kept []int, free bool) bool {
	f := denseSystem(x, target, kept, &q.options)
	k, o := f.inputs, f.outputs
	w0 := make([]float64, k*o)
	index := func(i, j int) int { // of input i, output j in the tensor
		if l.out == 1 {
			return i*o + j
		}
		return j*k + i
	}
	for i := range k {
		for j := range o {
			w0[i*o+j] = float64(w[index(i, j)])
		}
	}
	v, b, ok := f.solve(w0, q.options.Ridge, free)
	if !ok || !usable(v) {
		return false
	}
	for i := range k {
		for j := range o {
			w[index(i, j)] = float32(v[i*o+j])
		}
	}
	for j := range bias {
		bias[j] = float32(b[j])
	}
	return true
}

func (q *pair) solveConv(l *layer, x, target Array, w, bias []float32, dims []int64, kept []int, free bool) bool {
	g := l.conv
	per, each := int(dims[1]), int(dims[0])/g.groups
	kernel := [2]int{int(dims[2]), int(dims[3])}
	k := per * kernel[0] * kernel[1]
	for group := range g.groups {
		own := kept[group*each : (group+1)*each]
		f := convSystem(x, target, g, kernel, group*per, per, own, &q.options)
		w0 := make([]float64, k*each)
		for j := range each {
			for i := range k {
				w0[i*each+j] = float64(w[(group*each+j)*k+i])
			}
		}
		v, b, ok := f.solve(w0, q.options.Ridge, free)
		if !ok || !usable(v) {
			return false
		}
		for j := range each {
			for i := range k {
				w[(group*each+j)*k+i] = float32(v[i*each+j])
			}
			if bias != nil {
				bias[group*each+j] = float32(b[j])
			}
		}
	}
	return true
}

func usable(v []float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.Abs(x) > 1e30 {
			return false
		}
	}
	return true
}

// target is what a layer is fitted to: the original's output, plus the error of the value that it is added to.
func (q *pair) target(ctx context.Context, l *layer, at int) (Array, error) {
	out := l.node.Outputs[0]
	other, norm := q.p.partner(l)
	was := ""
	if other != "" {
		var n *onnxio.Node
		if was, n = q.o.partner(&layer{node: q.o.nodes[at]}); n == nil != (norm == nil) {
			was = ""
		}
	}
	usableOther := was != "" && q.p.where[other] < l.index && q.o.where[was] < at && q.p.constant(other) == nil
	if usableOther {
		q.p.keep(other)
		q.o.keep(was)
	}
	q.p.keep(l.node.Inputs[0])
	if err := q.o.advance(ctx, at+1); err != nil {
		return Array{}, err
	}
	if err := q.p.advance(ctx, l.index); err != nil {
		return Array{}, err
	}
	target, err := q.o.value(out)
	if err != nil || !usableOther {
		return target, err
	}
	s, errS := q.p.value(other)
	t, errT := q.o.value(was)
	if errS != nil || errT != nil {
		return target, nil //nolint:nilerr // without the other value the output itself is the target
	}
	return q.compensated(l, target, s, t, norm)
}

// compensated adds (t - s)/a to the target on the kept channels, a being the factor of the BatchNormalization after the layer.
func (q *pair) compensated(l *layer, target, s, t Array, norm *onnxio.Node) (Array, error) {
	dims := q.p.constant(l.weight).Dims
	kept := q.kept(l.weight, l.out, int(dims[l.out]))
	before, all, after := target.Blocks(l.channel)
	sb, sc, sa := s.Blocks(l.channel)
	tb, tc, ta := t.Blocks(l.channel)
	if len(s.Dims) != len(target.Dims) || sb != before || tb != before || sa != after || ta != after || sc != len(kept) || tc != all {
		return target, nil
	}
	gain := make([]float64, len(kept))
	for i := range gain {
		gain[i] = 1
	}
	if norm != nil {
		scale, err := q.p.floats(norm.Inputs[1])
		if err != nil {
			return target, err
		}
		variance, err := q.p.floats(norm.Inputs[4])
		if err != nil {
			return target, err
		}
		for i := range gain {
			if gain[i] = 0; scale[i] != 0 {
				gain[i] = math.Sqrt(float64(variance[i])+1e-5) / float64(scale[i])
			}
		}
	}
	sum := Array{Dims: target.Dims, Floats: slices.Clone(target.Floats)}
	for b := range before {
		for i, k := range kept {
			for j := range after {
				d := float64(t.Floats[(b*all+k)*after+j]) - float64(s.Floats[(b*len(kept)+i)*after+j])
				sum.Floats[(b*all+k)*after+j] += float32(d * gain[i])
			}
		}
	}
	return sum, nil
}
