package meta

import (
	"fmt"
	"strconv"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/onnxio/safetensors"
)

// slots are the parts of a Net's state.
var slots = []string{"param/", "first/", "second/"}

// Checkpoint returns everything that training needs to go on: parameters, both moments and the number of steps. The caller may add metadata.
func (n *Net) Checkpoint() (*safetensors.File, error) {
	out := &safetensors.File{Metadata: map[string]string{"format": "metaprune-metatrain-checkpoint", "steps": strconv.Itoa(n.Steps)}, Tensors: map[string]*safetensors.Tensor{}}
	for slot, prefix := range slots {
		for i, name := range n.names {
			t := n.state[slot*len(n.names)+i]
			v, err := tensors.CopyFlatData[float32](t)
			if err != nil {
				return nil, err
			}
			out.Tensors[prefix+name] = safetensors.FloatTensor(v, t.Shape().Dimensions...)
		}
	}
	return out, nil
}

// Restore goes on from a checkpoint of a metanetwork of the same sizes.
func (n *Net) Restore(f *safetensors.File) error {
	steps, err := strconv.Atoi(f.Metadata["steps"])
	if err != nil || steps < 0 {
		return fmt.Errorf("steps %q: want a number", f.Metadata["steps"])
	}
	state := make([]*tensors.Tensor, 0, len(n.state))
	for slot, prefix := range slots {
		for i, name := range n.names {
			d := n.state[slot*len(n.names)+i].Shape().Dimensions
			t := f.Tensors[prefix+name]
			if t == nil || fmt.Sprint(t.Shape) != fmt.Sprint(d) {
				return fmt.Errorf("%s%s: want a tensor %v", prefix, name, d)
			}
			v, err := t.Floats()
			if err != nil {
				return fmt.Errorf("%s%s: %w", prefix, name, err)
			}
			state = append(state, tensors.FromFlatDataAndDimensions(append([]float32(nil), v...), d...))
		}
	}
	free(n.state)
	n.state, n.Steps = state, steps
	return nil
}
