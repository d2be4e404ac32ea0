package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/gorgo"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/session"
	"github.com/spf13/cobra"
)

// dataFlags name a labelled data set.
type dataFlags struct {
	images, labels string
	mean, std      float64
	batch          int
}

func (d *dataFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&d.images, "images", "", "images in IDX format, gzipped or not")
	c.Flags().StringVar(&d.labels, "labels", "", "labels in IDX format, gzipped or not")
	c.Flags().Float64Var(&d.mean, "mean", 0.2860, "inputs are (pixel/255 - mean) / std")
	c.Flags().Float64Var(&d.std, "std", 0.3530, "inputs are (pixel/255 - mean) / std")
	c.Flags().IntVar(&d.batch, "batch", 50, "images run at a time")
	_ = c.MarkFlagRequired("images")
	_ = c.MarkFlagRequired("labels")
}

// openWithData reads a model and the data set that the flags name.
func (a *app) openWithData(path string, d *dataFlags) (*data.Images, *session.Session, func() error, error) {
	set, err := data.ReadIDX(d.images, d.labels)
	if err != nil {
		return nil, nil, nil, err
	}
	s, closeModel, err := a.open(path)
	return set, s, closeModel, err
}

func (a *app) evalCommand() *cobra.Command {
	d := &dataFlags{}
	c := &cobra.Command{
		Use:     "eval MODEL",
		Short:   "Measure a classifier's accuracy in the pure-Go engine",
		Example: "  metaprune eval model.onnx --images t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			set, s, closeModel, err := a.openWithData(args[0], d)
			if err != nil {
				return err
			}
			defer closeModel()
			r, err := accuracy(c.Context(), s.Model, set, d)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			_, err = fmt.Fprintf(a.out, "%.2f %% of %d images (%s, %.1f s)\n", 100*r.Accuracy, r.Images, r.Engine, r.Seconds)
			return err
		},
	}
	d.add(c)
	return c
}

// evaluation is what eval prints with --json.
type evaluation struct {
	Accuracy float64 `json:"accuracy"`
	Images   int     `json:"images"`
	Engine   string  `json:"engine"`
	Seconds  float64 `json:"seconds"`
}

func accuracy(ctx context.Context, m *onnxio.Model, set *data.Images, d *dataFlags) (*evaluation, error) {
	if d.batch < 1 || d.std == 0 {
		return nil, errors.New("--batch and --std want numbers above 0")
	}
	start := time.Now()
	workers := min(runtime.GOMAXPROCS(0), (set.N+d.batch-1)/d.batch)
	right, errs := make([]int, workers), make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			k := &classifier{model: m, set: set, flags: d}
			for from := w * d.batch; from < set.N && errs[w] == nil && ctx.Err() == nil; from += workers * d.batch {
				errs[w] = k.batch(from, min(from+d.batch, set.N))
			}
			right[w] = k.right
		})
	}
	wg.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	total := 0
	for _, n := range right {
		total += n
	}
	return &evaluation{float64(total) / float64(set.N), set.N, gorgo.Name, time.Since(start).Seconds()}, nil
}

// classifier counts right answers with an engine of its own.
type classifier struct {
	model  *onnxio.Model
	set    *data.Images
	flags  *dataFlags
	engine *gorgo.Engine
	right  int
}

func (k *classifier) batch(from, to int) error {
	if n := to - from; k.engine == nil || k.engine.Shape()[0] != n {
		e, err := gorgo.New(k.model, n)
		if err != nil {
			return err
		}
		if s := e.Shape(); len(s) != 4 || s[1]*s[2]*s[3] != k.set.H*k.set.W {
			return fmt.Errorf("the model takes inputs of %v, the images are %dx%d", s[1:], k.set.H, k.set.W)
		}
		k.engine = e
	}
	out, shape, err := k.engine.Run(k.set.Floats(from, to, k.flags.mean, k.flags.std))
	if err != nil {
		return err
	}
	classes := shape[len(shape)-1]
	for i := range to - from {
		if argMax(out[i*classes:(i+1)*classes]) == int(k.set.Labels[from+i]) {
			k.right++
		}
	}
	return nil
}

func argMax(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

func (a *app) curveCommand() *cobra.Command {
	d := &dataFlags{}
	var speedUps, criteria []string
	var seed int64
	var m metanetFlags
	var weights string
	c := &cobra.Command{
		Use:   "curve MODEL",
		Short: "Accuracy against speed-up, measured in the pure-Go engine",
		Example: `  metaprune curve model.onnx --speed-up 1.1,1.5,2 --criterion l2,random \
    --images t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			set, s, closeModel, err := a.openWithData(args[0], d)
			if err != nil {
				return err
			}
			defer closeModel()
			return a.curve(c.Context(), s, set, d, curveChoice{speedUps, criteria, weights, seed, &m})
		},
	}
	d.add(c)
	c.Flags().StringSliceVar(&speedUps, "speed-up", []string{"1.1", "1.2", "1.5", "2"}, "targets")
	c.Flags().StringSliceVar(&criteria, "criterion", []string{"l2"}, "criteria")
	c.Flags().Int64Var(&seed, "seed", 0, "seed of the criterion random")
	m.add(c.Flags())
	c.Flags().StringVar(&weights, "weights", "original", "of the criterion metanet: keep the original weights, or take the metanetwork's (metanet)")
	return c
}

// curveChoice says which points a curve has.
type curveChoice struct {
	speedUps, criteria []string
	weights            string
	seed               int64
	metanet            *metanetFlags
}

// curvePoint is one line of what curve prints with --json.
type curvePoint struct {
	Criterion string  `json:"criterion"`
	SpeedUp   float64 `json:"speed_up"`
	Params    int64   `json:"params"`
	Bytes     int64   `json:"file_bytes"`
	Accuracy  float64 `json:"accuracy"`
}

func (a *app) curve(ctx context.Context, s *session.Session, set *data.Images, d *dataFlags, choice curveChoice) error {
	st := s.Analysis.NewState()
	base, err := accuracy(ctx, s.Model, set, d)
	if err != nil {
		return err
	}
	points := []curvePoint{{"none", 1, st.Params(), s.Size(), base.Accuracy}}
	for _, kind := range choice.criteria {
		weights := "original"
		if kind == "metanet" {
			weights = choice.weights
		}
		prepared, err := a.prepareMetanet(ctx, s, kind, weights, choice.metanet)
		if err != nil {
			return err
		}
		for _, x := range choice.speedUps {
			target, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
			if err != nil {
				return fmt.Errorf("--speed-up %q is no number", x)
			}
			r := session.Request{}
			r.Target.SpeedUp, r.Criterion = target, prune.Criterion{Kind: kind, Seed: choice.seed}
			p, err := prepared.Plan(ctx, r)
			if err != nil {
				return err
			}
			m, err := prepared.Apply(p)
			if err != nil {
				return err
			}
			e, err := accuracy(ctx, m, set, d)
			if err != nil {
				return err
			}
			points = append(points, curvePoint{kind, float64(p.Achieved.MACs[0]) / float64(p.Achieved.MACs[1]), p.Achieved.Params[1], m.EncodedSize(), e.Accuracy})
		}
	}
	if a.json {
		return a.printJSON(points)
	}
	t := a.table("criterion", "speed-up", "parameters", "file", "accuracy")
	t.SetColumnConfigs(rightAligned(2, 3, 4, 5))
	for _, p := range points {
		t.AppendRow(table.Row{p.Criterion, fmt.Sprintf("%.2fx", p.SpeedUp), count(p.Params), count(p.Bytes) + "B", fmt.Sprintf("%.1f %%", 100*p.Accuracy)})
	}
	t.Render()
	_, err = fmt.Fprintf(a.out, "%d images, %s, without finetuning\n", set.N, gorgo.Name)
	return err
}

// compareOutputs runs the masked original and the pruned model on the same random input.
func compareOutputs(v *verdict, before, after *session.Session, p *prune.Plan, seed int64) error {
	if len(p.Zeroed) > 0 {
		v.Engine = "zeroed weights change the outputs by intention"
		return nil
	}
	masked, err := prune.Masked(before.Analysis, p)
	if err != nil {
		v.Engine = err.Error()
		return nil
	}
	x, err := gorgo.New(masked, 1)
	if err != nil {
		v.Engine = gorgo.Name + ": " + err.Error()
		return nil
	}
	y, err := gorgo.New(after.Model, 1)
	if err != nil {
		v.Engine = gorgo.Name + ": " + err.Error()
		return nil
	}
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	input := make([]float32, product(x.Shape()))
	for i := range input {
		input[i] = float32(r.NormFloat64())
	}
	want, _, errX := x.Run(append([]float32(nil), input...))
	got, _, errY := y.Run(input)
	if err := errors.Join(errX, errY); err != nil {
		v.Engine = gorgo.Name + ": " + err.Error()
		return nil
	}
	v.Engine, v.Compared = gorgo.Name, true
	v.Error = relativeError(want, got)
	return nil
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func relativeError(want, got []float32) float64 {
	if len(want) != len(got) {
		return math.Inf(1)
	}
	top, worst := 1e-6, 0.0
	for i := range want {
		top = max(top, math.Abs(float64(want[i])))
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst / top
}

// checkSlices says whether the pruned model's constants are the original's without the planned slices.
func checkSlices(before, after *session.Session, p *prune.Plan) string {
	want, err := prune.Expected(before.Analysis, p)
	if err != nil {
		return err.Error()
	}
	have := map[string]*graphcodec.Constant{}
	for _, c := range after.Analysis.Constants() {
		have[c.Name] = c
	}
	for _, t := range want {
		c := have[t.Name]
		if c == nil {
			return fmt.Sprintf("%q is missing", t.Name)
		}
		x, errX := t.Bytes()
		y, errY := c.Tensor.Bytes()
		if errX != nil || errY != nil || string(x) != string(y) {
			return fmt.Sprintf("%q has other elements than planned", t.Name)
		}
	}
	return "exact"
}
