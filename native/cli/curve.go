package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/native/experiment"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
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
	seeds              []int64 // seed alone where none are given
	shard, output      string
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
  metaprune curve a.onnx b.onnx --data fashion-mnist --csv curve.csv --plot curve.svg,curve.png
  metaprune curve a.onnx b.onnx --data fashion-mnist --criterion l2,random --seeds 0,1,2 --shard /8 -o s3://bucket/curve`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.unused(c); err != nil {
				return err
			}
			return a.curve(c.Context(), args, f)
		},
	}
	s := c.Flags()
	f.data.add(s, 100)
	runtimeFlag(s, &f.backend)
	s.StringSliceVar(&f.speedUps, "speed-up", []string{"1.1", "1.2", "1.5", "2"}, "targets")
	s.StringSliceVar(&f.criteria, "criterion", []string{"l2"}, "criteria: l2, l1, bn, fpgm, random, metanet, taylor by the labelled training images, and obs, wanda and hessian with --calibrate")
	s.Int64Var(&f.seed, "seed", 0, "seed of random scores and of the images of a repair")
	s.Int64SliceVar(&f.seeds, "seeds", nil, "several seeds instead of one, of random scores and of the images of a repair; mean and standard deviation are shown")
	s.StringVarP(&f.output, "output", "o", "", "folder, or bucket (s3://NAME/PREFIX, file:///FOLDER), that keeps the points of each model, criterion and seed; points that it already has are not measured again")
	s.StringVar(&f.shard, "shard", "", "K/N: measure only the parts whose number leaves K when divided by N; /N takes K from JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID")
	f.metanet.add(s)
	s.Lookup("memory").Usage = memoryUsage
	f.repair.add(s)
	s.StringVar(&f.weights, "weights", "original", "of the criterion metanet: keep the original weights, or take the metanetwork's (metanet)")
	s.StringVar(&f.allocation, "allocation", "", "offsets of the groups' scores for every criterion, from metaprune allocate (for one model)")
	s.StringVar(&f.ranking, "ranking", "global", "which channels are compared: of the whole model (global), of each group (group), or of all groups of the same structure (isomorphic)")
	s.StringVar(&f.csv, "csv", "", "write the points to this file too")
	s.StringSliceVar(&f.plots, "plot", nil, "draw the curves to these files (.svg, .png or .pdf)")
	takes(s, factor(1), "speed-up")
	oneOf(s, "criterion", criteria...)
	oneOf(s, "weights", "original", "metanet")
	oneOf(s, "ranking", rankings...)
	return c
}

// modelName is what a model is called in a curve.
func modelName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".onnx") }

// curveClaims refuses curves that would overwrite what they read.
func (a *app) curveClaims(paths []string, f *curveFlags) error {
	c := a.claims()
	seen := map[string]bool{}
	for _, path := range paths {
		c.model(path, "the model", nil)
		for _, j := range experiment.Jobs(modelName(path), "", f.criteria, f.seeds, experiment.Options{}) {
			if name := filepath.Join(j.Folder(), experiment.PointsFile); f.output != "" && !seen[name] {
				seen[name] = true
				c.writesIn(f.output, "measured points", name)
			}
		}
	}
	c.reads(f.metanet.file, "the metanetwork")
	c.reads(f.allocation, "the allocation")
	c.data(&f.data, &f.repair)
	c.writes(f.csv, "the table of points")
	for _, path := range f.plots {
		c.writes(path, "the drawing")
	}
	return c.check()
}

func (a *app) curve(ctx context.Context, paths []string, f *curveFlags) error {
	r, err := a.curveRun(ctx, paths, f)
	if err != nil {
		return err
	}
	defer r.close()
	var points []experiment.Point
	for _, path := range paths {
		s, closeModel, err := a.open(path, f.data.inputs...)
		if err != nil {
			return err
		}
		r.repair.folder = filepath.Dir(path)
		own, err := r.model(ctx, modelName(path), s)
		if closeErr := closeModel(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		points = append(points, own...)
	}
	means := experiment.Average(points)
	if err := a.writeCurve(points, means, f); err != nil {
		return err
	}
	a = a.beside(append(slices.Clone(f.plots), f.csv)...)
	if r.missing > 0 && !a.quiet {
		fmt.Fprintf(a.err, "%d of %d parts are not measured yet; run the other shards too\n", r.missing, r.number)
	}
	if a.json {
		return a.printJSON(points)
	}
	t := a.table("model", "criterion", "speed-up", "parameters", "file", "accuracy", "loss")
	t.SetColumnConfigs(rightAligned(3, 4, 5, 6, 7))
	for _, p := range means {
		t.AppendRow(table.Row{p.Model, p.Criterion, fmt.Sprintf("%.2fx", p.SpeedUp), count(p.Params), count(p.Bytes) + "B", percentOf(&p), fmt.Sprintf("%.3f", p.Loss)})
	}
	t.Render()
	if r.images == 0 {
		return nil // all of it was measured before
	}
	_, err = fmt.Fprintf(a.out, "%d images, %s, without finetuning, repair: %s\n", r.images, r.runtime.Name(), f.repair.mode)
	return err
}

func percentOf(p *experiment.Mean) string {
	if p.Seeds > 1 {
		return fmt.Sprintf("%.1f ± %.1f %%", 100*p.Accuracy, 100*p.Spread)
	}
	return fmt.Sprintf("%.1f %%", 100*p.Accuracy)
}

// curveRun checks the flags and opens what they name.
func (a *app) curveRun(ctx context.Context, paths []string, f *curveFlags) (*curveRun, error) {
	if err := f.repair.check(); err != nil {
		return nil, err
	}
	if f.seeds == nil {
		f.seeds = []int64{f.seed}
	}
	if err := a.curveClaims(paths, f); err != nil {
		return nil, err
	}
	r := &curveRun{curveFlags: f, app: a}
	var err error
	if r.k, r.n, err = parseShard(f.shard); err != nil {
		return nil, err
	}
	if f.shard != "" && f.output == "" {
		return nil, errors.New("--shard needs --output: a folder or a bucket for the points of all shards")
	}
	if r.runtime, err = engines.Open(f.backend); err != nil {
		return nil, err
	}
	if f.output != "" {
		if r.place, err = openPlace(ctx, f.output, time.Minute); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (r *curveRun) close() {
	if r.place != nil {
		r.place.close()
	}
	r.runtime.Close()
}

// criterion measures what a criterion leaves of a model at every target.
func (r *curveRun) criterion(ctx context.Context, w *mender, j *experiment.Job, m *measuring) ([]experiment.Point, error) {
	a, f := r.app, r.curveFlags
	weights := "original"
	if j.Criterion == "metanet" {
		weights = f.weights
	}
	prepared, err := a.prepareMetanet(ctx, m.s, j.Criterion, weights, &f.metanet)
	if err != nil {
		return nil, err
	}
	offsets, err := allocationOf(f.allocation, m.s)
	if err != nil {
		return nil, err
	}
	scores, err := a.dataScores(ctx, r.runtime, m.s, j.Criterion, w, &f.data, j.Seed)
	if err != nil {
		return nil, err
	}
	var points []experiment.Point
	for _, x := range f.speedUps {
		target, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		if err != nil {
			return nil, fmt.Errorf("--speed-up %q: want a number such as 2 or 2x", x)
		}
		q := prune.Request{}
		q.Allocation, q.Scores, q.Ranking = offsets, scores, f.ranking
		q.Target.SpeedUp, q.Criterion = target, planner.Criterion{Kind: j.Criterion, Seed: j.Seed}
		p, err := prepared.MakePlan(ctx, q)
		if err != nil {
			return nil, err
		}
		c, err := carry(ctx, prepared, p, w)
		if err != nil {
			return nil, err
		}
		e, err := r.runtime.Score(ctx, c.model, m.set, f.data.batch)
		if err != nil {
			return nil, err
		}
		point := experiment.Point{Model: j.Model, Criterion: j.Criterion, Seed: j.Seed, Wanted: target, SpeedUp: float64(p.Achieved.MACs[0]) / float64(p.Achieved.MACs[1]), Params: p.Achieved.Params[1],
			Bytes: c.model.WrittenSize(""), Accuracy: e.Accuracy, Loss: e.Loss, Repair: f.repair.mode}
		if c.report != nil {
			point.Cosine = c.report.After.Cosine
		}
		points = append(points, point)
	}
	return points, nil
}

// writeCurve writes the files that were asked for.
func (a *app) writeCurve(points []experiment.Point, means []experiment.Mean, f *curveFlags) error {
	if f.csv != "" {
		err := a.save(f.csv, func(w io.Writer) error {
			c := csv.NewWriter(w)
			_ = c.Write([]string{"model", "criterion", "seed", "wanted", "speed_up", "params", "file_bytes", "accuracy", "loss", "repair", "cosine"})
			for _, p := range points {
				_ = c.Write([]string{p.Model, p.Criterion, fmt.Sprint(p.Seed), fmt.Sprint(p.Wanted), fmt.Sprintf("%.4f", p.SpeedUp), fmt.Sprint(p.Params), fmt.Sprint(p.Bytes), fmt.Sprintf("%.6f", p.Accuracy), fmt.Sprintf("%.6f", p.Loss), p.Repair, fmt.Sprintf("%.6f", p.Cosine)})
			}
			c.Flush()
			return c.Error()
		})
		if err != nil {
			return err
		}
	}
	for _, path := range f.plots {
		if err := a.drawCurve(path, means); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// drawCurve draws a line per model and criterion; each starts at the unpruned model.
func (a *app) drawCurve(path string, points []experiment.Mean) error {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "speed-up (MACs)", "accuracy (%)"
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	start := map[string]plotter.XY{} // the unpruned model, which another shard may still have to measure
	lines := map[string]plotter.XYs{}
	var order []string
	for _, c := range points {
		xy := plotter.XY{X: c.SpeedUp, Y: 100 * c.Accuracy}
		if c.Criterion == "none" {
			start[c.Model] = xy
			continue
		}
		key := c.Model + ", " + c.Criterion
		if _, ok := lines[key]; !ok {
			order = append(order, key)
			if xy, ok := start[c.Model]; ok {
				lines[key] = plotter.XYs{xy}
			}
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
	return a.save(path, func(out io.Writer) error {
		_, err := w.WriteTo(out)
		return err
	})
}
