package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/mattn/go-isatty"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/session"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

type pruneFlags struct {
	out, planOut, planIn string
	speedUp, params      float64
	ratio, maxRatio      float64
	sparsity             float64
	size                 string
	criterion, reduction string
	weights              string
	normalizer, ranking  string
	pattern              string
	steps, roundTo       int
	ignore               []string
	seed                 int64
	dryRun               bool
	metanetFlags
}

func (a *app) pruneCommand() *cobra.Command {
	f := &pruneFlags{}
	c := &cobra.Command{
		Use:   "prune MODEL",
		Short: "Write a smaller model",
		Long: `Choose channels by importance until a target is met, cut them out and write the smaller model.
Exactly one target is wanted: --speed-up, --params, --size or --ratio (or --pattern for zeros instead of smaller tensors).`,
		Example: `  metaprune prune model.onnx --speed-up 2 -o smaller.onnx
  metaprune prune model.onnx --size 10MB --round-to 8 --ignore 'head.*' -o smaller.onnx --plan plan.json
  metaprune prune model.onnx --from-plan plan.json -o smaller.onnx
  metaprune prune model.onnx --speed-up 3 --dry-run
  metaprune prune model.onnx --pattern 2:4 -o sparse.onnx
  metaprune prune model.onnx --speed-up 2 --criterion metanet --metanet w.safetensors --weights metanet -o smaller.onnx
  cat model.onnx | metaprune prune - --params 0.5 -o - > smaller.onnx`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.prune(c.Context(), args[0], f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "the smaller model, - for standard output")
	fl.Float64Var(&f.speedUp, "speed-up", 0, "target: multiply-accumulates before / after")
	fl.Float64Var(&f.params, "params", 0, "target: share of the parameters that may stay")
	fl.StringVar(&f.size, "size", "", "target: size of the constants, such as 10MB")
	fl.Float64Var(&f.ratio, "ratio", 0, "target: share of the prunable channels that leave")
	fl.StringVar(&f.criterion, "criterion", "l2", "importance: l2, l1, bn, random or metanet")
	f.metanetFlags.add(fl)
	fl.StringVar(&f.weights, "weights", "original", "of --criterion metanet: keep the original weights, or take the metanetwork's (metanet)")
	fl.StringVar(&f.reduction, "reduction", "mean", "over a group's members: mean, sum, max or first")
	fl.StringVar(&f.normalizer, "normalizer", "mean", "within a group: mean, max or none")
	fl.StringVar(&f.ranking, "ranking", "global", "who competes: global, group or isomorphic")
	fl.StringVar(&f.pattern, "pattern", "channels", "what leaves: channels, N:M (zeros) or unstructured (zeros)")
	fl.Float64Var(&f.sparsity, "sparsity", 0.5, "share of zeros for --pattern unstructured")
	fl.IntVar(&f.steps, "steps", 1, "importance is recomputed after each step")
	fl.IntVar(&f.roundTo, "round-to", 1, "groups keep a multiple of this many channels")
	fl.Float64Var(&f.maxRatio, "max-ratio", 0, "at most this share of a group leaves")
	fl.StringSliceVar(&f.ignore, "ignore", nil, "tensors whose groups stay (glob, may be repeated)")
	fl.Int64Var(&f.seed, "seed", 0, "seed of --criterion random")
	fl.StringVar(&f.planOut, "plan", "", "write what leaves as JSON")
	fl.StringVar(&f.planIn, "from-plan", "", "remove what this plan says")
	fl.BoolVar(&f.dryRun, "dry-run", false, "plan only, write no model")
	return c
}

func (f *pruneFlags) request() (session.Request, error) {
	r := session.Request{Pattern: f.pattern, Sparsity: f.sparsity}
	r.Target = prune.Target{SpeedUp: f.speedUp, Params: f.params, Ratio: f.ratio}
	if f.size != "" {
		n, err := humanize.ParseBytes(f.size)
		if err != nil || n > 1<<62 || n == 0 {
			return r, fmt.Errorf("--size %q: want a size such as 10MB", f.size)
		}
		r.Target.Bytes = int64(n)
	}
	r.Criterion = prune.Criterion{Kind: f.criterion, Reduction: f.reduction, Normalizer: f.normalizer, Seed: f.seed}
	r.Ranking, r.Steps, r.RoundTo, r.MaxRatio, r.Ignore = f.ranking, f.steps, f.roundTo, f.maxRatio, f.ignore
	if f.steps < 1 || f.roundTo < 1 {
		return r, errors.New("--steps and --round-to want at least 1")
	}
	return r, nil
}

func (a *app) prune(ctx context.Context, path string, f *pruneFlags) error {
	start := time.Now()
	if f.out == "" && !f.dryRun {
		return errors.New("where to? -o FILE names the smaller model, --dry-run writes none")
	}
	if f.out != "" && f.out != "-" && path != "-" && sameFile(path, f.out) {
		return fmt.Errorf("%s is the model itself; choose another name for the smaller one", f.out)
	}
	s, closeModel, err := a.open(path)
	if err != nil {
		return err
	}
	defer closeModel()
	if f.planOut != "" || f.planIn != "" {
		s.StartHash()
	}
	prepared, p, err := a.prepare(ctx, s, f)
	if err != nil {
		return err
	}
	var size int64
	if !f.dryRun {
		m, err := prepared.Apply(p)
		if err != nil {
			return err
		}
		size = m.EncodedSize()
		if err := a.write(f.out, m, s.Model.HasExternal()); err != nil {
			return err
		}
	}
	if f.planOut != "" {
		s.Sign(p)
		if err := writePlan(f.planOut, p); err != nil {
			return err
		}
	}
	return a.printPruned(s, p, f, size, time.Since(start))
}

// prepare reads the plan, or makes one, and the session in which it holds.
func (a *app) prepare(ctx context.Context, s *session.Session, f *pruneFlags) (*session.Prepared, *prune.Plan, error) {
	if f.planIn == "" {
		p, err := a.prepareMetanet(ctx, s, f.criterion, f.weights, &f.metanetFlags)
		if err != nil {
			return nil, nil, err
		}
		plan, err := a.makePlan(ctx, p, f)
		return p, plan, err
	}
	plan, err := readPlan(f.planIn)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.prepareReplay(ctx, s, plan, &f.metanetFlags)
	return p, plan, err
}

func (a *app) makePlan(ctx context.Context, s *session.Prepared, f *pruneFlags) (*prune.Plan, error) {
	r, err := f.request()
	if err != nil {
		return nil, err
	}
	if f.steps > 1 && !a.quiet && isTerminal(a.err) {
		bar := progressbar.NewOptions(f.steps, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription("steps"), progressbar.OptionClearOnFinish())
		r.Progress = func(done, _ float64) { _ = bar.Set(int(done)) }
	}
	return s.Plan(ctx, r)
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// terminal reports whether text output goes to a terminal that takes colour.
func (a *app) terminal() bool { return isTerminal(a.out) && os.Getenv("NO_COLOR") == "" }

// result is what prune prints with --json.
type result struct {
	Output    string            `json:"output,omitempty"`
	FileBytes [2]int64          `json:"file_bytes"`
	Achieved  prune.Achieved    `json:"achieved"`
	SpeedUp   float64           `json:"speed_up"`
	Groups    []prune.PlanGroup `json:"groups"`
	Zeroed    []prune.Zeroed    `json:"zeroed,omitempty"`
	Seconds   float64           `json:"seconds"`
}

func (a *app) printPruned(s *session.Session, p *prune.Plan, f *pruneFlags, size int64, took time.Duration) error {
	r := result{Output: f.out, FileBytes: [2]int64{s.Size(), size}, Achieved: p.Achieved, Groups: p.Groups, Zeroed: p.Zeroed,
		SpeedUp: float64(p.Achieved.MACs[0]) / float64(max(p.Achieved.MACs[1], 1)), Seconds: took.Seconds()}
	saved := *a
	if f.out == "-" {
		saved.out = a.err // standard output carries the model
	}
	switch {
	case a.json:
		return saved.printJSON(r)
	case a.quiet:
		return nil
	}
	saved.printGroupTable(r)
	saved.printTotals(s, r, f)
	fmt.Fprintf(saved.out, "%.2f s\n", r.Seconds)
	return nil
}

func (a *app) printGroupTable(r result) {
	if len(r.Zeroed) > 0 {
		t := a.table("zeroed", "pattern", "count")
		for _, z := range r.Zeroed {
			t.AppendRow(table.Row{z.Tensor, z.Pattern, z.Count})
		}
		t.Render()
		return
	}
	t := a.table("group", "before", "after", "kept")
	t.SetColumnConfigs(rightAligned(2, 3, 4))
	for _, g := range r.Groups {
		left := g.Size - len(g.Removed)
		t.AppendRow(table.Row{g.Name, g.Size, left, fmt.Sprintf("%d %%", 100*left/g.Size)})
	}
	t.Render()
}

func (a *app) printTotals(s *session.Session, r result, f *pruneFlags) {
	t := a.table("", "before", "after", "ratio")
	t.SetColumnConfigs(rightAligned(2, 3, 4))
	row := func(name string, v [2]int64, show func(int64) string) {
		t.AppendRow(table.Row{name, show(v[0]), show(v[1]), strconv.FormatFloat(float64(v[0])/float64(max(v[1], 1)), 'f', 3, 64) + "x"})
	}
	size := func(n int64) string { return humanize.Bytes(uint64(n)) }
	row("MACs", r.Achieved.MACs, count)
	row("parameters", r.Achieved.Params, count)
	if !f.dryRun {
		row("file", r.FileBytes, size)
	}
	t.Render()
}
