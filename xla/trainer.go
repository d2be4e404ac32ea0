package xla

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// Optimizers.
const (
	SGD   = "sgd"   // momentum as PyTorch has it: v = m*v + g; w -= lr*v
	AdamW = "adamw" // arXiv 1711.05101
)

// TrainOptions say how a Trainer changes weights. The zero value is plain gradient descent on the cross-entropy.
type TrainOptions struct {
	Optimizer      string  `json:"optimizer"`       // SGD (also "") or AdamW
	Momentum       float64 `json:"momentum"`        // of SGD
	Nesterov       bool    `json:"nesterov"`        // of SGD
	Beta1          float64 `json:"beta1"`           // of AdamW, 0 for 0.9
	Beta2          float64 `json:"beta2"`           // of AdamW, 0 for 0.999
	WeightDecay    float64 `json:"weight_decay"`    // added to the gradient (SGD) or taken from the weight (AdamW)
	DecayAll       bool    `json:"decay_all"`       // biases and normalisations decay too
	LabelSmoothing float64 `json:"label_smoothing"` // share of the target spread over all classes
	Distil         float64 `json:"distil"`          // weight of the teacher's term, 0 to 1
	Temperature    float64 `json:"temperature"`     // of the distillation, 0 for 4
	KeepZeros      bool    `json:"keep_zeros"`      // keep weights that are zero at zero
	Half           bool    `json:"half"`            // products in bfloat16, weights and sums in float32
	Frozen         bool    `json:"frozen_norms"`    // BatchNormalization by its running statistics
}

// Trainer changes a program's weights, step by step, on one backend.
type Trainer struct {
	Program *Program
	Options TrainOptions
	Steps   int64 // steps done

	backend *Backend
	exec    *Exec
	moving  []int // parameters that a step changes: trained ones, then statistics
	trained int   // how many of moving are trained
	state   []*tensors.Tensor
	slots   []*tensors.Tensor
	fixed   []*tensors.Tensor
	still   []int
	sums    *tensors.Tensor // loss and right answers since the last Metrics
	seen    int
}

// NewTrainer prepares a program with the model's own values.
func NewTrainer(b *Backend, p *Program, o TrainOptions) (*Trainer, error) {
	if o.Optimizer == "" {
		o.Optimizer = SGD
	}
	if o.Optimizer != SGD && o.Optimizer != AdamW {
		return nil, planner.OneOf("optimizer", o.Optimizer, SGD, AdamW)
	}
	if len(p.Inputs) != 1 {
		return nil, &onnxio.UnsupportedError{What: fmt.Sprintf("training a model with %d inputs", len(p.Inputs))}
	}
	values, err := p.Values()
	if err != nil {
		return nil, err
	}
	t := &Trainer{Program: p, Options: o, backend: b, sums: tensors.FromFlatDataAndDimensions(make([]float32, 2), 2)}
	for _, statistics := range []bool{false, true} {
		for i, c := range p.Params {
			if !statistics && c.Trained() || statistics && c.Kind == Statistic && !o.Frozen {
				t.moving, t.state = append(t.moving, i), append(t.state, values[i].tensor())
			}
		}
		if !statistics {
			t.trained = len(t.moving)
		}
	}
	if t.trained == 0 {
		return nil, &onnxio.UnsupportedError{What: "training a model in which no constant is recognised as a weight"}
	}
	for i, c := range p.Params {
		if !c.Trained() && (c.Kind != Statistic || o.Frozen) {
			t.still, t.fixed = append(t.still, i), append(t.fixed, values[i].tensor())
		}
	}
	for range t.slotsEach() {
		for _, i := range t.moving[:t.trained] {
			c := p.Params[i]
			t.slots = append(t.slots, tensors.FromFlatDataAndDimensions(make([]float32, c.Size()), c.Dims...))
		}
	}
	if t.exec, err = NewExec(b.Backend, t.step); err != nil {
		return nil, Wrap(err)
	}
	return t, nil
}

func (t *Trainer) slotsEach() int {
	if t.Options.Optimizer == AdamW {
		return 2
	}
	return 1
}

// step is the graph of one step: state, slots, sums, fixed, x, labels, rate and number of the step in; state, slots and sums out.
func (t *Trainer) step(in []*Node) []*Node {
	k, m := len(t.moving), len(t.slots)
	state, slots, sums := in[:k], in[k:k+m], in[k+m]
	rest := in[k+m+1:]
	fixed, x, labels, rate, number := rest[:len(t.fixed)], rest[len(t.fixed)], rest[len(t.fixed)+1], rest[len(t.fixed)+2], rest[len(t.fixed)+3]
	params := make([]*Node, len(t.Program.Params))
	for i, at := range t.moving {
		params[at] = state[i]
	}
	for i, at := range t.still {
		params[at] = fixed[i]
	}
	e := t.Program.env(x.Graph(), t.backend, params, []*Node{x})
	e.train, e.half, e.stats = !t.Options.Frozen, t.Options.Half, map[string]*Node{}
	logits := e.logits(x)
	var teacher *Node
	if t.Options.Distil > 0 {
		teacher = rest[len(t.fixed)+4]
	}
	loss, right := t.Options.loss(logits, labels, teacher)
	gradients := Gradient(loss, state[:t.trained]...)
	out := make([]*Node, 0, k+m+1)
	var fresh []*Node
	for i, g := range gradients {
		var own []*Node
		for s := range t.slotsEach() {
			own = append(own, slots[s*t.trained+i])
		}
		c := t.Program.Params[t.moving[i]]
		w, kept := t.Options.update(c, state[i], g, own, rate, number)
		out, fresh = append(out, w), append(fresh, kept...)
	}
	for i := t.trained; i < k; i++ {
		n := e.stats[t.Program.Params[t.moving[i]].Name]
		if n == nil {
			n = state[i]
		}
		out = append(out, n)
	}
	for s := range t.slotsEach() { // back to the order of slots: all first moments, then all second ones
		for i := range t.trained {
			out = append(out, fresh[i*t.slotsEach()+s])
		}
	}
	n := float64(logits.Shape().Dimensions[0])
	return append(out, Add(sums, Stack([]*Node{MulScalar(loss, n), right}, 0)))
}

// logits are the model's first output before a Softmax that ends it, with all but the classes in one axis.
func (e *env) logits(x *Node) *Node {
	name := e.p.Outputs[0]
	for _, n := range e.p.Model.Graph.Nodes {
		if len(n.Outputs) > 0 && n.Outputs[0] == name && (n.OpType == "Softmax" || n.OpType == "LogSoftmax") {
			name = n.Inputs[0]
		}
	}
	e.want, e.taps = map[string]bool{name: true}, map[string]*Node{}
	out := e.run(e.p.feeds([]*Node{x}))[0]
	if n := e.taps[name]; n != nil {
		out = n
	}
	d := out.Shape().Dimensions
	if len(d) < 2 {
		fail(fmt.Sprintf("output %q", e.p.Outputs[0]), "a classifier's output of %d axes", len(d))
	}
	if n := product(d[1:]); len(d) > 2 && n == max(d[1], d[len(d)-1]) { // [N, C, 1, 1]
		return Reshape(out, d[0], n)
	}
	return Reshape(out, product(d[:len(d)-1]), d[len(d)-1])
}

// loss is the mean cross-entropy, with smoothing and distillation, and the number of right answers.
func (o TrainOptions) loss(logits, labels, teacher *Node) (loss, right *Node) {
	classes := logits.Shape().Dimensions[1]
	n := float64(logits.Shape().Dimensions[0])
	logp := Sub(logits, ReduceAndKeep(logits, logSumExp, 1))
	target := OneHot(labels, classes, logits.DType())
	if s := o.LabelSmoothing; s > 0 {
		target = AddScalar(MulScalar(target, 1-s), s/float64(classes))
	}
	loss = MulScalar(ReduceAllSum(Mul(logp, target)), -1/n)
	if teacher != nil {
		t := o.Temperature
		if t == 0 {
			t = 4
		}
		soft := StopGradient(softmax(MulScalar(teacher, 1/t), 1))
		cool := MulScalar(logits, 1/t)
		own := Sub(cool, ReduceAndKeep(cool, logSumExp, 1))
		from := MulScalar(ReduceAllSum(Mul(own, soft)), -t*t/n)
		loss = Add(MulScalar(loss, 1-o.Distil), MulScalar(from, o.Distil))
	}
	hit := Equal(ArgMax(StopGradient(logits), 1, dtypes.Int32), labels)
	return loss, ReduceAllSum(ConvertDType(hit, logits.DType()))
}

// update is one step of the optimizer for one parameter.
func (o TrainOptions) update(c *Param, w, g *Node, slots []*Node, rate, number *Node) (next *Node, kept []*Node) {
	decays := o.WeightDecay > 0 && (c.Kind == Weight || o.DecayAll)
	switch o.Optimizer {
	case AdamW:
		b1, b2 := o.Beta1, o.Beta2
		if b1 == 0 {
			b1 = .9
		}
		if b2 == 0 {
			b2 = .999
		}
		m := Add(MulScalar(slots[0], b1), MulScalar(g, 1-b1))
		v := Add(MulScalar(slots[1], b2), MulScalar(Square(g), 1-b2))
		correct := func(x *Node, b float64) *Node {
			return Div(x, OneMinus(Exp(MulScalar(number, math.Log(b)))))
		}
		by := Div(correct(m, b1), AddScalar(Sqrt(correct(v, b2)), 1e-8))
		if decays {
			by = Add(by, MulScalar(w, o.WeightDecay))
		}
		next, kept = Sub(w, Mul(by, rate)), []*Node{m, v}
	default:
		if decays {
			g = Add(g, MulScalar(w, o.WeightDecay))
		}
		v := Add(MulScalar(slots[0], o.Momentum), g)
		by := v
		if o.Nesterov {
			by = Add(g, MulScalar(v, o.Momentum))
		}
		next, kept = Sub(w, Mul(by, rate)), []*Node{v}
	}
	if o.KeepZeros && c.Kind == Weight {
		next = Where(Equal(w, ZerosLike(w)), ZerosLike(w), next)
	}
	return next, kept
}

// Step trains on one batch x with one label per row of the output; teacher holds the teacher's logits where Options.Distil asks for them.
func (t *Trainer) Step(x Array, labels []int32, rate float64, teacher *Array) (err error) {
	defer Caught(&err)
	var args []any
	give := func(ts []*tensors.Tensor) error {
		for _, v := range ts {
			b, err := DonateTensorBuffer(v, t.backend.Backend, 0)
			if err != nil {
				return err
			}
			args = append(args, b)
		}
		return nil
	}
	for _, ts := range [][]*tensors.Tensor{t.state, t.slots, {t.sums}} {
		if err := give(ts); err != nil {
			return err
		}
	}
	for _, f := range t.fixed {
		args = append(args, f)
	}
	t.Steps++
	args = append(args, x.tensor(), tensors.FromFlatDataAndDimensions(labels, len(labels)), tensors.FromScalar(float32(rate)), tensors.FromScalar(float32(t.Steps)))
	if t.Options.Distil > 0 {
		if teacher == nil {
			return fmt.Errorf("distillation without a teacher's outputs")
		}
		args = append(args, teacher.tensor())
	}
	outs, err := t.exec.Call(args...)
	if err != nil {
		return Wrap(err)
	}
	k, m := len(t.state), len(t.slots)
	t.state, t.slots, t.sums = outs[:k:k], outs[k:k+m:k+m], outs[k+m]
	t.seen += len(labels)
	return nil
}

// Metrics returns the mean loss and the share of right answers since the last call.
func (t *Trainer) Metrics() (loss, accuracy float64, err error) {
	v, err := tensors.CopyFlatData[float32](t.sums)
	if err != nil {
		return 0, 0, err
	}
	n := float64(max(t.seen, 1))
	t.seen = 0
	t.sums = tensors.FromFlatDataAndDimensions(make([]float32, 2), 2)
	return float64(v[0]) / n, float64(v[1]) / n, nil
}

// Values returns the parameters as they are now, in the order of Program.Params; nil for those that training leaves alone.
func (t *Trainer) Values() ([][]float32, error) {
	out := make([][]float32, len(t.Program.Params))
	for i, at := range t.moving {
		v, err := tensors.CopyFlatData[float32](t.state[i])
		if err != nil {
			return nil, err
		}
		out[at] = v
	}
	return out, nil
}

// State is everything a Trainer needs to go on: what moves and the optimizer's slots.
type State struct {
	Steps  int64
	Names  []string
	Values [][]float32
	Dims   [][]int
}

// State returns a copy of the trainer's state.
func (t *Trainer) State() (*State, error) {
	s := &State{Steps: t.Steps}
	for i, v := range append(append([]*tensors.Tensor(nil), t.state...), t.slots...) {
		f, err := tensors.CopyFlatData[float32](v)
		if err != nil {
			return nil, err
		}
		s.Names, s.Values, s.Dims = append(s.Names, t.stateName(i)), append(s.Values, f), append(s.Dims, v.Shape().Dimensions)
	}
	return s, nil
}

func (t *Trainer) stateName(i int) string {
	if i < len(t.moving) {
		return "param/" + t.Program.Params[t.moving[i]].Name
	}
	i -= len(t.moving)
	return fmt.Sprintf("slot%d/%s", i/t.trained, t.Program.Params[t.moving[i%t.trained]].Name)
}

// SetState continues from a State of a trainer of the same model and optimizer.
func (t *Trainer) SetState(s *State) error {
	if len(s.Values) != len(t.state)+len(t.slots) {
		return fmt.Errorf("the state has %d tensors, this model and optimizer want %d", len(s.Values), len(t.state)+len(t.slots))
	}
	for i, v := range s.Values {
		old := &t.state[i%max(len(t.state), 1)]
		if i >= len(t.state) {
			old = &t.slots[i-len(t.state)]
		}
		d := (*old).Shape().Dimensions
		if s.Names[i] != t.stateName(i) || product(d) != len(v) {
			return fmt.Errorf("the state has %q with %d elements want %q with %d", s.Names[i], len(v), t.stateName(i), product(d))
		}
		*old = tensors.FromFlatDataAndDimensions(v, d...)
	}
	t.Steps = s.Steps
	return nil
}

// Close frees what was compiled and what is on the device.
func (t *Trainer) Close() {
	t.exec.Finalize()
	for _, ts := range [][]*tensors.Tensor{t.state, t.slots, t.fixed, {t.sums}} {
		for _, v := range ts {
			_ = v.FinalizeAll()
		}
	}
}

// Seen is the number of images since the last Metrics.
func (t *Trainer) Seen() int { return t.seen }
