package op

import (
	"slices"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
)

// zeroState is what a value holds at positions whose units are removed, when every cut slice of the
// original is zero.
type zeroState int8

const (
	isZero   zeroState = iota // zeros
	centered                  // zero minus a mean over the same axis: a norm being computed
	nonZero                   // something else
)

// Role says what an axis of a constant is to the operator that reads it.
type Role int8

// Roles of a constant's axis.
const (
	Other     Role = iota // bias, running statistics, constants of element-wise operators
	Output                // output channels of a layer's weight
	Input                 // input channels of a layer's weight
	Norm                  // scale of a normalisation
	Depthwise             // channels of a depthwise kernel
)

// Constant is a tensor whose slices can be removed.
type Constant struct {
	Name   string         // the value's name: what a plan calls it
	Tensor *onnxio.Tensor // for a copy (an Identity's output) the original's tensor
	Node   int            // of the Constant or Identity node, -1 for an initializer
	Copy   bool           // an Identity over another constant
	Tied   *Constant      // the constant that a copied matrix shares its labels with: those are the same weights, not equal by chance
	Roles  []Role         // by axis
	Order  int            // of the first node that reads it as a weight
	Packed bool           // elements of a few bits whose columns the reading node writes anew: a plan has no name for them
	Own    bool           // one reader's view of a vector of zeros that others read too
	Axes   [][]label.Label
	scale  *quantisation // what its integers stand for; nil where they are no quantised weight
}

// Value is what is known of one tensor in the graph.
type Value struct {
	Name            string
	Type            onnxio.DataType
	Ranked          bool // whether Shape is known
	Shape           []dim.Dim
	Const           *Constant // nil for activations
	Axes            [][]label.Label
	Elements        []Elem // contents of a small tensor, nil where unknown
	zero            zeroState
	loose           int      // not 0: it is zero where positions are removed on any axis but this one minus 1
	positive, below bool     // has no element below zero; none above zero where positions are removed
	Plain           bool     // the shape follows from the file without evaluating computed shapes
	Static          bool     // computed from constants alone
	seq             []*Value // items of a sequence that is known, not nil then
	mean            *Value   // where this is a mean over tracked axes: of what
}

// Elem is one element of a small tensor whose contents are known.
type Elem struct {
	Int     dim.Dim
	Float   float64
	IsFloat bool
	taint   [][]label.Label // axes from whose lengths it was computed
	length  []label.Label   // the axis whose length it is, where it is exactly that
}

// maxElems bounds the tensors whose contents are followed: shapes, index lists and the like.
const maxElems = 4096

// MaxAxis bounds the axes that are followed position by position, so that a small file cannot ask
// for unbounded memory.
const MaxAxis = 1 << 24

// Rank returns the number of axes, -1 where unknown.
func (v *Value) Rank() int {
	if !v.Ranked {
		return -1
	}
	return len(v.Shape)
}

// Has reports whether the value is there and is known to have axis k.
func (v *Value) Has(k int) bool { return v != nil && k >= 0 && k < len(v.Shape) }

// dim is the length of axis k; false where the value is left out or is not known to have that axis.
func (v *Value) dim(k int) (dim.Dim, bool) {
	if !v.Has(k) {
		return dim.Dim{}, false
	}
	return v.Shape[k], true
}

// single reports whether the value is known to have one element.
func (v *Value) single() bool {
	return v.Ranked && !slices.ContainsFunc(v.Shape, func(d dim.Dim) bool { return d != dim.Num(1) })
}

// vector reports whether the value is known to have at most one axis that is longer than 1.
func (v *Value) vector() bool {
	long := 0
	for _, d := range v.Shape {
		if d != dim.Num(1) {
			long++
		}
	}
	return v.Ranked && long < 2
}

// length is how many elements a vector has, -1 where that is not known.
func (v *Value) length() int {
	if v == nil || len(v.Shape) != 1 || !v.Shape[0].IsNum() {
		return -1
	}
	return int(v.Shape[0].N)
}

// ints returns the contents as plain integers.
func (v *Value) ints() ([]int64, bool) {
	if v == nil || v.Elements == nil {
		return nil, false
	}
	out := make([]int64, len(v.Elements))
	for i, e := range v.Elements {
		if e.IsFloat || !e.Int.IsNum() {
			return nil, false
		}
		out[i] = e.Int.N
	}
	return out, true
}

// floats returns the contents as floating-point numbers.
func (v *Value) floats() ([]float64, bool) {
	if v == nil || v.Elements == nil {
		return nil, false
	}
	out := make([]float64, len(v.Elements))
	for i, e := range v.Elements {
		switch {
		case e.open():
			return nil, false
		case e.IsFloat:
			out[i] = e.Float
		case e.Int.IsNum():
			out[i] = float64(e.Int.N)
		default:
			return nil, false
		}
	}
	return out, true
}

// zeros reports whether the contents are known to be zeros.
func (v *Value) zeros() bool {
	f, ok := v.floats()
	return ok && !slices.ContainsFunc(f, func(x float64) bool { return x != 0 })
}

// tainted reports whether any element was computed from the length of a tracked axis.
func (v *Value) tainted() bool {
	for _, e := range v.Elements {
		if len(e.taint) > 0 {
			return true
		}
	}
	return false
}

func mergeTaint(a, b [][]label.Label) [][]label.Label {
	if len(a) == 0 {
		return b
	}
	out := a[:len(a):len(a)]
next:
	for _, x := range b {
		for _, y := range out {
			if &x[0] == &y[0] {
				continue next
			}
		}
		out = append(out, x)
	}
	return out
}

// constValue makes the value of a constant tensor, with its contents where they are small.
func constValue(name string, t *onnxio.Tensor, node int) *Value {
	v := &Value{Name: name, Type: t.DataType, Ranked: true, Static: true, Plain: true}
	for _, d := range t.Dims {
		v.Shape = append(v.Shape, dim.Num(d))
	}
	v.Elements = contents(t)
	for _, d := range t.Dims {
		if d == 0 || d > MaxAxis {
			v.Axes = make([][]label.Label, len(v.Shape))
			return v // nothing to cut, or too long to follow
		}
	}
	v.Const = &Constant{Name: name, Tensor: t, Node: node, Roles: make([]Role, len(t.Dims)), Axes: make([][]label.Label, len(t.Dims)), Order: -1}
	return v
}

func contents(t *onnxio.Tensor) []Elem {
	n, err := t.NumElements()
	if err != nil || n > maxElems {
		return nil
	}
	out := make([]Elem, 0, n)
	if t.DataType.IsInteger() {
		ints, err := t.Int64s()
		if err != nil {
			return nil
		}
		for _, i := range ints {
			out = append(out, Elem{Int: dim.Num(i)})
		}
		return out
	}
	if !t.DataType.IsFloat() || n > 64 {
		return nil
	}
	floats, err := t.Float64s()
	if err != nil {
		return nil
	}
	for _, f := range floats {
		out = append(out, Elem{Float: f, IsFloat: true})
	}
	return out
}

// String returns the role's name.
func (r Role) String() string {
	return [...]string{"other", "output", "input", "norm", "depthwise"}[r]
}
