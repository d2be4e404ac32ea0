package meta

import "github.com/metaprune/metaprune/metanet"

// index relates the rows of stacked blocks to nodes. Every row belongs to one node, a node to any number of rows.
type index struct {
	of       []int32   // [M] node of each row
	back     []int32   // [N, fan] rows of each node, M where there are no more
	place    []int32   // [M] where a row stands in back
	fan      int       // most rows of a node
	messages []float32 // [N] messages that a node gets over all its rows
}

func newIndex(n int, of []int32, messages []int) *index {
	x := &index{of: of, messages: make([]float32, n), fan: 1, place: make([]int32, len(of))}
	seen := make([]int, n)
	for row, node := range of {
		seen[node]++
		x.fan = max(x.fan, seen[node])
		x.messages[node] += float32(messages[row])
	}
	x.back = make([]int32, n*x.fan)
	for i := range x.back {
		x.back[i] = int32(len(of))
	}
	clear(seen)
	for row, node := range of {
		at := int(node)*x.fan + seen[node]
		x.back[at], x.place[row] = int32(row), int32(at)
		seen[node]++
	}
	return x
}

// group is the blocks of one shape and type; they are stacked.
type group struct {
	rows, cols, kind int
	diagonal         bool
	blocks           []int
	rowAt, colAt     int // its first row in the indices of output and input channels
}

// dims are those of the group's features or states of k numbers an edge.
func (g *group) dims(k int) []int {
	if g.diagonal {
		return []int{len(g.blocks), g.rows, k}
	}
	return []int{len(g.blocks), g.rows, g.cols, k}
}

// layout is how a graph's blocks are stacked.
type layout struct {
	nodes      int
	groups     []group
	rows, cols *index
}

func newLayout(g *metanet.Graph) *layout {
	l := &layout{nodes: g.N}
	at := map[[4]int]int{}
	for i := range g.Blocks {
		b := &g.Blocks[i]
		if b.Edges() == 0 {
			continue
		}
		key := [4]int{b.Rows, b.Cols, b.Type, 0}
		if b.Diagonal {
			key[3] = 1
		}
		k, ok := at[key]
		if !ok {
			k = len(l.groups)
			at[key] = k
			l.groups = append(l.groups, group{rows: b.Rows, cols: b.Cols, kind: b.Type, diagonal: b.Diagonal})
		}
		l.groups[k].blocks = append(l.groups[k].blocks, i)
	}
	var rows, cols []int32
	var toRows, toCols []int
	for k := range l.groups {
		p := &l.groups[k]
		p.rowAt, p.colAt = len(rows), len(cols)
		for _, i := range p.blocks {
			b := &g.Blocks[i]
			for r := range b.Rows {
				n := b.Cols
				if b.Diagonal {
					n = 1
				}
				rows, toRows = append(rows, int32(b.Out+r)), append(toRows, n)
			}
			for c := range b.Cols {
				n := b.Rows
				if b.Diagonal {
					n = 1
				}
				cols, toCols = append(cols, int32(b.In+c)), append(toCols, n)
			}
		}
	}
	l.rows, l.cols = newIndex(g.N, rows, toRows), newIndex(g.N, cols, toCols)
	return l
}
