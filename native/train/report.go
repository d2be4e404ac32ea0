package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"path/filepath"

	"github.com/metaprune/metaprune/onnxio/outfile"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Training run</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ccc}
th:first-child,td:first-child{text-align:left}pre{background:#f4f4f4;padding:1rem;overflow:auto}svg{max-width:100%;height:auto}</style>
<h1>Training run</h1>
<table><tr><th></th><th>accuracy</th><th>loss</th><th>images</th></tr>
{{range .Scores}}<tr><td>{{.Name}}</td><td>{{printf "%.2f %%" .Percent}}</td><td>{{printf "%.4f" .Score.Loss}}</td><td>{{.Score.Images}}</td></tr>{{end}}</table>
<p>{{.Result.Epochs}} epochs in {{printf "%.0f" .Result.Seconds}} s, {{printf "%.0f" .Result.Speed}} images a second.</p>
{{.Plot}}
<h2>Epochs</h2><table><tr><th>epoch</th><th>learning rate</th><th>loss</th><th>accuracy</th><th>validation</th><th>images/s</th></tr>
{{range .History}}<tr><td>{{.Epoch}}</td><td>{{printf "%.5f" .Rate}}</td><td>{{printf "%.4f" .Loss}}</td><td>{{printf "%.4f" .Accuracy}}</td><td>{{with .Validation}}{{printf "%.4f" .Accuracy}}{{end}}</td><td>{{printf "%.0f" .Speed}}</td></tr>{{end}}</table>
<h2>Configuration</h2><pre>{{.Config}}</pre></html>
`))

type namedScore struct {
	Name  string
	Score *Score
}

// Percent is the accuracy times 100.
func (n namedScore) Percent() float64 { return 100 * n.Score.Accuracy }

// report writes curves.svg, result.json and report.html.
func (r *Run) report(out *Result) error {
	svg, err := curves(r.history)
	if err != nil {
		return err
	}
	if err := outfile.WriteBytes(filepath.Join(r.Folder, "curves.svg"), svg); err != nil {
		return err
	}
	result, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := outfile.WriteBytes(filepath.Join(r.Folder, "result.json"), append(result, '\n')); err != nil {
		return err
	}
	config, err := json.MarshalIndent(r.Config, "", "  ")
	if err != nil {
		return err
	}
	var scores []namedScore
	for _, s := range []namedScore{{"validation, last epoch", out.Last}, {fmt.Sprintf("validation, best epoch (%d)", out.BestAt), out.Best}, {"test, last epoch", out.Test}, {"test, best epoch", out.TestTop}} {
		if s.Score != nil {
			scores = append(scores, s)
		}
	}
	var b bytes.Buffer
	if err := page.Execute(&b, map[string]any{"Scores": scores, "Result": out, "Plot": template.HTML(inline(svg)), "History": r.history, "Config": string(config)}); err != nil { //nolint:gosec // the plot is our own
		return err
	}
	return outfile.WriteBytes(filepath.Join(r.Folder, "report.html"), b.Bytes())
}

// inline is an SVG file without its XML declaration.
func inline(svg []byte) []byte {
	if i := bytes.Index(svg, []byte("<svg")); i >= 0 {
		return svg[i:]
	}
	return svg
}

// curves draws accuracy over epochs.
func curves(history []Epoch) ([]byte, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "epoch", "accuracy (%)"
	p.Legend.Top = false
	p.Add(plotter.NewGrid())
	var train, valid plotter.XYs
	for _, e := range history {
		train = append(train, plotter.XY{X: float64(e.Epoch), Y: 100 * e.Accuracy})
		if e.Validation != nil {
			valid = append(valid, plotter.XY{X: float64(e.Epoch), Y: 100 * e.Validation.Accuracy})
		}
	}
	lines := []any{}
	if len(train) > 0 {
		lines = append(lines, "training", train)
	}
	if len(valid) > 0 {
		lines = append(lines, "validation", valid)
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return nil, err
	}
	w, err := p.WriterTo(16*vg.Centimeter, 9*vg.Centimeter, "svg")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}
