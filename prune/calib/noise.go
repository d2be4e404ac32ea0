package calib

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/repair"
)

// NoiseError reports an input for which no noise can be made.
type NoiseError struct {
	Input string
	Why   string
	Size  bool // a size of the input helps
}

func (e *NoiseError) Error() string { return "input " + strconv.Quote(e.Input) + " " + e.Why }

// Noise makes n samples for every input. picture is the size [C H W] of inputs that have these three axes after the one of
// samples; nil takes the sizes that the model declares.
func Noise(inputs []Input, n int, picture []int, seed uint64) (map[string]repair.Array, error) {
	out := map[string]repair.Array{}
	for _, in := range inputs {
		if in.Type != onnxio.Float {
			return nil, &NoiseError{in.Name, "is " + in.Type.String() + "; noise only stands for real inputs", false}
		}
		if len(in.Dims) < 2 {
			return nil, &NoiseError{in.Name, "has no axis of samples", false}
		}
		dims := slices.Clone(in.Dims[1:])
		if picture != nil && len(dims) == 3 {
			dims = picture
		}
		if slices.Contains(dims, -1) {
			return nil, &NoiseError{in.Name, "is of any size, " + fmt.Sprint(in.Dims), true}
		}
		out[in.Name] = repair.Noise(n, dims, seed)
	}
	return out, nil
}
