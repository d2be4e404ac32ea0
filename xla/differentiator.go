package xla

import (
	"fmt"

	"github.com/gomlx/compute/distributed"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// Differentiator sums up a classifier's cross-entropy and its gradient by the trained parameters over any number of batches, at weights that the caller gives. BatchNormalization works by its running
// statistics, or by each batch's own. The sums stay on the device until they are read. With several devices each has a part of every batch, parameters and sums of its
// own.
type Differentiator struct {
	Program *Program

	backend *Backend
	exec    *Exec
	params  [][]*tensors.Tensor // by device
	trained []int
	sums    [][]*tensors.Tensor // by device: gradients of trained, then loss and right answers
	seen    int
	batch   bool
}

// NewDifferentiator prepares a program with the model's own values, on the backend's first devices (one data-parallel part each, GoMLX's SPMD). With batch, BatchNormalization works by the statistics of each batch, or of each
// device's part of it.
func NewDifferentiator(b *Backend, p *Program, batch bool, devices int) (*Differentiator, error) {
	if have := int(b.Backend.NumDevices()); devices < 1 || devices > have {
		return nil, fmt.Errorf("%d devices: %s has %d", devices, b.Kind, have)
	}
	if len(p.Inputs) != 1 {
		return nil, &onnxio.UnsupportedError{What: fmt.Sprintf("training a model with %d inputs", len(p.Inputs))}
	}
	values, err := p.Values()
	if err != nil {
		return nil, err
	}
	d := &Differentiator{Program: p, backend: b, batch: batch, params: make([][]*tensors.Tensor, devices), sums: make([][]*tensors.Tensor, devices)}
	for i, a := range values {
		for k := range d.params {
			d.params[k] = append(d.params[k], a.tensor())
		}
		if p.Params[i].Trained() {
			d.trained = append(d.trained, i)
		}
	}
	d.Reset()
	if d.exec, err = NewExec(b.Backend, d.build); err != nil {
		return nil, Wrap(err)
	}
	if devices > 1 {
		mesh, err := distributed.NewDeviceMesh([]int{devices}, []string{"data"})
		if err != nil {
			return nil, Wrap(err)
		}
		d.exec = d.exec.SPMD(mesh)
	}
	return d, nil
}

// build is the graph of one batch: parameters, sums, x and labels in; sums out.
func (d *Differentiator) build(in []*Node) []*Node {
	k, m := len(d.params[0]), len(d.sums[0])
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
	for _, params := range d.params {
		for i, v := range values {
			if v != nil {
				_ = params[i].FinalizeAll()
				params[i] = tensors.FromFlatDataAndDimensions(v, d.Program.Params[i].Dims...)
			}
		}
	}
}

// Reset starts the sums anew.
func (d *Differentiator) Reset() {
	d.seen = 0
	for k, old := range d.sums {
		finalize(old)
		d.sums[k] = nil
		for _, at := range d.trained {
			c := d.Program.Params[at]
			d.sums[k] = append(d.sums[k], tensors.FromFlatDataAndDimensions(make([]float32, c.Size()), c.Dims...))
		}
		d.sums[k] = append(d.sums[k], tensors.FromFlatDataAndDimensions(make([]float32, 2), 2))
	}
}

func finalize(ts []*tensors.Tensor) {
	for _, t := range ts {
		_ = t.FinalizeAll()
	}
}

// Add adds a batch with one label per row of the output. Several devices share it evenly.
func (d *Differentiator) Add(x Array, labels []int32) (err error) {
	defer Caught(&err)
	n := len(d.params)
	if len(labels)%n != 0 || len(x.Dims) == 0 || x.Dims[0] != len(labels) {
		return fmt.Errorf("a batch of %d images with %d labels for %d devices: want as many of both, and the same number for each device", x.Dims[0], len(labels), n)
	}
	each, size := len(labels)/n, len(x.Floats)/len(labels)
	var args []any
	for k := range d.params {
		for _, ts := range [][]*tensors.Tensor{d.params[k], d.sums[k]} {
			for _, t := range ts {
				args = append(args, t)
			}
		}
		part := Array{Dims: append([]int{each}, x.Dims[1:]...), Floats: x.Floats[k*each*size : (k+1)*each*size], Type: x.Type}
		args = append(args, part.tensor(), tensors.FromFlatDataAndDimensions(labels[k*each:(k+1)*each], each))
	}
	outs, err := d.exec.Call(args...)
	if err != nil {
		return Wrap(err)
	}
	for k := range d.sums {
		finalize(d.sums[k])
		m := len(d.sums[k])
		d.sums[k] = outs[k*m : (k+1)*m]
	}
	d.seen += len(labels)
	return nil
}

// total is one of the sums over all devices, in their order.
func (d *Differentiator) total(i int) ([]float32, error) {
	var out []float32
	for _, sums := range d.sums {
		v, err := tensors.CopyFlatData[float32](sums[i])
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = v
			continue
		}
		for k, x := range v {
			out[k] += x
		}
	}
	return out, nil
}

// Means returns the mean cross-entropy since the last Reset, its gradient in the order of Program.Params (nil for what is not trained), and the share of right answers.
func (d *Differentiator) Means() (loss float64, gradient [][]float32, accuracy float64, err error) {
	n := float32(max(d.seen, 1))
	gradient = make([][]float32, len(d.params[0]))
	for i, at := range d.trained {
		if gradient[at], err = d.total(i); err != nil {
			return 0, nil, 0, err
		}
		for k := range gradient[at] {
			gradient[at][k] /= n
		}
	}
	v, err := d.total(len(d.trained))
	if err != nil {
		return 0, nil, 0, err
	}
	return float64(v[0] / n), gradient, float64(v[1] / n), nil
}

// Close frees what was compiled and what is on the devices.
func (d *Differentiator) Close() {
	d.exec.Finalize()
	for k := range d.params {
		finalize(d.params[k])
		finalize(d.sums[k])
	}
}
