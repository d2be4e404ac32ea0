package engine

import (
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// Array is a value: Floats, or Ints for integers and booleans.
type Array struct {
	Dims   []int
	Floats []float32
	Ints   []int64
	Type   onnxio.DataType
	Stack  int  // samples that an engine which takes one at a time has laid one behind the other along the first axis; 0 for a value that it computed at once
	Raised bool // of a stack: a sample has no axis of its own there, being a number or a vector, and the first axis is the stack's
}

// Sample is one sample of a stack, and what is no stack as it is.
func (a Array) Sample(i int) Array {
	if a.Stack == 0 {
		return a
	}
	out := Array{Dims: a.SampleDims(), Type: a.Type}
	if n := len(a.Floats) / a.Stack; a.Floats != nil {
		out.Floats = a.Floats[i*n : (i+1)*n]
	}
	if n := len(a.Ints) / a.Stack; a.Ints != nil {
		out.Ints = a.Ints[i*n : (i+1)*n]
	}
	return out
}

// SampleDims are the dims of one sample of a stack.
func (a Array) SampleDims() []int {
	switch {
	case a.Stack == 0:
		return a.Dims
	case a.Raised:
		return a.Dims[1:]
	}
	return append([]int{a.Dims[0] / a.Stack}, a.Dims[1:]...)
}

// stacked concatenates what an engine computed for each sample; false where they are not of one shape. Integers that are the same for all samples, shapes among them, become no stack.
func stacked(samples []Array) (Array, bool) {
	a := samples[0]
	same := a.Ints != nil
	for _, s := range samples[1:] {
		if !slices.Equal(s.Dims, a.Dims) {
			return a, false
		}
		same = same && slices.Equal(s.Ints, a.Ints)
	}
	if same {
		return a, true
	}
	out := Array{Type: a.Type, Stack: len(samples), Raised: len(a.Dims) < 2}
	if out.Raised {
		out.Dims = append([]int{len(samples)}, a.Dims...)
	} else {
		out.Dims = append([]int{len(samples) * a.Dims[0]}, a.Dims[1:]...)
	}
	for _, s := range samples {
		out.Floats, out.Ints = append(out.Floats, s.Floats...), append(out.Ints, s.Ints...)
	}
	return out, true
}

// OneByOne runs a model sample by sample where feeds are stacks: run takes one sample's. What it returns are stacks too.
func OneByOne(feeds map[string]Array, run func(feeds map[string]Array) ([]Array, error)) ([]Array, error) {
	n := 0
	for _, a := range feeds {
		n = max(n, a.Stack)
	}
	if n == 0 {
		return run(feeds)
	}
	var each [][]Array // by output
	for i := range n {
		own := map[string]Array{}
		for name, a := range feeds {
			own[name] = a.Sample(i)
		}
		got, err := run(own)
		if err != nil {
			return nil, err
		}
		if each == nil {
			each = make([][]Array, len(got))
		}
		for k, a := range got {
			each[k] = append(each[k], a)
		}
	}
	out := make([]Array, len(each))
	for k, samples := range each {
		var ok bool
		if out[k], ok = stacked(samples); !ok {
			return nil, &onnxio.UnsupportedError{What: "a value whose shape differs between samples"}
		}
	}
	return out, nil
}

// Stacks makes stacks of samples, of n each, for a model that takes n at a time; left over ones are dropped.
func Stacks(all map[string]Array, n int) map[string]Array {
	out := map[string]Array{}
	for name, a := range all {
		a, _ = a.Split(a.Dims[0] / n * n)
		a.Stack = a.Dims[0] / n
		out[name] = a
	}
	return out
}

// Split cuts an array after n samples.
func (a Array) Split(n int) (first, rest Array) {
	first, rest = a, a
	size := 1
	for _, d := range a.Dims[1:] {
		size *= d
	}
	first.Dims, rest.Dims = append([]int{n}, a.Dims[1:]...), append([]int{a.Dims[0] - n}, a.Dims[1:]...)
	if a.Floats != nil {
		first.Floats, rest.Floats = a.Floats[:n*size], a.Floats[n*size:]
	} else {
		first.Ints, rest.Ints = a.Ints[:n*size], a.Ints[n*size:]
	}
	if a.Stack > 0 {
		first.Stack, rest.Stack = n, a.Stack-n
	}
	return first, rest
}

// SplitLast cuts the last n samples off.
func SplitLast(all map[string]Array, n int) (first, last map[string]Array) {
	first, last = map[string]Array{}, map[string]Array{}
	for name, a := range all {
		first[name], last[name] = a.Split(a.Dims[0] - n)
	}
	return first, last
}

// Blocks says how a value's channels lie, before x channels x after; an axis below 0 counts from the end.
func (a Array) Blocks(channel int) (before, channels, after int) {
	if channel < 0 {
		channel += len(a.Dims)
	}
	before, after = 1, 1
	for i, d := range a.Dims {
		switch {
		case i < channel:
			before *= d
		case i > channel:
			after *= d
		}
	}
	return before, a.Dims[channel], after
}

// Samples is how many samples an output is of: the length of its first axis, or what a stack of inputs has.
func (a Array) Samples(inputs map[string]Array) int {
	if a.Stack == 0 {
		if len(a.Dims) == 0 {
			return 0
		}
		return a.Dims[0]
	}
	for _, in := range inputs {
		if in.Stack == a.Stack && in.Dims[0] == a.Dims[0] { // several samples at a time
			return a.Dims[0]
		}
	}
	return a.Stack
}
