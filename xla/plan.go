package xla

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio"
)

// plan is a program for inputs of given shapes as steps on package kernel. Only a program all of
// whose nodes have kernels gets one; every other one runs on GoMLX's pure-Go backend.
type plan struct {
	steps   []step
	cells   []cell // what is there before the first step; nothing else is kept between runs
	inputs  []int
	outputs []planOutput
	spare   spare
}

// cell is a value while a plan runs: real numbers, or a tensor of another type. Owned numbers are
// used again for another value after the last step that reads them.
type cell struct {
	floats []float32
	tensor *tensors.Tensor
	owned  bool
}

// step computes some cells from others.
type step struct {
	reads, writes []int
	sizes         []int // numbers of each written cell that is allocated before the step; -1 for others
	run           func(c []cell) error
	done          []int // cells that no later step reads
}

// planOutput is where an output or a tap is found.
type planOutput struct {
	cell  int
	dims  []int
	known *tensors.Tensor
}

// finish notes for each step which cells end with it.
func (p *plan) finish() {
	last := make([]int, len(p.cells))
	for i := range last {
		last[i] = -1
	}
	for i, s := range p.steps {
		for _, c := range slices.Concat(s.reads, s.writes) {
			last[c] = i
		}
	}
	for _, o := range p.outputs {
		if o.known == nil {
			last[o.cell] = -1
		}
	}
	for c, i := range last {
		if i >= 0 {
			p.steps[i].done = append(p.steps[i].done, c)
		}
	}
}

// run computes the outputs and taps.
func (p *plan) run(inputs []Array) ([]Array, error) {
	cells := make([]cell, len(p.cells))
	copy(cells, p.cells)
	for i, a := range inputs {
		if t, _ := dtype(a.Type); t.IsFloat() && a.Type != onnxio.Double && a.Floats != nil {
			cells[p.inputs[i]] = cell{floats: a.Floats}
		} else {
			cells[p.inputs[i]] = cell{tensor: a.tensor()}
		}
	}
	for i := range p.steps {
		s := &p.steps[i]
		for k, n := range s.sizes {
			if n >= 0 {
				cells[s.writes[k]] = cell{floats: p.spare.take(n), owned: true}
			}
		}
		if err := s.run(cells); err != nil {
			return nil, err
		}
		for _, c := range s.done {
			p.release(&cells[c])
		}
	}
	return p.results(cells)
}

func (p *plan) release(c *cell) {
	if c.owned {
		p.spare.give(c.floats)
	}
	if c.tensor != nil {
		c.tensor.MustFinalizeAll()
	}
	*c = cell{}
}

// results copies the outputs, whose memory is used again.
func (p *plan) results(cells []cell) ([]Array, error) {
	var out []Array
	for _, o := range p.outputs {
		t := o.known
		if t == nil {
			t = cells[o.cell].tensor
		}
		if t != nil {
			a, err := arrayOf(t)
			if err != nil {
				return nil, err
			}
			out = append(out, a)
			continue
		}
		v := cells[o.cell].floats
		if len(v) != product(o.dims) {
			return nil, fmt.Errorf("an output has %d numbers, its shape %v", len(v), o.dims)
		}
		out = append(out, Array{Dims: o.dims, Floats: append(make([]float32, 0, len(v)), v...), Type: onnxio.Float})
	}
	for i := range cells {
		p.release(&cells[i])
	}
	return out, nil
}

// spare holds memory of values that no step reads any more.
type spare struct{ free [][]float32 }

// take returns n numbers of any value.
func (s *spare) take(n int) []float32 {
	best := -1
	for i, b := range s.free {
		if cap(b) >= n && cap(b) <= 2*n+1024 && (best < 0 || cap(b) < cap(s.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]float32, n)
	}
	b := s.free[best]
	s.free[best] = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return b[:n]
}

func (s *spare) give(b []float32) {
	const most = 32
	if len(s.free) == most {
		s.free = s.free[1:]
	}
	s.free = append(s.free, b)
}
