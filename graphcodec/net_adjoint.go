package graphcodec

import (
	"fmt"
	"github.com/metaprune/metaprune/graphcodec/op"
)

// Pull is the transpose of decoding: it brings a gradient by the model's constants back to the graph. gradient gives a constant's, an element for each of its elements, nil for zeros. nodes are [N, F];
// edges are by block [rows, cols, features], or [rows, features] of a diagonal, nil where decoding changes nothing.
func (n *Network) Pull(gradient func(c *op.Constant) []float32) (nodes []float32, edges [][]float32, err error) {
	read := map[*op.Constant][]float32{}
	of := func(c *op.Constant) ([]float32, error) {
		if g, ok := read[c]; ok {
			return g, nil
		}
		g := gradient(c)
		if size, err := c.Tensor.NumElements(); err != nil || g != nil && int64(len(g)) != size {
			return nil, fmt.Errorf("%q: a gradient of %d numbers for %d elements", c.Name, len(g), size)
		}
		read[c] = g
		return g, nil
	}
	nodes, edges = make([]float32, len(n.Nodes)), make([][]float32, len(n.Blocks))
	for _, p := range n.params {
		if p.fixed {
			continue
		}
		g, err := of(p.c)
		if err != nil {
			return nil, nil, err
		}
		if g != nil {
			nodes[int(p.node)*n.F+int(p.feature)] += g[p.index] * p.scale
		}
	}
	for i := range n.Blocks {
		b := &n.Blocks[i]
		if b.Const == nil || b.Fixed {
			continue
		}
		g, err := of(b.Const)
		if err != nil {
			return nil, nil, err
		}
		edges[i] = b.pull(g)
	}
	return nodes, edges, nil
}

// pull is Scale * Lens * gradient of each kernel.
func (b *EdgeBlock) pull(g []float32) []float32 {
	f, width := b.features(), b.Cols
	if b.Diagonal {
		width = 1
	}
	out := make([]float32, b.Rows*width*f)
	if g == nil {
		return out
	}
	kernel := make([]float64, b.Kernel)
	for row := range b.Rows {
		for col := range width {
			for j := range kernel {
				kernel[j] = float64(g[b.at.offset(row, col, j)]) * float64(b.Scale)
			}
			to := out[(row*width+col)*f:][:f]
			for i := range to {
				sum := 0.0
				if b.Lens == nil {
					sum = kernel[i]
				} else {
					for j, v := range kernel {
						sum += float64(b.Lens[i*b.Kernel+j]) * v
					}
				}
				to[i] = float32(sum)
			}
		}
	}
	return out
}
