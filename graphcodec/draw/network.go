package draw

import (
	"bufio"
	"fmt"
	"github.com/metaprune/metaprune/graphcodec"
	"html"
	"io"
	"math"
	"strings"
)

// Geometry of the picture, in pixels.
const (
	boxWidth, boxHeight = 210, 40
	gapX, gapY          = 26, 34
	margin              = 24
	legendHeight        = 66
)

// link is all edges of one type between two layers.
type link struct{ from, to, kind int }

// links gathers the blocks by layer, in order of their first block.
func links(n *graphcodec.Network) []link {
	at := make([]int32, n.N)
	for i, l := range n.Layers {
		for v := range l.Size {
			at[l.First+v] = int32(i)
		}
	}
	var out []link
	seen := map[link]bool{}
	for i := range n.Blocks {
		b := &n.Blocks[i]
		if b.Edges() == 0 {
			continue
		}
		l := link{int(at[b.In]), int(at[b.Out]), b.Type}
		if !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

// place puts layers in rows by their depth.
func place(n *graphcodec.Network) (x, y []int, width, height int) {
	row := map[int]int{}
	x, y = make([]int, len(n.Layers)), make([]int, len(n.Layers))
	for i, l := range n.Layers {
		x[i] = margin + row[l.Depth]*(boxWidth+gapX)
		y[i] = legendHeight + margin + l.Depth*(boxHeight+gapY)
		row[l.Depth]++
		width, height = max(width, x[i]+boxWidth+margin), max(height, y[i]+boxHeight+margin)
	}
	for i, l := range n.Layers { // centre the rows
		used := row[l.Depth]*(boxWidth+gapX) - gapX
		x[i] += (width - 2*margin - used) / 2
	}
	return x, y, max(width, 720), height
}

// WriteSVG draws layers and groups: a box is a layer, its colour the group that its channels are pruned in, grey where they stay; a line the edges of one type between two layers.
func WriteSVG(w io.Writer, n *graphcodec.Network, title string) error {
	b := bufio.NewWriter(w)
	x, y, width, height := place(n)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s" font-family="system-ui, sans-serif">
<title>%s</title>
<style>
svg { background: #fbfbfd; color: #1d2330; }
.n { fill: #1d2330; font-size: 12px; font-weight: 600; } .s { fill: #414a5c; font-size: 11px; }
.b { stroke: #1d2330; stroke-opacity: .25; rx: 7; } .l { fill: none; stroke-width: 1.6; stroke-opacity: .6; }
.kernel { stroke: #6b7488; } .residual { stroke: #0b8a5a; stroke-dasharray: 6 4; } .gate { stroke: #c26a00; stroke-dasharray: 2 3; } .attention { stroke: #7a3fd1; stroke-dasharray: 8 3 2 3; }
@media (prefers-color-scheme: dark) { svg { background: #14171f; color: #e9ecf3; } .n { fill: #f3f5fa; } .s { fill: #c2c9d8; } .b { stroke: #fff; filter: brightness(.5) saturate(1.3); } .kernel { stroke: #8f99ae; } .residual { stroke: #35c48b; } .gate { stroke: #f0a030; } .attention { stroke: #a97bf5; } }
</style>
`, width, height, width, height, html.EscapeString(title), html.EscapeString(title))
	legend(n, b, title)
	for _, l := range links(n) {
		drawLink(n, b, l, x, y)
	}
	for i := range n.Layers {
		drawLayer(n, b, i, x[i], y[i])
	}
	b.WriteString("</svg>\n")
	return b.Flush()
}

func legend(n *graphcodec.Network, b *bufio.Writer, title string) {
	edges := 0
	for i := range n.Blocks {
		edges += n.Blocks[i].Edges()
	}
	fmt.Fprintf(b, `<text class="n" x="%d" y="26" font-size="15">%s</text><text class="s" x="%d" y="44">%d layers, %d nodes, %d edges; layers of one colour are one group, grey layers cannot be pruned</text>`+"\n",
		margin, html.EscapeString(title), margin, len(n.Layers), n.N, edges)
	x := margin
	for _, t := range n.Scheme.Edges {
		if t.Name != "" {
			fmt.Fprintf(b, `<path class="l %s" d="M%d 60h34"/><text class="s" x="%d" y="64">%s</text>`+"\n", t.Name, x, x+40, t.Name)
			x += 130
		}
	}
}

func drawLink(n *graphcodec.Network, b *bufio.Writer, l link, x, y []int) {
	class := n.Scheme.Edges[l.kind].Name
	if class == "" {
		class = "kernel"
	}
	x1, y1, x2, y2 := x[l.from]+boxWidth/2, y[l.from]+boxHeight, x[l.to]+boxWidth/2, y[l.to]
	bend := 0
	if y2-y1 > boxHeight+gapY { // around the layers between
		bend = boxWidth/2 + 14 + 6*(l.from%4)
	}
	mid := (y2 - y1) / 2
	fmt.Fprintf(b, `<path class="l %s" d="M%d %dC%d %d %d %d %d %d"/>`+"\n", class, x1, y1, x1+2*bend, y1+max(mid, 14), x2+2*bend, y2-max(mid, 14), x2, y2)
}

func drawLayer(n *graphcodec.Network, b *bufio.Writer, i, x, y int) {
	l := n.Layers[i]
	fill, note := "#c9ced8", "in no group"
	if l.Group >= 0 {
		g := &n.Analysis.Groups[l.Group]
		if note = "group " + g.ID + ", " + g.Name; g.Frozen == "" {
			fill = fmt.Sprintf("hsl(%d 70%% 78%%)", int(math.Mod(float64(l.Group)*137.508, 360)))
		} else {
			note += ", cannot be pruned: " + g.Frozen
		}
	}
	fmt.Fprintf(b, `<g><title>%s</title><rect class="b" x="%d" y="%d" width="%d" height="%d" fill="%s"/><text class="n" x="%d" y="%d">%s</text><text class="s" x="%d" y="%d">%s, %d</text></g>`+"\n",
		html.EscapeString(l.Name+" ("+l.Kind+"): "+note), x, y, boxWidth, boxHeight, fill, x+10, y+17, html.EscapeString(shorten(l.Name, 28)), x+10, y+32, l.Kind, l.Size)
}

// shorten keeps the end of a name, which tells layers apart.
func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return "…" + string(r[len(r)-n+1:])
}
