package repair

import "github.com/metaprune/metaprune/onnxio"

// Array is a value: Floats, or Ints for integers and booleans.
type Array struct {
	Dims   []int
	Floats []float32
	Ints   []int64
	Type   onnxio.DataType
	Stack  int // samples that an engine which takes one at a time has laid one behind the other along the first axis; 0 for a value that it computed at once
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

// Least is how many samples a repair wants at least: the last of them only judge it.
const Least = 5

// Held is how many of so many samples only judge a repair: a fifth, at least one.
func Held(samples int) int { return max(samples/5, 1) }
