package graphcodec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxExport bounds the edges of a graph that is written out edge by edge.
const MaxExport = 4 << 20

// Edges returns the number of edges.
func (n *Network) Edges() int {
	total := 0
	for i := range n.Blocks {
		total += n.Blocks[i].Edges()
	}
	return total
}

func (n *Network) exportable() error {
	if e := n.Edges(); e > MaxExport {
		return fmt.Errorf("%d edges are too many to write out one by one (at most %d); the picture (SVG) shows layers instead", e, MaxExport)
	}
	return nil
}

type jsonGraph struct {
	Format string      `json:"format"`
	Scheme string      `json:"scheme"`
	Names  []string    `json:"node_features"`
	Layers []jsonLayer `json:"layers"`
	Blocks []jsonBlock `json:"blocks"`
}

type jsonLayer struct {
	Name     string      `json:"name"`
	Kind     string      `json:"kind"`
	First    int         `json:"first_node"`
	Size     int         `json:"size"`
	GroupID  string      `json:"group_id,omitempty"`
	Group    string      `json:"group,omitempty"`
	Frozen   string      `json:"frozen,omitempty"`
	Features [][]float32 `json:"features"`
}

type jsonBlock struct {
	Type     string    `json:"type"`
	Tensor   string    `json:"tensor,omitempty"`
	Out      int       `json:"first_output_node"`
	In       int       `json:"first_input_node"`
	Rows     int       `json:"rows"`
	Cols     int       `json:"cols"`
	Diagonal bool      `json:"diagonal,omitempty"`
	Kernel   int       `json:"kernel"`
	Scale    float32   `json:"scale"`
	Features []float32 `json:"features"`
}

// WriteJSON writes the graph with all features; a block's stand as [rows, cols, features], a diagonal's as [rows, features].
func (n *Network) WriteJSON(w io.Writer) error {
	if err := n.exportable(); err != nil {
		return err
	}
	g := jsonGraph{Format: "metaprune-graph", Scheme: n.Scheme.Name, Names: n.Scheme.Nodes, Layers: []jsonLayer{}, Blocks: []jsonBlock{}}
	for _, l := range n.Layers {
		j := jsonLayer{Name: l.Name, Kind: l.Kind, First: l.First, Size: l.Size, Features: [][]float32{}}
		if l.Group >= 0 {
			j.GroupID, j.Group, j.Frozen = n.Analysis.Groups[l.Group].ID, n.Analysis.Groups[l.Group].Name, n.Analysis.Groups[l.Group].Frozen
		}
		for v := l.First; v < l.First+l.Size; v++ {
			j.Features = append(j.Features, n.Nodes[v*n.F:(v+1)*n.F])
		}
		g.Layers = append(g.Layers, j)
	}
	for i := range n.Blocks {
		b := &n.Blocks[i]
		j := jsonBlock{n.Scheme.Edges[b.Type].Name, "", b.Out, b.In, b.Rows, b.Cols, b.Diagonal, b.Kernel, b.Scale, b.Features(0, b.Rows)}
		if b.Const != nil {
			j.Tensor = b.Const.Name
		}
		g.Blocks = append(g.Blocks, j)
	}
	return json.NewEncoder(w).Encode(g)
}

// each calls visit for every edge of a block.
func (b *EdgeBlock) each(visit func(row, col int, features []float32)) {
	for r := range b.Rows {
		f := b.Features(r, 1)
		width := b.Cols
		if b.Diagonal {
			visit(r, r, f)
			continue
		}
		k := len(f) / max(width, 1)
		for c := range width {
			visit(r, c, f[c*k:(c+1)*k])
		}
	}
}

// Explicit returns the graph as lists in the order of edge types: node features [N, F], output and input node of each edge, and the features of each type's edges.
func (n *Network) Explicit() (index [2][]int32, features [][]float32, err error) {
	if err := n.exportable(); err != nil {
		return index, nil, err
	}
	features = make([][]float32, len(n.Scheme.Edges))
	for kind := range features {
		for i := range n.Blocks {
			b := &n.Blocks[i]
			if b.Type != kind {
				continue
			}
			b.each(func(row, col int, f []float32) {
				index[0], index[1] = append(index[0], int32(b.Out+row)), append(index[1], int32(b.In+col))
				features[kind] = append(features[kind], f...)
			})
		}
	}
	return index, features, nil
}

// WriteGraphML writes the graph for Gephi, yEd, NetworkX and the like (http://graphml.graphdrawing.org): every node and edge with its features as attributes.
func (n *Network) WriteGraphML(w io.Writer) error {
	if err := n.exportable(); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<graphml xmlns="http://graphml.graphdrawing.org/xmlns">` + "\n")
	b.WriteString(`<key id="layer" for="node" attr.name="layer" attr.type="string"/><key id="type" for="edge" attr.name="type" attr.type="string"/>` + "\n")
	for i, name := range n.Scheme.Nodes {
		fmt.Fprintf(b, `<key id="n%d" for="node" attr.name="%s" attr.type="float"/>`+"\n", i, escape(name))
	}
	most := 0
	for _, t := range n.Scheme.Edges {
		most = max(most, t.Features)
	}
	for i := range most {
		fmt.Fprintf(b, `<key id="e%d" for="edge" attr.name="kernel %d" attr.type="float"/>`+"\n", i, i)
	}
	b.WriteString(`<graph edgedefault="directed">` + "\n")
	for _, l := range n.Layers {
		for v := l.First; v < l.First+l.Size; v++ {
			fmt.Fprintf(b, `<node id="%d"><data key="layer">%s</data>`, v, escape(l.Name))
			data(b, 'n', n.Nodes[v*n.F:(v+1)*n.F])
			b.WriteString("</node>\n")
		}
	}
	for i := range n.Blocks {
		e := &n.Blocks[i]
		e.each(func(row, col int, f []float32) {
			fmt.Fprintf(b, `<edge source="%d" target="%d"><data key="type">%s</data>`, e.In+col, e.Out+row, n.Scheme.Edges[e.Type].Name)
			data(b, 'e', f)
			b.WriteString("</edge>\n")
		})
	}
	b.WriteString("</graph>\n</graphml>\n")
	return b.Flush()
}

func data(b *bufio.Writer, kind byte, v []float32) {
	for i, x := range v {
		fmt.Fprintf(b, `<data key="%c%d">%s</data>`, kind, i, strconv.FormatFloat(float64(x), 'g', -1, 32))
	}
}

// escape writes text for XML; characters that XML has no place for become U+FFFD.
func escape(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return utf8.RuneError
		}
		return r
	}, s))
}
