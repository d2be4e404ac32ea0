package calib

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/repair"
)

// Input is one of a model's inputs; samples lie along its first axis.
type Input struct {
	Name string
	Type onnxio.DataType
	Dims []int // below 0 where any size is taken
}

// InputsOf lists what a model has to be given: its inputs that are no constants. Free sizes are -1.
func InputsOf(a *coupling.Analysis) []Input {
	var out []Input
	for _, v := range a.Model.Graph.Inputs {
		x := a.Value(v.Name)
		if x == nil || x.Const != nil {
			continue
		}
		in := Input{Name: v.Name, Type: x.Type, Dims: []int{}}
		for _, d := range x.Shape {
			in.Dims = append(in.Dims, Size(d))
		}
		out = append(out, in)
	}
	return out
}

// Size is a length as a number, -1 where it is free.
func Size(d dim.Dim) int {
	if d.IsNum() {
		return int(d.N)
	}
	return -1
}

// SampleError reports samples that do not fit a model's inputs, or a file that holds none.
type SampleError struct {
	File  string // empty where they are in no file
	Input string // empty where it is about all of them
	Want  string
	Got   string
	Do    string // what to do; may be empty
	Err   error  // what a decoder said; may be nil
}

func (e *SampleError) Error() string {
	text := ""
	switch {
	case e.Err != nil && e.Want == "":
		text = e.Err.Error()
	case e.Err != nil:
		text = "want " + e.Want + ": " + e.Err.Error()
	case e.Input == "" && e.File == "":
		text = e.Got + " samples; a repair needs " + e.Want
	case e.Input == "":
		text = "want " + e.Want + ", got " + e.Got
	default:
		text = "array " + strconv.Quote(e.Input) + ": want " + e.Want + ", got " + e.Got
	}
	if e.File != "" {
		text = e.File + ": " + text
	}
	if e.Do != "" {
		text += "; " + e.Do
	}
	return text
}

func (e *SampleError) Unwrap() error { return e.Err }

// Fault says where the fault is, what was wanted and what was found (package faults).
func (e *SampleError) Fault() (where, want, got string) {
	where, got = e.File, e.Got
	if e.Input != "" {
		where = strings.TrimPrefix(where+": input "+strconv.Quote(e.Input), ": ")
	}
	if e.Err != nil {
		got = e.Err.Error()
	}
	return where, e.Want, got
}

// Check returns how many samples there are: the same number for every input, at least [repair.Least], of the input's type
// and shape. Arrays without a name of an input are ignored. An array with neither floats nor integers is one of bytes.
func Check(inputs []Input, samples map[string]repair.Array) (int, error) {
	n := -1
	for _, in := range inputs {
		a, ok := samples[in.Name]
		if want, got := in.wrong(a, ok, n); want != "" {
			if !ok {
				got = "only " + listed(samples)
			}
			return 0, &SampleError{Input: in.Name, Want: want, Got: got}
		}
		n = a.Dims[0]
	}
	if n < repair.Least {
		return n, &SampleError{Want: "at least " + strconv.Itoa(repair.Least), Got: strconv.Itoa(n)}
	}
	return n, nil
}

// wrong says what an array of samples is to be and is not; empty where it fits. n is how many samples the arrays before
// have, below 0 for the first.
func (in Input) wrong(a repair.Array, there bool, n int) (want, got string) {
	kind := typeOf(a)
	switch {
	case !there:
		return in.Type.String() + " " + in.shape(), ""
	case kind == bytesType || (a.Floats != nil) != in.Type.IsFloat():
		return in.Type.String(), kind
	case !in.Fits(a.Dims):
		return "shape " + in.shape(), fmt.Sprint(a.Dims)
	case n >= 0 && a.Dims[0] != n:
		return strconv.Itoa(n) + " samples as in the arrays before", strconv.Itoa(a.Dims[0])
	}
	return "", ""
}

// listed are the names of arrays.
func listed(samples map[string]repair.Array) string {
	var names []string
	for name := range samples {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Fits reports whether an array of these dims holds samples for the input.
func (in Input) Fits(dims []int) bool {
	if len(dims) == 0 || len(dims) != max(len(in.Dims), 1) {
		return false
	}
	for k, d := range in.Dims {
		if k > 0 && d >= 0 && d != dims[k] {
			return false
		}
	}
	return true
}

// shape is that of samples for the input, with words for what is free.
func (in Input) shape() string {
	s := "[samples"
	for _, d := range in.Dims[min(1, len(in.Dims)):] {
		if d < 0 {
			s += " any"
		} else {
			s += " " + strconv.Itoa(d)
		}
	}
	return s + "]"
}

const bytesType = "uint8"

// typeOf names what an array holds.
func typeOf(a repair.Array) string {
	switch {
	case a.Floats != nil:
		return "float32"
	case a.Ints != nil:
		return "integers"
	}
	return bytesType
}

// AtMost keeps the last of n samples where there are more than a limit, and returns how many are kept.
func AtMost(samples map[string]repair.Array, n, limit int) (map[string]repair.Array, int) {
	if n <= limit {
		return samples, n
	}
	_, samples = engine.SplitLast(samples, limit)
	return samples, limit
}

// batcher is an engine that knows how many samples a model takes at a time.
type batcher interface {
	Batches(ctx context.Context, m *onnxio.Model, samples map[string]repair.Array) int
}

// Divide returns the samples to fit on and, a fifth, those that only judge. An engine that knows a fixed batch of the
// model's (xla.Engine) gets stacks of that many samples.
func Divide(ctx context.Context, e repair.Engine, m *onnxio.Model, samples map[string]repair.Array, n int) (fit, held map[string]repair.Array) {
	fit, held = engine.SplitLast(samples, repair.Held(n))
	if b, ok := e.(batcher); ok {
		if size := b.Batches(ctx, m, samples); size > 0 {
			fit, held = engine.Stacks(fit, size), engine.Stacks(held, size)
		}
	}
	return fit, held
}
