package gram

import (
	"context"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// Minus takes a' b off a matrix [n][n], where a and b are [k][n]. Large products are taken in
// float32 by the engine.
func (p *Products) Minus(ctx context.Context, to []float64, n int, a, b []float64) error {
	k := len(a) / n
	if p.engine == nil || n*n*k < smallWork/4 {
		x, y := blas64.General{Rows: k, Cols: n, Stride: n, Data: a}, blas64.General{Rows: k, Cols: n, Stride: n, Data: b}
		blas64.Gemm(blas.Trans, blas.NoTrans, -1, x, y, 1, blas64.General{Rows: n, Cols: n, Stride: n, Data: to})
		return nil
	}
	key := shape{block: k, k: n, outer: true}
	s := p.sessions[key]
	if s == nil {
		var err error
		if s, err = engine.Compile(ctx, p.engine, key.outerModel()); err != nil {
			return err
		}
		p.sessions[key] = s
	}
	out, err := s.Run(ctx, map[string]engine.Array{
		"x": {Dims: []int{n, k}, Floats: narrowed(a, k, n, true), Type: onnxio.Float},
		"y": {Dims: []int{k, n}, Floats: narrowed(b, k, n, false), Type: onnxio.Float}})
	if err != nil {
		return err
	}
	v := out[0].Floats
	parallel(n, func(from, end int) {
		for i := from * n; i < end*n; i++ {
			to[i] -= float64(v[i])
		}
	})
	return nil
}

// narrowed is a matrix in float32, transposed where that is asked for.
func narrowed(v []float64, rows, cols int, transposed bool) []float32 {
	out := make([]float32, len(v))
	for i := range rows {
		for j := range cols {
			if transposed {
				out[j*rows+i] = float32(v[i*cols+j])
			} else {
				out[i*cols+j] = float32(v[i*cols+j])
			}
		}
	}
	return out
}

// outerModel is x y.
func (s shape) outerModel() *onnxio.Model {
	g := &onnxio.Graph{Name: "outer", Nodes: []*onnxio.Node{{OpType: "MatMul", Inputs: []string{"x", "y"}, Outputs: []string{"p"}}}}
	g.Inputs = []*onnxio.ValueInfo{matrix("x", s.k, s.block), matrix("y", s.block, s.k)}
	g.Outputs = []*onnxio.ValueInfo{matrix("p")}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: g}
}

// matrix declares a value of floats, of free shape where no dims are given.
func matrix(name string, dims ...int) *onnxio.ValueInfo {
	t := &onnxio.TensorType{ElemType: onnxio.Float}
	if dims != nil {
		t.Shape = &onnxio.Shape{}
	}
	for _, d := range dims {
		t.Shape.Dims = append(t.Shape.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: t}}
}
