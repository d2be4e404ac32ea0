package repair

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/gram"
)

// Methods of repair.
const (
	None  = "none"
	Match = "match" // moments only
	Solve = "solve" // least squares, then moments
)

// Options of a repair.
type Options struct {
	Ridge     float64 // of the least squares, relative to an input's mean square; 0 is 1e-2
	Seed      uint64
	Methods   []string // tried in turn until one is better than the cut alone; nil is Solve, then Match
	MaxInputs int      // of an output for which least squares are taken; 0 is MaxInputs
	MaxRows   int      // positions that a system is made of; 0 is MaxRows
	Memory    engine.Memory
	Progress  func(done, total int) // after each layer, in millions of multiplications, about
}

// Fidelity is how much a model's outputs are like the original's on inputs that were held back.
type Fidelity struct {
	Cosine float64 `json:"cosine"` // mean over samples
	Top1   float64 `json:"top1"`   // share of samples with the same largest output
	N      int     `json:"samples"`
}

// LeastTop1 is the number of samples from which a share of them with the same largest output says something.
const LeastTop1 = 20

// Figures are a Fidelity as it is shown: the share of samples with the same largest output is left out of noise, on which it says nothing, and of fewer than LeastTop1 samples.
type Figures struct {
	Cosine float64  `json:"cosine"`
	Top1   *float64 `json:"top1,omitempty"`
	N      int      `json:"samples"`
	Noise  bool     `json:"noise,omitempty"` // the samples are random numbers
}

// Figures are what is shown of f.
func (f Fidelity) Figures(noise bool) Figures {
	out := Figures{Cosine: f.Cosine, N: f.N, Noise: noise}
	if !noise && f.N >= LeastTop1 {
		out.Top1 = &f.Top1
	}
	return out
}

// Result of a repair.
type Result struct {
	Model   *onnxio.Model        // the pruned model itself where nothing helped
	Method  string               // which was kept
	Tensors map[string][]float32 // what differs from the pruned model: constants by name
	Before  Fidelity
	After   Fidelity
	Tried   map[string]Fidelity
	Skipped []string // pruned layers that are not fitted: node, operator and why
}

// Repair fits a pruned model to its original. removed says which slices are gone; fit are the samples to fit on, held those to choose by, both as the model's inputs by name.
func Repair(ctx context.Context, e Engine, original, pruned *onnxio.Model, removed []coupling.Removal, fit, held map[string]Array, o Options) (*Result, error) {
	r, err := newReference(ctx, e, original, fit, held, o.Memory)
	if err != nil {
		return nil, err
	}
	return r.Repair(ctx, pruned, removed, o)
}

// Reference is an original with the inputs of a repair.
type Reference struct {
	engine    Engine
	model     *onnxio.Model
	fit, held []map[string]Array // in chunks
	want      [][]Array          // outputs on each chunk of held
	memory    engine.Memory
	whole     *stepper // has run on fit, with every layer's values; nil to run again for each repair
}

func newReference(ctx context.Context, e Engine, original *onnxio.Model, fit, held map[string]Array, memory engine.Memory) (*Reference, error) {
	memory.Bytes = (memory.Bytes + 1) / 2 // for each of the two models
	r := &Reference{engine: e, model: original, memory: memory}
	r.fit, r.held = engine.ChunksFor(e, fit), engine.ChunksFor(e, held)
	err := r.run(ctx, original, func(_ int, out []Array) { r.want = append(r.want, out) })
	if err != nil {
		return nil, fmt.Errorf("original: %w", err)
	}
	return r, nil
}

// run runs a model on the samples that judge.
func (r *Reference) run(ctx context.Context, m *onnxio.Model, visit func(i int, out []Array)) error {
	s, err := engine.Compile(ctx, r.engine, m)
	if err != nil {
		return err
	}
	defer s.Close()
	for i, chunk := range r.held {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := s.Run(ctx, chunk)
		if err != nil {
			return err
		}
		visit(i, out)
	}
	return nil
}

// NewReference runs an original once, so that many pruned models can be fitted to it. It holds every
// layer's output on fit, above the bound of memory where that spills. Close frees it.
func NewReference(ctx context.Context, e Engine, original *onnxio.Model, fit, held map[string]Array, memory engine.Memory) (*Reference, error) {
	r, err := newReference(ctx, e, original, fit, held, memory)
	if err != nil {
		return nil, err
	}
	s := newStepper(e, original, r.fit, r.memory)
	s.whole = true
	for i := range s.nodes {
		if l := s.layerOf(i); l != nil {
			s.keep(l.node.Inputs[0])
			s.keep(l.node.Outputs[0])
			if other, norm := s.partner(l); other != "" {
				s.keep(other)
				if norm != nil {
					s.keep(norm.Outputs[0])
				}
			}
		}
	}
	if err := s.advance(ctx, len(s.nodes)); err != nil {
		s.store.close()
		return nil, fmt.Errorf("original: %w", err)
	}
	r.whole = s
	return r, nil
}

// Close frees what the reference holds.
func (r *Reference) Close() {
	if r.whole != nil {
		r.whole.store.close()
	}
}

// stepper is the original, ready to run beside a pruned model.
func (r *Reference) stepper() *stepper {
	if r.whole != nil {
		return r.whole
	}
	return newStepper(r.engine, r.model, r.fit, r.memory)
}

// Repair fits a pruned version of the original.
func (r *Reference) Repair(ctx context.Context, pruned *onnxio.Model, removed []coupling.Removal, o Options) (*Result, error) {
	if o.Methods == nil {
		o.Methods = []string{Solve, Match}
	}
	before, err := r.Fidelity(ctx, pruned)
	if err != nil {
		return nil, fmt.Errorf("pruned model: %w", err)
	}
	out := &Result{Model: pruned, Method: None, Before: before, After: before, Tried: map[string]Fidelity{None: before}, Skipped: skipped(newStepper(r.engine, pruned, nil, engine.Memory{}), removed)}
	for _, method := range o.Methods {
		m, changed, err := r.Fit(ctx, pruned, removed, method, o)
		if err != nil {
			return nil, err
		}
		f, err := r.Fidelity(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("repaired model: %w", err)
		}
		out.Tried[method] = f
		if f.better(before) {
			out.Model, out.Method, out.Tensors, out.After = m, method, changed, f
			break
		}
	}
	return out, nil
}

// skipped lists the nodes with pruned weights that no method works on, with the reason.
func skipped(s *stepper, removed []coupling.Removal) []string {
	pruned := map[*onnxio.Tensor]bool{}
	for _, r := range removed {
		if t := s.constant(r.Tensor); t != nil && len(t.Dims) > 1 && slices.Max(t.Dims) < product(t.Dims) {
			pruned[t] = true
		}
	}
	var out []string
	for i, n := range s.nodes {
		d := coupling.LayerOf(n)
		if d == nil || s.layerOf(i) != nil || !slices.ContainsFunc(n.Inputs, func(in string) bool { return pruned[s.stored(in)] }) {
			continue
		}
		out = append(out, fmt.Sprintf("%s (%s: %s)", cmp.Or(n.Name, n.Outputs[0]), n.OpType, s.unfit(d)))
	}
	return out
}

func product(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

// better compares by cosine; top-1 agreement decides where that is no number.
func (f Fidelity) better(g Fidelity) bool {
	return !math.IsNaN(f.Cosine) && (f.Cosine > g.Cosine || math.IsNaN(g.Cosine))
}

// Fidelity compares a model's outputs with the original's on the inputs to judge by, sample by sample.
func (r *Reference) Fidelity(ctx context.Context, m *onnxio.Model) (Fidelity, error) {
	f := Fidelity{}
	err := r.run(ctx, m, func(i int, got []Array) {
		c := compared(r.want[i], got, r.held[i])
		f.Cosine, f.Top1, f.N = f.Cosine+c.Cosine, f.Top1+c.Top1, f.N+c.N
	})
	if err != nil {
		return Fidelity{}, err
	}
	if f.N == 0 {
		return f, &onnxio.UnsupportedError{What: "repairing a model without real outputs of one shape"}
	}
	f.Cosine /= float64(f.N)
	f.Top1 /= float64(f.N)
	return f, nil
}

// compared are sums over samples of the means over outputs.
func compared(want, got []Array, inputs map[string]Array) Fidelity {
	f, outputs := Fidelity{}, 0
	for i, w := range want {
		g := got[i]
		n := w.Samples(inputs)
		if len(w.Floats) == 0 || len(w.Floats) != len(g.Floats) || n == 0 || outputs > 0 && n != f.N {
			continue
		}
		outputs++
		f.N = n
		f.add(w.Floats, g.Floats)
	}
	if outputs > 0 {
		f.Cosine, f.Top1 = f.Cosine/float64(outputs), f.Top1/float64(outputs)
	}
	return f
}

// Distance is one minus the cosine, at least 0, and 2 where the outputs are no numbers: the goal of searches.
func (f Fidelity) Distance() float64 {
	if math.IsNaN(f.Cosine) {
		return 2
	}
	return math.Max(1-f.Cosine, 0)
}

// add takes one output's samples into the sums.
func (f *Fidelity) add(want, got []float32) {
	size := len(want) / f.N
	for s := range f.N {
		x, y := want[s*size:(s+1)*size], got[s*size:(s+1)*size]
		f.Cosine += cosine(x, y)
		if largest(x) == largest(y) {
			f.Top1++
		}
	}
}

func cosine(x, y []float32) float64 {
	var xx, yy, xy float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		xx, yy, xy = xx+a*a, yy+b*b, xy+a*b
	}
	if xx == 0 && yy == 0 {
		return 1
	}
	return xy / math.Sqrt(math.Max(xx*yy, 1e-60))
}

func largest(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// pair is the original and the pruned model running side by side.
type pair struct {
	o, p     *stepper
	removed  map[string]map[int][]int // by constant and axis
	options  Options
	products *gram.Products
	changed  map[string]bool
	active   bool // something upstream differs from the original
}

// Fit repairs a pruned version of the original by one method and returns the model with what differs from the pruned one, whether it is better or not.
func (r *Reference) Fit(ctx context.Context, pruned *onnxio.Model, removed []coupling.Removal, method string, o Options) (*onnxio.Model, map[string][]float32, error) {
	o.Ridge, o.MaxInputs, o.MaxRows = cmp.Or(o.Ridge, 1e-2), cmp.Or(o.MaxInputs, MaxInputs), cmp.Or(o.MaxRows, MaxRows)
	q := &pair{o: r.stepper(), p: newStepper(r.engine, pruned, r.fit, r.memory), removed: map[string]map[int][]int{}, options: o, products: gram.NewProducts(r.engine), changed: map[string]bool{}}
	defer q.close()
	for _, cut := range removed {
		if q.removed[cut.Tensor] == nil {
			q.removed[cut.Tensor] = map[int][]int{}
		}
		if len(cut.Indices) > 0 {
			q.removed[cut.Tensor][cut.Axis] = cut.Indices
		}
	}
	var layers []*layer
	for i := range q.p.nodes {
		if l := q.p.layerOf(i); l != nil {
			layers = append(layers, l)
		}
	}
	done, total := 0, 0
	for _, l := range layers {
		total += q.work(l, method)
	}
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := q.layer(ctx, l, method); err != nil {
			return nil, nil, fmt.Errorf("%s %q: %w", l.node.OpType, l.node.Outputs[0], err)
		}
		q.o.release()
		q.p.release()
		if o.Progress != nil {
			done += q.work(l, method)
			o.Progress(done, total)
		}
	}
	return q.result(pruned)
}

// close frees what the models' runs hold.
func (q *pair) close() {
	q.products.Close()
	q.p.store.close()
	if !q.o.whole {
		q.o.store.close()
	}
}

// kept returns the channels of a constant's axis that are kept, given how many are left.
func (q *pair) kept(name string, axis, left int) []int {
	gone := q.removed[name][axis]
	out := make([]int, 0, left)
	for i := 0; len(out) < left; i++ {
		if _, found := slices.BinarySearch(gone, i); !found {
			out = append(out, i)
		}
	}
	return out
}

// layer brings one layer of the pruned model close to the original's.
func (q *pair) layer(ctx context.Context, l *layer, method string) error {
	own := q.removed[l.weight]
	if len(own) > 0 {
		q.active = true
	}
	at, ok := q.o.where[l.node.Outputs[0]]
	if !q.active || !ok {
		return nil
	}
	if l.norm {
		return q.norm(ctx, l, at)
	}
	if method == Solve && q.solvable(l) {
		if err := q.solve(ctx, l, at); err != nil {
			return err
		}
	}
	if l.bias != "" && q.p.constant(l.bias) != nil && q.p.normBehind(l) == nil && q.own(l.weight, l.bias) {
		return q.scale(ctx, l, at, method)
	}
	return nil
}

// norm sets the running statistics of a BatchNormalization.
func (q *pair) norm(ctx context.Context, l *layer, at int) error {
	if !q.own(l.node.Inputs[3], l.node.Inputs[4]) {
		return nil
	}
	in := l.node.Inputs[0]
	was := q.o.nodes[at].Inputs[0]
	q.o.keep(was)
	if err := q.o.advance(ctx, at); err != nil {
		return err
	}
	if err := q.p.advance(ctx, l.index); err != nil {
		return err
	}
	if !q.p.store.has(in) || !q.o.store.has(was) {
		return nil // a constant: nothing to match
	}
	mean, err := q.p.floats(l.node.Inputs[3])
	if err != nil {
		return err
	}
	variance, err := q.p.floats(l.node.Inputs[4])
	if err != nil {
		return err
	}
	kept := q.kept(l.node.Inputs[3], 0, len(mean))
	mean, variance = slices.Clone(mean), slices.Clone(variance)
	eps := 1e-5
	if a := attribute(l.node, "epsilon"); a != nil {
		eps = float64(a.F)
	}
	ym, err := q.o.store.moments(was, 1)
	if err != nil || kept[len(kept)-1] >= len(ym.mean) {
		return err
	}
	xm, err := q.p.store.moments(in, 1)
	if err != nil || len(xm.mean) != len(kept) {
		return err
	}
	matchNorm(mean, variance, eps, xm, ym, kept)
	if err := q.put(l.node.Inputs[3], mean); err != nil {
		return err
	}
	return q.put(l.node.Inputs[4], variance)
}

// own reports whether a constant has one reader, so that changing it changes nothing else.
func (q *pair) own(names ...string) bool {
	for _, n := range names {
		if n != "" && len(q.p.readers(n)) != 1 {
			return false
		}
	}
	return true
}

func (q *pair) put(name string, v []float32) error {
	q.changed[name] = true
	return q.p.write(name, v)
}

// scale matches the moments of a layer with a bias and no BatchNormalization after it. Of a layer solved by least squares only the mean is matched, because least squares make the variance smaller.
func (q *pair) scale(ctx context.Context, l *layer, at int, method string) error {
	out := l.node.Outputs[0]
	if err := q.outputs(ctx, l, at); err != nil {
		return err
	}
	if !q.p.store.has(out) || !q.o.store.has(out) {
		return nil
	}
	w, err := q.p.floats(l.weight)
	if err != nil {
		return err
	}
	b, err := q.p.floats(l.bias)
	if err != nil {
		return err
	}
	xm, err := q.p.store.moments(out, l.channel)
	if err != nil {
		return err
	}
	kept := q.kept(l.weight, l.out, len(xm.mean))
	ym, err := q.o.store.moments(out, l.channel)
	if err != nil || len(b) != len(xm.mean) || kept[len(kept)-1] >= len(ym.mean) {
		return err
	}
	limit := 4.0
	if method == Solve {
		limit = 1
	}
	f := matchAffine(xm, ym, kept, limit)
	w, b = slices.Clone(w), slices.Clone(b)
	shape := q.p.constant(l.weight).Dims
	f.weights(w, b, shape, l.out)
	if err := q.p.store.change(out, func(x Array) { f.apply(x, l.channel) }); err != nil {
		return err
	}
	return q.putAll(l, w, b)
}

// weights folds the correction into weight and bias.
func (f affine) weights(w, b []float32, dims []int64, axis int) {
	before, after := 1, 1
	for i, d := range dims {
		if i < axis {
			before *= int(d)
		} else if i > axis {
			after *= int(d)
		}
	}
	c := len(f.scale)
	for i := range before {
		for k := range c {
			for j := range after {
				p := (i*c+k)*after + j
				w[p] = float32(f.scale[k] * float64(w[p]))
			}
		}
	}
	for k := range c {
		b[k] = float32(f.scale[k]*float64(b[k]) + f.shift[k])
	}
}

// outputs runs both models past a layer.
func (q *pair) outputs(ctx context.Context, l *layer, at int) error {
	q.o.keep(l.node.Outputs[0])
	if err := q.o.advance(ctx, at+1); err != nil {
		return err
	}
	return q.p.advance(ctx, l.index+1)
}

// result is the pruned model with what was changed.
func (q *pair) result(pruned *onnxio.Model) (*onnxio.Model, map[string][]float32, error) {
	m, g := *pruned, *pruned.Graph
	g.Nodes, g.Initializers = slices.Clone(g.Nodes), slices.Clone(g.Initializers)
	m.Graph = &g
	for i, t := range g.Initializers {
		if q.changed[t.Name] {
			g.Initializers[i] = q.p.consts[t.Name]
		}
	}
	for i, n := range g.Nodes {
		if len(n.Outputs) != 1 || q.p.maker[n.Outputs[0]] == nil {
			continue
		}
		copied := n.OpType == "Identity" && q.changed[n.Inputs[0]] // of a vector that was changed: the copy keeps the old numbers
		if q.changed[n.Outputs[0]] || copied {
			g.Nodes[i] = q.p.maker[n.Outputs[0]]
		}
	}
	tensors := map[string][]float32{}
	for name := range q.changed {
		v, err := q.p.floats(name)
		if err != nil {
			return nil, nil, err
		}
		tensors[name] = v
	}
	return &m, tensors, nil
}
