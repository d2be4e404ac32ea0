package repair

import (
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// fixedWork is what running a layer counts beside its least squares, in millions of multiplications.
const fixedWork = 50

// work is about what a layer's repair takes, in millions of multiplications: the products of the rows of
// its least squares, and solving them.
func (q *pair) work(l *layer, method string) int {
	if l.norm || method != Solve || !q.solvable(l) {
		return fixedWork
	}
	groups, k, each := l.sizes(q.p.constant(l.weight).Dims)
	return fixedWork + groups*k*(q.options.wanted(k)*(k+each)+k*k/3)/1e6
}

// LeastMemory is how many bytes the sums of a model's largest least squares take: a matrix in float64 of
// all inputs of one output, for each group of a convolution. No bound of memory makes a repair take less.
func LeastMemory(m *onnxio.Model) int64 {
	q := &pair{p: newStepper(nil, m, nil, engine.Memory{}), options: Options{MaxInputs: MaxInputs}}
	most := 0
	for i := range q.p.nodes {
		if l := q.p.layerOf(i); l != nil && !l.norm && q.solvable(l) {
			groups, k, each := l.sizes(q.p.constant(l.weight).Dims)
			most = max(most, 8*groups*k*(k+each))
		}
	}
	return int64(most)
}
