package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
)

const (
	mostSamples  = 100
	roomBytes    = 1 << 30 // for the values of both models on all samples
	valuesAtOnce = 8       // of the largest moment of one sample's run: two models, and copies on both sides of the runtime
)

// input is one of a model's inputs as the page asks for it: a dimension below 0 is free.
type input struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Dims []int  `json:"dims"`
}

// inputs lists what a model wants to be fed.
func (t *tool) inputs() []input {
	out := []input{}
	for _, in := range calib.InputsOf(t.session.Analysis) {
		out = append(out, input{in.Name, in.Type.String(), in.Dims})
	}
	return out
}

// given are the samples that a page has: arrays of the inputs by name, each a stack of samples.
type given struct {
	feeds   map[string]repair.Array
	samples int
	mode    string // data or noise, as plans say
}

// room is how many samples a page has memory for.
func (t *tool) room() int {
	peak := max(t.session.Analysis.Activations(t.session.Analysis.NewState()), 1)
	return int(min(mostSamples, roomBytes/(valuesAtOnce*peak)))
}

// give takes an array for every input, each a stack of samples, as many as there is memory for, and says how many these are.
func (t *tool) give(feeds map[string]repair.Array) (int, error) {
	if t.session == nil {
		return 0, errNoModel
	}
	inputs := t.inputs()
	for _, in := range inputs {
		if err := in.refused(); err != nil {
			return 0, err
		}
	}
	samples, err := calib.Check(calib.InputsOf(t.session.Analysis), feeds)
	if err != nil {
		return 0, err
	}
	return t.keep(feeds, samples, "data")
}

// refused says why the page does not run samples of an input: it runs float32, one sample at a time.
func (in input) refused() error {
	if in.Type != onnxio.Float.String() {
		return fmt.Errorf("the input %s is of %s, and the page runs samples of float32 only; the command line repairs the model", in.Name, in.Type)
	}
	if len(in.Dims) > 0 && in.Dims[0] > 1 {
		return fmt.Errorf("the input %s needs %d samples at a time, and the page gives it one; use the command line to repair the model", in.Name, in.Dims[0])
	}
	return nil
}

// noise makes samples for a model that takes pictures of one size, where there are no data.
func (t *tool) noise(n int, seed uint64) (int, error) {
	if t.session == nil {
		return 0, errNoModel
	}
	all := t.inputs()
	if len(all) != 1 || len(all[0].Dims) < 2 || slices.Contains(all[0].Dims[1:], -1) {
		return 0, errors.New("noise is for models with one input of known size; give samples")
	}
	if err := all[0].refused(); err != nil {
		return 0, err
	}
	n = min(n, t.room())
	return t.keep(map[string]repair.Array{all[0].Name: repair.Noise(n, all[0].Dims[1:], seed)}, n, "noise")
}

// keep holds samples for repairs.
func (t *tool) keep(feeds map[string]repair.Array, n int, mode string) (int, error) {
	room := t.room()
	if n < repair.Least || room < repair.Least {
		return 0, fmt.Errorf("there are %d samples and the page has memory for %d; a repair needs at least %d", n, room, repair.Least)
	}
	feeds, n = calib.AtMost(feeds, n, room)
	for name, a := range feeds {
		a.Stack = n
		feeds[name] = a
	}
	t.given = &given{feeds, n, mode}
	delete(t.scores, scoring{criterion: observed})
	return n, nil
}
