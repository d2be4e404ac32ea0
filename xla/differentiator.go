package xla

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// Differentiator sums up a classifier's cross-entropy and its gradient by the trained parameters over any number of batches, at weights that the caller gives. BatchNormalization works by its running
// statistics, or by each batch's own. The sums stay on the device until they are read.
type Differentiator struct {
	Program *Program

	backend *Backend
	exec    *Exec
	params  []*tensors.Tensor
	trained []int
	sums    []*tensors.Tensor // gradients of trained, then loss and right answers
	seen    int
	batch   bool
}

// NewDifferentiator prepares a program with the model's own values. With batch, BatchNormalization works by the statistics of each batch.
func NewDifferentiator(b *Backend, p *Program, batch bool) (*Differentiator, error) {
	if len(p.Inputs) != 1 {
		return nil, &onnxio.UnsupportedError{What: fmt.Sprintf("training a model with %d inputs", len(p.Inputs))}
	}
	values, err := p.Values()
	if err != nil {
		return nil, err
	}
	d := &Differentiator{Program: p, backend: b, batch: batch}
	for i, a := range values {
		d.params = append(d.params, a.tensor())
		if p.Params[i].Trained() {
			d.trained = append(d.trained, i)
		}
	}
	d.Reset()
	if d.exec, err = NewExec(b.Backend, d.build); err != nil {
		return nil, Wrap(err)
	}
	return d, nil
}

// build is the graph of one batch: parameters, sums, x and labels in; sums out.
func (d *Differentiator) build(in []*Node) []*Node {
	k, m := len(d.params), len(d.sums)
	params, sums, x, labels := in[:k], in[k:k+m], in[k+m], in[k+m+1]
	e := d.Program.env(x.Graph(), d.backend, params, []*Node{x})
	e.train, e.stats = d.batch, map[string]*Node{}
	mean, right := TrainOptions{}.loss(e.logits(x), labels, nil)
	loss := MulScalar(mean, float64(labels.Shape().Size()))
	by := make([]*Node, len(d.trained))
	for i, at := range d.trained {
		by[i] = params[at]
	}
	out := make([]*Node, 0, m)
	for i, g := range Gradient(loss, by...) {
		out = append(out, Add(sums[i], g))
	}
	return append(out, Add(sums[m-1], Stack([]*Node{loss, right}, 0)))
}

// SetValues replaces parameters, in the order of Program.Params; nil entries keep theirs.
func (d *Differentiator) SetValues(values [][]float32) {
	for i, v := range values {
		if v != nil {
			_ = d.params[i].FinalizeAll()
			d.params[i] = tensors.FromFlatDataAndDimensions(v, d.Program.Params[i].Dims...)
		}
	}
}

// Reset starts the sums anew.
func (d *Differentiator) Reset() {
	for _, t := range d.sums {
		_ = t.FinalizeAll()
	}
	d.sums, d.seen = nil, 0
	for _, at := range d.trained {
		c := d.Program.Params[at]
		d.sums = append(d.sums, tensors.FromFlatDataAndDimensions(make([]float32, c.Size()), c.Dims...))
	}
	d.sums = append(d.sums, tensors.FromFlatDataAndDimensions(make([]float32, 2), 2))
}

// Add adds a batch with one label per row of the output.
func (d *Differentiator) Add(x Array, labels []int32) (err error) {
	defer Caught(&err)
	var args []any
	for _, ts := range [][]*tensors.Tensor{d.params, d.sums} {
		for _, t := range ts {
			args = append(args, t)
		}
	}
	outs, err := d.exec.Call(append(args, x.tensor(), tensors.FromFlatDataAndDimensions(labels, len(labels)))...)
	if err != nil {
		return Wrap(err)
	}
	for _, t := range d.sums {
		_ = t.FinalizeAll()
	}
	d.sums, d.seen = outs, d.seen+len(labels)
	return nil
}

// Means returns the mean cross-entropy since the last Reset, its gradient in the order of Program.Params (nil for what is not trained), and the share of right answers.
func (d *Differentiator) Means() (loss float64, gradient [][]float32, accuracy float64, err error) {
	n := float32(max(d.seen, 1))
	gradient = make([][]float32, len(d.params))
	for i, at := range d.trained {
		if gradient[at], err = tensors.CopyFlatData[float32](d.sums[i]); err != nil {
			return 0, nil, 0, err
		}
		for k := range gradient[at] {
			gradient[at][k] /= n
		}
	}
	v, err := tensors.CopyFlatData[float32](d.sums[len(d.sums)-1])
	if err != nil {
		return 0, nil, 0, err
	}
	return float64(v[0] / n), gradient, float64(v[1] / n), nil
}

// Close frees what was compiled and what is on the device.
func (d *Differentiator) Close() {
	d.exec.Finalize()
	for _, ts := range [][]*tensors.Tensor{d.params, d.sums} {
		for _, t := range ts {
			_ = t.FinalizeAll()
		}
	}
}
