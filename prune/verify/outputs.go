package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// Outputs runs two models on the same random inputs and returns the largest relative difference of their outputs, as
// [Engine].Compare does. Integers that differ count as infinitely different.
func Outputs(ctx context.Context, e engine.Engine, want, got *onnxio.Model, seed int64) (float64, error) {
	var outs [2][]engine.Array
	for i, m := range []*onnxio.Model{want, got} {
		in, err := drawn(m, seed)
		if err != nil {
			return 0, err
		}
		if outs[i], err = e.Run(ctx, m, in); err != nil {
			return 0, err
		}
	}
	worst, compared := 0.0, 0
	if len(outs[0]) != len(outs[1]) {
		return math.Inf(1), nil
	}
	for k, x := range outs[0] {
		y := outs[1][k]
		compared += len(x.Floats) + len(x.Ints)
		if len(x.Floats) > 0 {
			worst = max(worst, Difference(x.Floats, y.Floats))
		} else if !slices.Equal(x.Ints, y.Ints) {
			worst = math.Inf(1)
		}
	}
	if compared == 0 {
		return 0, errors.New("the outputs have no elements that could be compared")
	}
	return worst, nil
}

// Difference is the largest difference of two outputs, relative to the largest element of want; infinity where they have
// other numbers of elements, or elements that are no numbers.
func Difference(want, got []float32) float64 {
	if len(want) != len(got) {
		return math.Inf(1)
	}
	top, worst := 1e-6, 0.0
	for i := range want {
		top = max(top, math.Abs(float64(want[i])))
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst / top
}

// Random is where the random inputs of a seed come from.
func Random(seed int64) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }

// Normals draws n normal numbers.
func Normals(r *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// drawn are random values for a model's inputs: normal numbers for real inputs, zeros and ones for others; free dims are 2.
func drawn(m *onnxio.Model, seed int64) (map[string]engine.Array, error) {
	weights, out, r := map[string]bool{}, map[string]engine.Array{}, Random(seed)
	for _, t := range m.Graph.Initializers {
		weights[t.Name] = true
	}
	for _, v := range m.Graph.Inputs {
		if weights[v.Name] {
			continue
		}
		if v.Type == nil || v.Type.Tensor == nil || v.Type.Tensor.Shape == nil {
			return nil, &onnxio.UnsupportedError{Path: fmt.Sprintf("input %q", v.Name), What: "anything but a tensor of known rank"}
		}
		a, n := engine.Array{Type: v.Type.Tensor.ElemType}, 1
		for _, d := range v.Type.Tensor.Shape.Dims {
			size := 2
			if d.HasValue && d.Value >= 0 {
				size = int(d.Value)
			}
			a.Dims, n = append(a.Dims, size), n*size
		}
		if a.Type.IsFloat() {
			a.Floats = Normals(r, n)
		} else {
			a.Ints = make([]int64, n)
			for i := range a.Ints {
				a.Ints[i] = r.Int64N(2)
			}
		}
		out[v.Name] = a
	}
	return out, nil
}
