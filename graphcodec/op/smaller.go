package op

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// Smaller is the model that is being made without the removed units, as far as patches see it.
type Smaller struct {
	Model     *onnxio.Model
	Analyzer  *Analyzer
	Before    map[int][]*onnxio.Node // nodes to put in front of a node
	Names     map[string]bool        // of values
	cache     map[AxisKey][]int
	survivors func(axis []label.Label) []int // positions of an axis that are kept
}

// NewSmaller starts a smaller model; survivors gives the positions of an axis that are kept.
func NewSmaller(survivors func(axis []label.Label) []int) *Smaller {
	return &Smaller{Before: map[int][]*onnxio.Node{}, Names: map[string]bool{}, cache: map[AxisKey][]int{}, survivors: survivors}
}

// fresh returns a value name that is not in use.
func (sm *Smaller) fresh(base string) string {
	name := base
	for i := 1; sm.Names[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	sm.Names[name] = true
	return name
}

// AxisKey identifies a slice of labels.
type AxisKey struct {
	first *label.Label
	n     int
}

// KeyOf identifies an axis, which is not empty.
func KeyOf(axis []label.Label) AxisKey { return AxisKey{&axis[0], len(axis)} }

// Keep returns the surviving positions of an axis, nil where all survive.
func (sm *Smaller) Keep(axis []label.Label) []int {
	if len(axis) == 0 {
		return nil
	}
	k, ok := sm.cache[KeyOf(axis)]
	if ok {
		return k
	}
	if k = sm.survivors(axis); len(k) == len(axis) {
		k = nil
	}
	sm.cache[KeyOf(axis)] = k
	return k
}

// Predicted returns the shape that a value of the original will have.
func (sm *Smaller) Predicted(v *Value) []dim.Dim {
	out := slices.Clone(v.Shape)
	for k := range out {
		var axis []label.Label
		if v.Const != nil {
			axis = v.Const.Axes[k]
		} else if v.Axes != nil {
			axis = v.Axes[k]
		}
		if keep := sm.Keep(axis); keep != nil {
			out[k] = dim.Num(int64(len(keep)))
		}
	}
	return out
}
