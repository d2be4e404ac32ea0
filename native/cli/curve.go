package cli

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/session"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// curveFlags say which points a curve has.
type curveFlags struct {
	data               dataFlags
	backend            string
	speedUps, criteria []string
	weights            string
	allocation         string
	ranking            string
	seed               int64
	metanet            metanetFlags
	repair             repairFlags
	csv                string
	plots              []string
}

func (a *app) curveCommand() *cobra.Command {
	f := &curveFlags{}
	c := &cobra.Command{
		Use:   "curve MODEL...",
		Short: "Accuracy against speed-up, for several criteria and models",
		Example: `  metaprune curve model.onnx --speed-up 1.1,1.5,2 --criterion l2,random --data fashion-mnist
  metaprune curve model.onnx --data fashion-mnist --calibrate fashion-mnist --plot repaired.svg
  metaprune curve a.onnx b.onnx --data fashion-mnist --csv curve.csv --plot curve.svg,curve.png`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.curve(c.Context(), args, f) },
	}
	s := c.Flags()
	f.data.add(s, 100)
	backendFlag(s, &f.backend)
	s.StringSliceVar(&f.speedUps, "speed-up", []string{"1.1", "1.2", "1.5", "2"}, "targets")
	s.StringSliceVar(&f.criteria, "criterion", []string{"l2"}, "criteria: l2, l1, bn, fpgm, random, metanet, taylor by the labelled training images, and obs, wanda and hessian with --calibrate")
	s.Int64Var(&f.seed, "seed", 0, "seed of the criterion random")
	f.metanet.add(s)
	f.repair.add(s)
	s.StringVar(&f.weights, "weights", "original", "of the criterion metanet: keep the original weights, or take the metanetwork's (metanet)")
	s.StringVar(&f.allocation, "allocation", "", "offsets of the groups' scores for every criterion, from metaprune allocate (for one model)")
	s.StringVar(&f.ranking, "ranking", "global", "who competes: global, group or isomorphic")
	s.StringVar(&f.csv, "csv", "", "write the points to this file too")
	s.StringSliceVar(&f.plots, "plot", nil, "draw the curves to these files (.svg, .png or .pdf)")
	return c
}

// curvePoint is one line of what curve prints with --json.
type curvePoint struct {
	Model     string  `json:"model"`
	Criterion string  `json:"criterion"`
	SpeedUp   float64 `json:"speed_up"`
	Params    int64   `json:"params"`
	Bytes     int64   `json:"file_bytes"`
	Accuracy  float64 `json:"accuracy"`
	Loss      float64 `json:"loss"`
	Repair    string  `json:"repair"`
	Cosine    float64 `json:"cosine,omitempty"` // to the original's outputs, where a repair measured it
}

func (a *app) curve(ctx context.Context, paths []string, f *curveFlags) error {
	if err := f.repair.check(); err != nil {
		return err
	}
	b, err := xla.Open(f.backend)
	if err != nil {
		return err
	}
	defer b.Finalize()
	var points []curvePoint
	images := 0
	for _, path := range paths {
		s, closeModel, err := a.open(path)
		if err != nil {
			return err
		}
		own, n, err := a.curveOf(ctx, b, strings.TrimSuffix(filepath.Base(path), ".onnx"), s, f)
		if closeErr := closeModel(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		points, images = append(points, own...), n
	}
	if err := writeCurve(points, f); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(points)
	}
	t := a.table("model", "criterion", "speed-up", "parameters", "file", "accuracy", "loss")
	t.SetColumnConfigs(rightAligned(3, 4, 5, 6, 7))
	for _, p := range points {
		t.AppendRow(table.Row{p.Model, p.Criterion, fmt.Sprintf("%.2fx", p.SpeedUp), count(p.Params), count(p.Bytes) + "B", fmt.Sprintf("%.1f %%", 100*p.Accuracy), fmt.Sprintf("%.3f", p.Loss)})
	}
	t.Render()
	_, err = fmt.Fprintf(a.out, "%d images, %s, without finetuning, repair: %s\n", images, b.Kind, f.repair.mode)
	return err
}

// curveOf measures one model and what is left of it at every target.
func (a *app) curveOf(ctx context.Context, b *xla.Backend, name string, s *session.Session, f *curveFlags) ([]curvePoint, int, error) {
	splits, err := f.data.open(s.Model)
	if err != nil {
		return nil, 0, err
	}
	set, err := f.data.labelled(splits)
	if err != nil {
		return nil, 0, err
	}
	base, err := score(ctx, b, s.Model, set, f.data.batch)
	if err != nil {
		return nil, 0, err
	}
	st := s.Analysis.NewState()
	w, err := a.mender(&f.repair, &f.data, b, s.Model, f.seed)
	if err != nil {
		return nil, 0, err
	}
	points := []curvePoint{{Model: name, Criterion: "none", SpeedUp: 1, Params: st.Params(), Bytes: s.Size(), Accuracy: base.Accuracy, Loss: base.Loss, Repair: "none"}}
	for _, kind := range f.criteria {
		own, err := a.criterionCurve(ctx, b, w, name, kind, s, set, f)
		if err != nil {
			return nil, 0, err
		}
		points = append(points, own...)
	}
	return points, set.N, nil
}

func (a *app) criterionCurve(ctx context.Context, b *xla.Backend, w *mender, name, kind string, s *session.Session, set *data.Set, f *curveFlags) ([]curvePoint, error) {
	weights := "original"
	if kind == "metanet" {
		weights = f.weights
	}
	prepared, err := a.prepareMetanet(ctx, s, kind, weights, &f.metanet)
	if err != nil {
		return nil, err
	}
	offsets, err := allocationOf(f.allocation, s)
	if err != nil {
		return nil, err
	}
	scores, err := a.dataScores(ctx, b, s, kind, w, &f.data, f.seed)
	if err != nil {
		return nil, err
	}
	var points []curvePoint
	for _, x := range f.speedUps {
		target, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		if err != nil {
			return nil, fmt.Errorf("--speed-up %q is no number", x)
		}
		r := session.Request{}
		r.Allocation, r.Scores, r.Ranking = offsets, scores, f.ranking
		r.Target.SpeedUp, r.Criterion = target, prune.Criterion{Kind: kind, Seed: f.seed}
		p, err := prepared.Plan(ctx, r)
		if err != nil {
			return nil, err
		}
		c, err := carry(ctx, prepared, p, w)
		if err != nil {
			return nil, err
		}
		e, err := score(ctx, b, c.model, set, f.data.batch)
		if err != nil {
			return nil, err
		}
		point := curvePoint{Model: name, Criterion: kind, SpeedUp: float64(p.Achieved.MACs[0]) / float64(p.Achieved.MACs[1]), Params: p.Achieved.Params[1],
			Bytes: c.model.EncodedSize(), Accuracy: e.Accuracy, Loss: e.Loss, Repair: f.repair.mode}
		if c.report != nil {
			point.Cosine = c.report.After.Cosine
		}
		points = append(points, point)
	}
	return points, nil
}

// writeCurve writes the files that were asked for.
func writeCurve(points []curvePoint, f *curveFlags) error {
	if f.csv != "" {
		err := onnxio.WriteFile(f.csv, func(w io.Writer) error {
			c := csv.NewWriter(w)
			_ = c.Write([]string{"model", "criterion", "speed_up", "params", "file_bytes", "accuracy", "loss", "repair", "cosine"})
			for _, p := range points {
				_ = c.Write([]string{p.Model, p.Criterion, fmt.Sprintf("%.4f", p.SpeedUp), fmt.Sprint(p.Params), fmt.Sprint(p.Bytes), fmt.Sprintf("%.6f", p.Accuracy), fmt.Sprintf("%.6f", p.Loss), p.Repair, fmt.Sprintf("%.6f", p.Cosine)})
			}
			c.Flush()
			return c.Error()
		})
		if err != nil {
			return err
		}
	}
	for _, path := range f.plots {
		if err := drawCurve(path, points); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// drawCurve draws a line per model and criterion; each starts at the unpruned model.
func drawCurve(path string, points []curvePoint) error {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "speed-up (MACs)", "accuracy (%)"
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	start := map[string]plotter.XY{}
	lines := map[string]plotter.XYs{}
	var order []string
	for _, c := range points {
		xy := plotter.XY{X: c.SpeedUp, Y: 100 * c.Accuracy}
		if c.Criterion == "none" {
			start[c.Model] = xy
			continue
		}
		key := c.Model + ", " + c.Criterion
		if lines[key] == nil {
			order = append(order, key)
			lines[key] = plotter.XYs{start[c.Model]}
		}
		lines[key] = append(lines[key], xy)
	}
	var args []any
	for _, k := range order {
		args = append(args, k, lines[k])
	}
	if err := plotutil.AddLinePoints(p, args...); err != nil {
		return err
	}
	format := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	w, err := p.WriterTo(18*vg.Centimeter, 11*vg.Centimeter, format)
	if err != nil {
		return err
	}
	return onnxio.WriteFile(path, func(out io.Writer) error {
		_, err := w.WriteTo(out)
		return err
	})
}
