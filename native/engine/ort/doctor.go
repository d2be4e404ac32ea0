package ort

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// Speed multiplies matrices of ones, whose product is known, and returns the best of some runs in GFLOP/s.
func (e *Engine) Speed(ctx context.Context) (float64, error) {
	const n, runs = 512, 5
	value := func(name string) *onnxio.ValueInfo {
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: &onnxio.Shape{Dims: []*onnxio.Dim{{}, {}}}}}}
	}
	s, err := e.open(&onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{
		Name: "product", Nodes: []*onnxio.Node{{OpType: "MatMul", Inputs: []string{"x", "x"}, Outputs: []string{"y"}}},
		Inputs: []*onnxio.ValueInfo{value("x")}, Outputs: []*onnxio.ValueInfo{value("y")},
	}})
	if err != nil {
		return 0, refused(err)
	}
	defer s.Close()
	x, err := tensorOf(s.Inputs[0], engine.Array{Dims: []int{n, n}, Floats: slices.Repeat([]float32{1}, n*n), Type: onnxio.Float})
	if err != nil {
		return 0, err
	}
	best := math.Inf(1)
	for range runs {
		start := time.Now()
		out, err := s.Run(ctx, map[string]Tensor{"x": x})
		if err != nil {
			return 0, refused(err)
		}
		best = min(best, time.Since(start).Seconds())
		if got := math.Float32frombits(binary.LittleEndian.Uint32(out[0].Data)); got != n {
			return 0, fmt.Errorf("a matrix product gave %g, want %d", got, n)
		}
	}
	return 2 * n * n * n / best / 1e9, nil
}
