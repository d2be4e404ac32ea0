package gram

import (
	"context"
	"fmt"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// Products takes products of blocks of rows on an engine, and prepares those of one shape once.
type Products struct {
	engine   engine.Engine
	sessions map[shape]engine.Session
}

// shape is what a prepared product depends on.
type shape struct {
	block, k, o int
	residual    bool
	outer       bool
}

// NewProducts makes products for accumulators; a nil engine takes all of them here. Close frees them.
func NewProducts(e engine.Engine) *Products {
	return &Products{e, map[shape]engine.Session{}}
}

// Close frees what was prepared.
func (p *Products) Close() {
	for _, s := range p.sessions {
		s.Close()
	}
	clear(p.sessions)
}

// add takes an accumulator's block into its sums, on the engine.
func (p *Products) add(ctx context.Context, a *Accumulator) error {
	key := shape{block: a.block, k: a.k, o: a.o, residual: a.w0 != nil}
	s := p.sessions[key]
	if s == nil {
		var err error
		if s, err = engine.Compile(ctx, p.engine, key.model()); err != nil {
			return err
		}
		p.sessions[key] = s
	}
	feeds := map[string]engine.Array{"x": {Dims: []int{a.block, a.k}, Floats: a.x, Type: onnxio.Float}}
	if a.o > 0 {
		feeds["z"] = engine.Array{Dims: []int{a.block, a.o}, Floats: a.z, Type: onnxio.Float}
	}
	if a.w0 != nil {
		feeds["w"] = engine.Array{Dims: []int{a.k, a.o}, Floats: a.w0, Type: onnxio.Float}
	}
	out, err := s.Run(ctx, feeds)
	if err != nil {
		return err
	}
	at := 0
	edges := key.edges()
	for i := range len(edges) - 1 {
		for j := i; j < len(edges)-1; j++ {
			addBlock(a.gram, a.k, edges[i], edges[i+1], edges[j], edges[j+1], out[at].Floats)
			at++
		}
	}
	if a.o > 0 {
		addBlock(a.cross, a.o, 0, a.k, 0, a.o, out[at].Floats)
	}
	return nil
}

// addBlock adds a matrix to a part of another.
func addBlock(to []float64, stride, top, bottom, left, right int, v []float32) {
	width := right - left
	parallel(bottom-top, func(from, end int) {
		for i := from; i < end; i++ {
			row := to[(top+i)*stride+left : (top+i)*stride+right]
			for j, x := range v[i*width : (i+1)*width] {
				row[j] += float64(x)
			}
		}
	})
}

// Of a product with itself only the upper half is needed: columns in so many parts, from a number of columns on.
const (
	parts     = 4
	splitFrom = 1024
)

// edges are the columns at which parts begin and end.
func (s shape) edges() []int {
	if s.k < splitFrom {
		return []int{0, s.k}
	}
	var out []int
	for i := range parts + 1 {
		out = append(out, i*s.k/parts)
	}
	return out
}

// model is x' x for each pair of parts of x's columns and, where there are targets, x' (z - x w).
func (s shape) model() *onnxio.Model {
	g := &onnxio.Graph{Name: "products"}
	input := func(name string, dims ...int) { g.Inputs = append(g.Inputs, matrix(name, dims...)) }
	output := func(name string) { g.Outputs = append(g.Outputs, matrix(name)) }
	node := func(kind, out string, in ...string) *onnxio.Node {
		n := &onnxio.Node{OpType: kind, Inputs: in, Outputs: []string{out}}
		g.Nodes = append(g.Nodes, n)
		return n
	}
	transposed := func(out, in string) {
		node("Transpose", out, in).Attributes = []*onnxio.Attribute{{Name: "perm", Type: onnxio.AttrInts, Ints: []int64{1, 0}}}
	}
	input("x", s.block, s.k)
	edges := s.edges()
	part := func(i int) string { return fmt.Sprintf("x%d", i) }
	for i := range len(edges) - 1 {
		if len(edges) == 2 {
			node("Identity", part(i), "x")
		} else {
			for name, v := range map[string]int{"from": edges[i], "to": edges[i+1]} {
				g.Initializers = append(g.Initializers, number(part(i)+name, v))
			}
			node("Slice", part(i), "x", part(i)+"from", part(i)+"to", "axis")
		}
		transposed(part(i)+"t", part(i))
	}
	if len(edges) > 2 {
		g.Initializers = append(g.Initializers, number("axis", 1))
	}
	for i := range len(edges) - 1 {
		for j := i; j < len(edges)-1; j++ {
			name := fmt.Sprintf("g%d_%d", i, j)
			node("MatMul", name, part(i)+"t", part(j))
			output(name)
		}
	}
	if s.o > 0 {
		input("z", s.block, s.o)
		rest := "z"
		if s.residual {
			input("w", s.k, s.o)
			node("MatMul", "xw", "x", "w")
			node("Sub", "r", "z", "xw")
			rest = "r"
		}
		transposed("xt", "x")
		node("MatMul", "cross", "xt", rest)
		output("cross")
	}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: g}
}

// number is a vector of one number.
func number(name string, v int) *onnxio.Tensor {
	t := &onnxio.Tensor{Name: name, DataType: onnxio.Int64, Dims: []int64{1}}
	t.SetRaw(make([]byte, 8))
	t.SetInt64s([]int64{int64(v)})
	return t
}

// multiply takes the block into the sums in float64.
func (a *Accumulator) multiply() {
	x, z := widened(a.x, a.filled, a.k), widened(a.z, a.filled, a.o)
	blas64.Syrk(blas.Trans, 1, x, 1, blas64.Symmetric{Uplo: blas.Upper, N: a.k, Stride: max(a.k, 1), Data: a.gram})
	if a.o == 0 {
		return
	}
	if a.w0 != nil {
		blas64.Gemm(blas.NoTrans, blas.NoTrans, -1, x, widened(a.w0, a.k, a.o), 1, z)
	}
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, x, z, 1, blas64.General{Rows: a.k, Cols: a.o, Stride: a.o, Data: a.cross})
}

// widened is a matrix in float64.
func widened(v []float32, rows, cols int) blas64.General {
	out := blas64.General{Rows: rows, Cols: cols, Stride: max(cols, 1), Data: make([]float64, rows*cols)}
	for i := range out.Data {
		out.Data[i] = float64(v[i])
	}
	return out
}
