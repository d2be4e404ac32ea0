package metanet

import (
	"errors"
	"fmt"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"sort"
)

// Source gives the kernels of a block's edges, so that a block can refer to weights stored elsewhere.
type Source interface {
	// Tile writes the k numbers of each edge of rows x cols edges from (row, col) on to dst: number j of edge (r, c) to dst[(r*k+j)*ld+c].
	Tile(dst []float32, row, rows, col, cols, ld int)
}

// Block is a dense block of edges from the nodes In..In+Cols (input channels) to the nodes Out..Out+Rows (output channels). Its features are explicit, or computed from the kernels of a
// Source: Lens * kernel / Scale.
type Block struct {
	Out, In, Rows, Cols int
	Diagonal            bool      // only edges (i, i); Rows equals Cols
	Type                int       // which encoder and decoder
	Features            []float32 // [Rows, Cols, k], or [Rows, k] of a diagonal; nil with a Source
	First               int       // number of the first edge in an explicit graph's order
	Source              Source    // a diagonal's has one column
	Kernel              int       // numbers of each edge in Source
	Lens                []float32 // [features, Kernel] with orthonormal or zero rows; nil is the identity
	Scale               float32   // 0 is 1
}

// Edges returns the number of edges.
func (b *Block) Edges() int { return b.Rows * b.width() }

// width is the number of edges of a row.
func (b *Block) width() int {
	if b.Diagonal {
		return 1
	}
	return b.Cols
}

// kernel returns the number of values that each edge has in the block's own storage.
func (b *Block) kernel(widths []int) int {
	if b.Source != nil {
		return b.Kernel
	}
	return widths[b.Type]
}

// tile reads kernels as Source.Tile does; a diagonal's rows lie along the tile.
func (b *Block) tile(dst []float32, row, rows, col, cols, k, ld int) {
	if b.Diagonal {
		if b.Source == nil {
			spread(dst, b.Features[row*k:], k, rows, ld)
			return
		}
		one := make([]float32, rows*k)
		b.Source.Tile(one, row, rows, 0, 1, 1)
		spread(dst, one, k, rows, ld)
		return
	}
	if b.Source != nil {
		b.Source.Tile(dst, row, rows, col, cols, ld)
		return
	}
	for r := range rows {
		spread(dst[r*k*ld:], b.Features[((row+r)*b.Cols+col)*k:], k, cols, ld)
	}
}

// spread writes src [n, k] as [k, n] with rows of ld.
func spread(dst, src []float32, k, n, ld int) {
	for j := range k {
		row := dst[j*ld : j*ld+n]
		for i := range row {
			row[i] = src[i*k+j]
		}
	}
}

// Graph is a parameter graph: node features `[N, F]` and blocks of edges.
type Graph struct {
	N, F   int
	Nodes  []float32
	Blocks []Block
}

// check reports the first thing that does not fit, given the width of each edge type's features.
func (g *Graph) check(f int, widths []int) error {
	if g.F != f || len(g.Nodes) != g.N*g.F {
		return fmt.Errorf("node features [%d, %d] of %d numbers, the metanetwork needs %d features", g.N, g.F, len(g.Nodes), f)
	}
	for i := range g.Blocks {
		b := &g.Blocks[i]
		switch {
		case b.Type < 0 || b.Type >= len(widths):
			return fmt.Errorf("edge block %d: type %d, the metanetwork has %d", i, b.Type, len(widths))
		case b.Rows < 0 || b.Cols < 0 || b.Out < 0 || b.In < 0 || b.Out+b.Rows > g.N || b.In+b.Cols > g.N:
			return fmt.Errorf("edge block %d: nodes %d+%d and %d+%d of %d", i, b.Out, b.Rows, b.In, b.Cols, g.N)
		case b.Diagonal && b.Rows != b.Cols:
			return fmt.Errorf("edge block %d: a diagonal of %d and %d nodes", i, b.Rows, b.Cols)
		case b.Source != nil && (b.Kernel < 1 || b.Lens == nil && b.Kernel != widths[b.Type] || b.Lens != nil && len(b.Lens) != b.Kernel*widths[b.Type]):
			return fmt.Errorf("edge block %d: kernels of %d numbers and a lens of %d do not give %d features", i, b.Kernel, len(b.Lens), widths[b.Type])
		case b.Source == nil && len(b.Features) != b.Edges()*widths[b.Type]:
			return fmt.Errorf("edge block %d: %d numbers for %d edges of %d features", i, len(b.Features), b.Edges(), widths[b.Type])
		}
	}
	return nil
}

// GraphFromFile reads an explicit graph: `node_in` [N, F], `edge_index` [2, E] (row 0 output, row 1 input channels) and `edge_in` [E, k], or
// `edge_in_0`, `edge_in_1`, ... per edge type, whose edges are in this order in edge_index.
func GraphFromFile(f *safetensors.File) (*Graph, error) {
	nodes, index := f.Tensors["node_in"], f.Tensors["edge_index"]
	if nodes == nil || index == nil || len(nodes.Shape) != 2 || len(index.Shape) != 2 || index.Shape[0] != 2 {
		return nil, errors.New("an explicit graph needs node_in [N, F] and edge_index [2, E]")
	}
	g := &Graph{N: nodes.Shape[0], F: nodes.Shape[1]}
	var err error
	if g.Nodes, err = nodes.Floats(); err != nil {
		return nil, fmt.Errorf("node_in: %w", err)
	}
	pairs, err := index.Ints()
	if err != nil {
		return nil, fmt.Errorf("edge_index: %w", err)
	}
	for _, n := range pairs {
		if n < 0 || int(n) >= g.N {
			return nil, fmt.Errorf("edge_index: node %d of %d", n, g.N)
		}
	}
	out, in := pairs[:len(pairs)/2], pairs[len(pairs)/2:]
	at := 0
	for kind, t := range edgeTensors(f) {
		if len(t.Shape) != 2 || at+t.Shape[0] > len(out) {
			return nil, fmt.Errorf("edge features of shape %v do not fit %d edges", t.Shape, len(out))
		}
		v, err := t.Floats()
		if err != nil {
			return nil, fmt.Errorf("edge_in: %w", err)
		}
		to := at + t.Shape[0]
		g.Blocks = append(g.Blocks, dense(out[at:to], in[at:to], v, t.Shape[1], kind, at)...)
		at = to
	}
	if at != len(out) {
		return nil, fmt.Errorf("features of %d edges, edge_index has %d", at, len(out))
	}
	return g, nil
}

func edgeTensors(f *safetensors.File) []*safetensors.Tensor {
	if t := f.Tensors["edge_in"]; t != nil {
		return []*safetensors.Tensor{t}
	}
	var out []*safetensors.Tensor
	for f.Tensors[fmt.Sprintf("edge_in_%d", len(out))] != nil {
		out = append(out, f.Tensors[fmt.Sprintf("edge_in_%d", len(out))])
	}
	return out
}

// dense finds blocks in a list of edges: runs of rows that have the same range of columns.
func dense(out, in []int32, v []float32, k, kind, first int) []Block {
	var blocks []Block
	for at := 0; at < len(out); {
		cols := 1
		for at+cols < len(out) && out[at+cols] == out[at] && in[at+cols] == in[at]+int32(cols) {
			cols++
		}
		rows := 1
		for rowMatches(out, in, at, rows, cols) {
			rows++
		}
		n := rows * cols
		blocks = append(blocks, Block{Out: int(out[at]), In: int(in[at]), Rows: rows, Cols: cols, Type: kind, Features: v[at*k : (at+n)*k], First: first + at})
		at += n
	}
	return blocks
}

// rowMatches reports whether the edges behind rows full rows are one more of the same block.
func rowMatches(out, in []int32, at, rows, cols int) bool {
	from := at + rows*cols
	if from+cols > len(out) {
		return false
	}
	for j := range cols {
		if out[from+j] != out[at]+int32(rows) || in[from+j] != in[at]+int32(j) {
			return false
		}
	}
	// A longer row belongs to the next block.
	return from+cols == len(out) || out[from+cols] != out[from] || in[from+cols] != in[from]+int32(cols)
}

// File writes an explicit graph's features in the order of its edges: `node_out`, and `edge_out` or `edge_out_0`, `edge_out_1`, ... per edge type of the given widths.
func (g *Graph) File(widths []int) *safetensors.File {
	f := &safetensors.File{Tensors: map[string]*safetensors.Tensor{"node_out": safetensors.FloatTensor(g.Nodes, g.N, g.F)}}
	perType := make([][]Block, len(widths))
	for _, b := range g.Blocks {
		perType[b.Type] = append(perType[b.Type], b)
	}
	for kind, blocks := range perType {
		sort.SliceStable(blocks, func(i, j int) bool { return blocks[i].First < blocks[j].First })
		size := 0
		for _, b := range blocks {
			size += len(b.Features)
		}
		v := make([]float32, 0, size)
		for _, b := range blocks {
			v = append(v, b.Features...)
		}
		name := "edge_out"
		if len(widths) > 1 {
			name = fmt.Sprintf("edge_out_%d", kind)
		}
		f.Tensors[name] = safetensors.FloatTensor(v, len(v)/widths[kind], widths[kind])
	}
	return f
}
