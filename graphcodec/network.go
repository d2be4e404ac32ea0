package graphcodec

import (
	"fmt"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"math"
)

// Network is a model as a parameter graph: a node is an output channel of a layer (or an input channel of the model), an edge the kernel between two of them.
type Network struct {
	Scheme Scheme
	Layers []NodeSet // in order of their nodes
	N, F   int
	Nodes  []float32 // [N, F] features, as Scheme names them
	Blocks []EdgeBlock

	Analysis *coupling.Analysis
	params   []param
}

// NodeSet is the range of nodes that one layer's output channels make up.
type NodeSet struct {
	Name  string // the weight's, or the node's where it has none
	Kind  string // "layer", "norm", "embedding", "input", "constant"
	First int
	Size  int
	Depth int // layers between it and the model's inputs
	Group int // of its first node in Analysis.Groups, -1 where it is in none
}

// EdgeBlock is a dense block of edges from the nodes In..In+Cols to the nodes Out..Out+Rows, or the diagonal of one. Features are Lens * kernel / Scale.
type EdgeBlock struct {
	Out, In, Rows, Cols int
	Diagonal            bool
	Type                int          // index into Scheme.Edges
	Const               *op.Constant // whose elements the kernels are; nil for edges without parameters
	Fixed               bool         // the elements belong to another block too, which is the one that changes them
	Kernel              int          // elements of each kernel
	Lens                []float32    // [features, Kernel], nil for the identity
	Scale               float32

	at kernels
}

// param says that a node's feature is an element of a constant divided by a scale.
type param struct {
	feature, node int32
	c             *op.Constant
	index         int32
	scale         float32
	fixed         bool
}

// Scheme names the features that a metanetwork is trained for. A metanetwork of one scheme is of no use for another.
type Scheme struct {
	Name  string
	Nodes []string   // by feature
	Edges []EdgeType // by type
}

// EdgeType is a kind of edge with an encoder and a decoder of its own.
type EdgeType struct {
	Name     string
	Features int
	Fixed    bool // without parameters: nothing to decode
}

// Universal is the scheme for every architecture, version 1.
//
// Nodes: a normalisation's weight and bias divided by the root mean square (RMS) of the weight over the layer; running mean and variance divided by the root of the layer's mean variance, and by that mean variance;
// the bias divided by RMS(weight) * sqrt(fan-in); flags; logarithms. Where there is no such parameter: 1, 0, 0, 1 and 0. Running statistics are read and never changed.
// Kernel edges: the kernel divided by the RMS of its tensor, in an orthonormal DCT basis, low frequencies first, up to 9 numbers. Other edges: 1.
var Universal = Scheme{
	Name: "universal-1",
	Nodes: []string{"norm weight", "norm bias", "running mean", "running variance", "bias", "has norm", "is input", "is output", "is depthwise", "is removable",
		"log(1+fan-in)/8", "log(1+fan-out)/8", "log(RMS(weight)*sqrt(fan-in))/4", "log2(positions)/16"},
	Edges: []EdgeType{{"kernel", 9, false}, {"residual", 1, true}, {"gate", 1, true}, {"attention", 1, true}},
}

// ReferenceCNN is the scheme of the paper's public code for convolutional networks: nodes hold weight, bias, mean and variance of a BatchNorm (the layer's bias in place of the second where there is none) and those of
// the downsampling convolution's, which has no nodes of its own; edges the 3x3 kernel row by row, 1x1 and fully connected ones in its centre; identity shortcuts are dense blocks.
var ReferenceCNN = Scheme{
	Name:  "reference-cnn",
	Nodes: []string{"norm weight", "norm bias", "running mean", "running variance", "shortcut's norm weight", "shortcut's norm bias", "shortcut's running mean", "shortcut's running variance"},
	Edges: []EdgeType{{"", 9, false}},
}

// SchemeByName returns a known scheme.
func SchemeByName(name string) (Scheme, error) {
	for _, s := range []Scheme{Universal, ReferenceCNN} {
		if s.Name == name {
			return s, nil
		}
	}
	return Scheme{}, fmt.Errorf("feature scheme %q: want %q or %q", name, Universal.Name, ReferenceCNN.Name)
}

// Encode turns the model into a parameter graph. Blocks alias the model's weights. It fails with a FormatError that names the tensor where a weight is not finite.
func Encode(a *coupling.Analysis, s Scheme) (n *Network, err error) {
	defer op.Caught(&err)
	b := newNetBuilder(a, s)
	for _, c := range a.Analyzer.Calls {
		b.call(c)
	}
	return b.finish()
}

// Edges returns the number of edges.
func (b *EdgeBlock) Edges() int {
	if b.Diagonal {
		return b.Rows
	}
	return b.Rows * b.Cols
}

// Tile writes the kernels of rows x cols edges from (row, col) on: number j of edge (r, c) to dst[(r*Kernel+j)*ld+c]. A diagonal has one column.
func (b *EdgeBlock) Tile(dst []float32, row, rows, col, cols, ld int) {
	b.at.tile(dst, row, rows, col, cols, ld)
}

// Features returns the features of a run of rows: [rows, cols, features], or [rows, features] of a diagonal.
func (b *EdgeBlock) Features(row, rows int) []float32 {
	width := b.Cols
	if b.Diagonal {
		width = 1
	}
	k, f := b.Kernel, b.features()
	raw := make([]float32, k*width)
	out := make([]float32, 0, rows*width*f)
	for r := range rows {
		b.Tile(raw, row+r, 1, 0, width, width)
		for c := range width {
			for i := range f {
				out = append(out, b.feature(raw[c:], i, width))
			}
		}
	}
	return out
}

func (b *EdgeBlock) features() int {
	if b.Lens == nil {
		return b.Kernel
	}
	return len(b.Lens) / b.Kernel
}

func (b *EdgeBlock) feature(kernel []float32, i, stride int) float32 {
	if b.Lens == nil {
		return kernel[i*stride] / b.Scale
	}
	sum := 0.0
	for j := range b.Kernel {
		sum += float64(float64(b.Lens[i*b.Kernel+j]) * float64(kernel[j*stride]))
	}
	return float32(sum / float64(b.Scale))
}

// Delta returns what a change of one edge's features changes in its kernel.
func (b *EdgeBlock) Delta(before, after []float32) []float32 {
	out := make([]float32, b.Kernel)
	for i := range before {
		d := (float64(after[i]) - float64(before[i])) * float64(b.Scale)
		if d == 0 {
			continue
		}
		if b.Lens == nil {
			out[i] = float32(d)
			continue
		}
		for j := range out {
			out[j] += float32(d * float64(b.Lens[i*b.Kernel+j]))
		}
	}
	return out
}

// dct returns the first features rows of the orthonormal DCT-II basis over a kernel of the given extents, lowest frequencies first: [features, product of extents], zero rows where there are no more.
func dct(extents []int, features int) []float32 {
	size := 1
	for _, d := range extents {
		size *= d
	}
	out := make([]float32, features*size)
	for row, freq := range frequencies(extents, features) {
		for at := range size {
			v, rest := 1.0, at
			for i := len(extents) - 1; i >= 0; i-- {
				v = float64(v * cosine(extents[i], freq[i], rest%extents[i]))
				rest /= extents[i]
			}
			out[row*size+at] = float32(v)
		}
	}
	return out
}

func cosine(n, freq, at int) float64 {
	if freq == 0 {
		return 1 / math.Sqrt(float64(n))
	}
	return math.Sqrt(2/float64(n)) * cosineOf((2*at+1)*freq, 2*n)
}

// frequencies lists up to n frequency vectors by ascending sum, then lexicographically.
func frequencies(extents []int, n int) [][]int {
	var out [][]int
	top := 0
	for _, d := range extents {
		top += d - 1
	}
	var fill func(prefix []int, left int)
	fill = func(prefix []int, left int) {
		k := len(prefix)
		if len(out) == n || k == len(extents) {
			if k == len(extents) && left == 0 && len(out) < n {
				out = append(out, append([]int(nil), prefix...))
			}
			return
		}
		for f := 0; f < extents[k] && f <= left; f++ {
			fill(append(prefix[:k:k], f), left-f)
		}
	}
	for sum := 0; sum <= top && len(out) < n; sum++ {
		fill(nil, sum)
	}
	return out
}

// centre returns the lens of the reference: a 3x3 kernel as it is, a single number in the centre; a larger kernel's middle, a smaller one's numbers around the centre.
func centre(extents []int, features int) []float32 {
	size, h, w := 1, 1, 1
	for i, d := range extents {
		size *= d
		switch len(extents) - i {
		case 2:
			h = d
		case 1:
			w = d
		}
	}
	out := make([]float32, features*size)
	for y := range min(h, 3) {
		for x := range min(w, 3) {
			from := (y+max(h-3, 0)/2)*w + x + max(w-3, 0)/2
			to := (y+max(3-h, 0)/2)*3 + x + max(3-w, 0)/2
			out[to*size+from] = 1
		}
	}
	return out
}
