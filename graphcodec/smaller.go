package graphcodec

import (
	"fmt"
	"slices"

	"github.com/metaprune/metaprune/onnxio"
)

// smaller is the model that is being made without the removed units, as far as patches see it.
type smaller struct {
	model     *onnxio.Model
	an        *analyzer
	before    map[int][]*onnxio.Node // nodes to put in front of a node
	names     map[string]bool        // of values
	cache     map[axisKey][]int
	survivors func(axis []label) []int // positions of an axis that are kept
}

func newSmaller(survivors func(axis []label) []int) *smaller {
	return &smaller{before: map[int][]*onnxio.Node{}, names: map[string]bool{}, cache: map[axisKey][]int{}, survivors: survivors}
}

// fresh returns a value name that is not in use.
func (sm *smaller) fresh(base string) string {
	name := base
	for i := 1; sm.names[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	sm.names[name] = true
	return name
}

// axisKey identifies a slice of labels.
type axisKey struct {
	first *label
	n     int
}

func keyOf(axis []label) axisKey { return axisKey{&axis[0], len(axis)} }

// keep returns the surviving positions of an axis, nil where all survive.
func (sm *smaller) keep(axis []label) []int {
	if len(axis) == 0 {
		return nil
	}
	k, ok := sm.cache[keyOf(axis)]
	if ok {
		return k
	}
	if k = sm.survivors(axis); len(k) == len(axis) {
		k = nil
	}
	sm.cache[keyOf(axis)] = k
	return k
}

// predicted returns the shape that a value of the original will have.
func (sm *smaller) predicted(v *Value) []Dim {
	out := slices.Clone(v.Shape)
	for k := range out {
		var axis []label
		if v.Const != nil {
			axis = v.Const.axes[k]
		} else if v.axes != nil {
			axis = v.axes[k]
		}
		if keep := sm.keep(axis); keep != nil {
			out[k] = Num(int64(len(keep)))
		}
	}
	return out
}
