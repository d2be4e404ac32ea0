package draw

import (
	"fmt"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"html"
	"io"
	"strings"
)

var stepColour = map[string]string{coupling.Writes: "#2e7d32", coupling.Reads: "#1565c0", coupling.Joins: "#c62828", coupling.Carries: "#757575", coupling.Ends: "#757575", "": "#6a1b9a"}

// Drawing is the path of one group, with a title.
type Drawing struct {
	Title string
	Steps []coupling.Step
}

// Paths writes paths as an SVG, one below the other: a line a node, and arcs to where its channels come from.
func Paths(w io.Writer, paths ...Drawing) error {
	const row, head = 22, 50
	height := 0
	for _, d := range paths {
		height += head + row*len(d.Steps)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="760" height="%d" font-family="system-ui,sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="#fff"/>`, height)
	top := 0
	for _, d := range paths {
		drawPath(&b, d, top, row)
		top += head + row*len(d.Steps)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func drawPath(b *strings.Builder, d Drawing, top, row int) {
	const left = 150
	fmt.Fprintf(b, `<text x="12" y="%d" font-size="14">%s</text>`, top+22, html.EscapeString(shorten(d.Title, 90)))
	for i, s := range d.Steps {
		y := top + 48 + row*i
		for _, f := range s.From {
			from := top + 48 + row*f
			fmt.Fprintf(b, `<path d="M%d %d C%d %d %d %d %d %d" fill="none" stroke="%s" stroke-opacity=".6"/>`, left, from, left-min(12+6*(i-f), 130), from, left-min(12+6*(i-f), 130), y, left, y, stepColour[s.Does])
		}
		fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="5" fill="%s"/><text x="%d" y="%d"><tspan font-weight="600">%s</tspan> %s <tspan fill="%s">%s</tspan></text>`,
			left, y, stepColour[s.Does], left+14, y+4, html.EscapeString(s.Op), html.EscapeString(shorten(s.Node, 60)), stepColour[s.Does], html.EscapeString(strings.TrimSpace(s.Does+" "+s.Why)))
	}
}

// DotPaths writes paths in Graphviz's language, each as a cluster.
func DotPaths(w io.Writer, paths ...Drawing) error {
	var b strings.Builder
	b.WriteString("digraph coupling {\n  rankdir=TB; node [shape=box, fontname=\"sans-serif\"];\n")
	for k, d := range paths {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n  label=%s;\n", k, dotText(d.Title))
		for i, s := range d.Steps {
			fmt.Fprintf(&b, "  g%dn%d [label=%s, color=%q];\n", k, i, dotText(strings.TrimSpace(s.Op+" "+s.Node+"\n"+s.Does+" "+s.Why)), stepColour[s.Does])
			for _, f := range s.From {
				fmt.Fprintf(&b, "  g%dn%d -> g%dn%d;\n", k, f, k, i)
			}
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// dotText quotes a text for Graphviz, which knows fewer escapes than Go.
func dotText(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", " ", "\x00", " ").Replace(strings.ToValidUTF8(s, "\uFFFD"))
	return `"` + s + `"`
}
