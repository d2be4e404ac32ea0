package analyse

import (
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Version is a described state of a network.
type Version struct {
	Name   string  `json:"name"`
	Groups []Group `json:"groups"`
}

// Draw writes an SVG with a panel for each measure, over the groups in graph order, and a line for each version.
func Draw(w io.Writer, versions []Version) error {
	panels := []struct {
		title string
		value func(g Group) float64
	}{
		{"spread of the channels' L2 (deviation / mean)", func(g Group) float64 { return g.Spread }},
		{"least L2 / mean", func(g Group) float64 { return g.Least }},
		{"correlation of filters", func(g Group) float64 { return layers(g, func(l Layer) float64 { return l.Correlation }) }},
		{"effective rank (share)", func(g Group) float64 { return layers(g, func(l Layer) float64 { return l.Rank }) }},
	}
	if len(versions) > 0 && len(versions[0].Groups) > 0 && versions[0].Groups[0].Taylor != nil {
		panels = append(panels, struct {
			title string
			value func(g Group) float64
		}{"Taylor: what the loss changes without a channel", func(g Group) float64 {
			if g.Taylor == nil {
				return math.NaN()
			}
			return *g.Taylor
		}})
	}
	const width, height = 18 * vg.Centimeter, 5 * vg.Centimeter
	canvas := vgsvg.New(width, height*vg.Length(len(panels)))
	all := draw.New(canvas)
	for i, panel := range panels {
		p := plot.New()
		p.Title.Text = panel.title
		p.Y.Min = 0
		p.Add(plotter.NewGrid())
		var args []any
		for _, v := range versions {
			var xy plotter.XYs
			for k, g := range v.Groups {
				if y := panel.value(g); !math.IsNaN(y) {
					xy = append(xy, plotter.XY{X: float64(k + 1), Y: y})
				}
			}
			args = append(args, v.Name, xy)
		}
		if err := plotutil.AddLinePoints(p, args...); err != nil {
			return err
		}
		p.Legend.Top = true
		top := height * vg.Length(len(panels)-i)
		p.Draw(draw.Crop(all, 0, 0, top-height, top-height*vg.Length(len(panels))))
	}
	_, err := canvas.WriteTo(w)
	return err
}

// layers is the mean of a measure over a group's layers.
func layers(g Group, value func(l Layer) float64) float64 {
	sum := 0.0
	for _, l := range g.Layers {
		sum += value(l)
	}
	return sum / float64(len(g.Layers))
}
