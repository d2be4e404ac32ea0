package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/mattn/go-isatty"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/options"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/prune/search"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type pruneFlags struct {
	out, planOut, planIn string
	force, computed      bool
	unnamed              bool // out is named after the model
	speedUp, params      float64
	ratio, maxRatio      float64
	sparsity             float64
	size                 string
	fileSize             int64 // of the model, which a share of --size is of
	criterion, reduction string
	weights              string
	normalizer, ranking  string
	heads, headDim       bool
	pattern              string
	steps, roundTo       int
	ignore               []string
	seed                 int64
	dryRun               bool
	accuracy             float64
	latency              string
	backend              string
	data                 dataFlags
	allocation           string
	offsets              map[string]float64 // read from allocation
	scores               planner.Scores     // of criteria that look at data
	carried              []byte             // tensors of the repair in planIn
	repair               repairFlags
	metanetFlags
}

func (a *app) pruneCommand() *cobra.Command {
	f := &pruneFlags{}
	c := &cobra.Command{
		Use:   "prune MODEL",
		Short: "Write a smaller model",
		Long: `Choose the least important channels until a target is met, remove them and write the smaller model.
Give exactly one target: --speed-up, --params, --size, --ratio, --latency (measured in ONNX Runtime) or --accuracy with --data (or --pattern for zeros instead of smaller tensors).
Pruning lowers the accuracy. --repair regains a large part of it in seconds: it fits the remaining weights to the original's outputs, on random or on unlabelled samples.`,
		Example: `  metaprune prune model.onnx --speed-up 2
  metaprune prune model.onnx --speed-up 2 --criterion obs --calibrate photos/ -o smaller.onnx
  metaprune prune model.onnx --speed-up 1.2 --repair noise -o smaller.onnx
  metaprune prune model.onnx --accuracy 0.92 --data fashion-mnist --calibrate fashion-mnist -o smaller.onnx
  metaprune prune model.onnx --latency 2 -o smaller.onnx --plan plan.json
  metaprune prune model.onnx --size 10MB --round-to 8 --ignore 'head.*' -o smaller.onnx --plan plan.json
  metaprune prune model.onnx --from-plan plan.json -o smaller.onnx
  metaprune prune detector.onnx --speed-up 1.5 --input 1x3x640x640 -o smaller.onnx
  metaprune prune model.onnx --speed-up 3 --dry-run
  metaprune prune vit.onnx --speed-up 1.5 --heads -o smaller.onnx
  metaprune prune model.onnx --pattern 2:4 -o sparse.onnx
  metaprune prune model.onnx --speed-up 2 --criterion metanet --metanet w.safetensors --weights metanet -o smaller.onnx
  cat model.onnx | metaprune prune - --params 0.5 -o - > smaller.onnx`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.unused(c); err != nil {
				return err
			}
			return a.prune(c.Context(), args[0], f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "the pruned model, - for standard output (default: NAME.pruned.onnx beside MODEL)")
	fl.BoolVar(&f.force, "force", false, forceHelp)
	fl.Float64Var(&f.speedUp, "speed-up", 0, "target: MACs before / MACs after, such as 2 or 2x")
	fl.BoolVar(&f.computed, "count-computed", false, "--speed-up counts only the MACs with shapes evaluated (default: also the MACs at static shapes, whose shapes ONNX's shape inference knows, unless they are less than half of the work)")
	fl.Float64Var(&f.params, "params", 0, "target: share of the parameters to keep, such as 0.5 or 50%")
	fl.StringVar(&f.size, "size", "", "target: size of the files that are written (the model and its external data), such as 10MB, or 50% of the files' present size")
	fl.Float64Var(&f.ratio, "ratio", 0, "target: share of the prunable channels that are removed, such as 0.3 or 30%")
	fl.StringVar(&f.latency, "latency", "", "target: latency in ONNX Runtime, how many times as fast as the original (such as 2), or a time such as 5ms; keeps multiples of eight channels if that is faster")
	fl.Float64Var(&f.accuracy, "accuracy", 0, "target: the smallest model with at least this accuracy, 0 to 1, such as 0.92 or 92%, on images of --data that are held back")
	f.repair.add(fl)
	f.data.add(fl, 100)
	runtimeFlag(fl, &f.backend)
	fl.StringVar(&f.criterion, "criterion", "l2", "importance of channels: l2, l1, bn, fpgm, random or metanet; with --calibrate also obs (error of the layer without the channel), wanda or hessian; with labelled --data also taylor (change of the loss)")
	f.metanetFlags.add(fl)
	fl.Lookup("memory").Usage = memoryUsage
	fl.StringVar(&f.weights, "weights", "original", "of --criterion metanet: keep the original weights, or take the metanetwork's (metanet)")
	fl.StringVar(&f.reduction, "reduction", "mean", "over a group's members: mean, sum, max or first")
	fl.StringVar(&f.normalizer, "normalizer", "", "within a group: mean, max, none or lamp; original divides a metanetwork's scores by the mean of the model's own, order takes the model's own in the metanetwork's order (default: what the metanetwork was trained for, else mean)")
	fl.StringVar(&f.ranking, "ranking", "global", "which channels are compared: of the whole model (global), of each group (group), or of all groups of the same structure (isomorphic)")
	fl.StringVar(&f.allocation, "allocation", "", "offsets for the groups' scores, made by metaprune allocate")
	fl.StringVar(&f.pattern, "pattern", "channels", "what is removed: channels, or weights as zeros: N:M or unstructured")
	fl.Float64Var(&f.sparsity, "sparsity", 0.5, "share of zeros for --pattern unstructured")
	fl.IntVar(&f.steps, "steps", 1, "number of pruning steps; the importance is computed again after each step")
	fl.IntVar(&f.roundTo, "round-to", 1, "keep a multiple of this number of channels in each group")
	fl.Float64Var(&f.maxRatio, "max-ratio", 0, "remove at most this share of each group, 0 to 1")
	fl.StringSliceVar(&f.ignore, "ignore", nil, "keep all channels of these: node paths, tensors, IDs or names of groups (inspect --groups); patterns such as 'head.*' work, may be repeated; one that matches nothing is an error")
	fl.BoolVar(&f.heads, "heads", false, "of attention, remove only whole heads (default: heads and channels per head)")
	fl.BoolVar(&f.headDim, "head-dim", false, "of attention, remove only channels per head; with --heads both")
	fl.Int64Var(&f.seed, "seed", 0, "seed of --criterion random")
	fl.StringVar(&f.planOut, "plan", "", "write the plan (every removed slice, as JSON) to this file")
	fl.StringVar(&f.planIn, "from-plan", "", "remove the slices of this plan")
	fl.BoolVar(&f.dryRun, "dry-run", false, "plan only, write no model")
	f.bound(fl)
	return c
}

// bound says what the flags take.
func (f *pruneFlags) bound(fl *pflag.FlagSet) {
	takes(fl, factor(1), "speed-up")
	takes(fl, share(0, 1).over(), "params", "max-ratio")
	takes(fl, share(0, 1).over().under(), "ratio", "accuracy", "sparsity")
	takes(fl, bytesOrShare(), "size")
	takes(fl, whole(1, 0), "steps", "round-to")
	for _, o := range options.All {
		if len(o.Enum) > 0 && fl.Lookup(o.Name) != nil {
			oneOf(fl, o.Name, slices.Concat(o.Enum, o.Local)...)
		}
	}
	patterns(fl, "pattern", "channels", "unstructured")
}

// criteria and rankings are the names that commands take.
var (
	criteria = slices.Concat(options.Named("criterion").Enum, options.Named("criterion").Local)
	rankings = options.Named("ranking").Enum
)

// bytes is what --size asks for, of a file of so many bytes.
func (f *pruneFlags) bytes() (int64, error) {
	if strings.HasSuffix(f.size, "%") {
		v, err := planner.ParseShare(f.size)
		return int64(v * float64(f.fileSize)), err
	}
	v, err := parseSize(f.size)
	return int64(v), err
}

func (f *pruneFlags) request() (prune.Request, error) {
	r := prune.Request{Pattern: f.pattern, Sparsity: f.sparsity}
	r.Target = planner.Target{SpeedUp: f.speedUp, Params: f.params, Ratio: f.ratio, Computed: f.computed}
	if f.size != "" {
		n, err := f.bytes()
		if err != nil {
			return r, &planner.OptionError{Where: "--size", Want: "a size such as 10MB", Got: f.size}
		}
		r.Target.Bytes = n
	}
	r.Criterion = planner.Criterion{Kind: f.criterion, Reduction: f.reduction, Normalizer: f.normalizer, Seed: f.seed}
	r.Allocation, r.Scores = f.offsets, f.scores
	r.Ranking, r.Steps, r.RoundTo, r.MaxRatio, r.Ignore = f.ranking, f.steps, f.roundTo, f.maxRatio, f.ignore
	if f.heads != f.headDim {
		r.Attention = coupling.HeadDim
		if f.heads {
			r.Attention = coupling.Heads
		}
	}
	return r, nil
}

func (a *app) prune(ctx context.Context, path string, f *pruneFlags) error {
	start := time.Now()
	var err error
	if f.out == "" && !f.dryRun {
		f.unnamed = true
		if f.out, err = beside(path, ".pruned.onnx", f.force); err != nil {
			return err
		}
	}
	s, closeModel, err := a.open(path, f.data.inputs...)
	if err != nil {
		return err
	}
	defer closeModel()
	f.repair.folder = filepath.Dir(path)
	if err := a.pruneClaims(path, s.ONNX, f).check(); err != nil {
		return err
	}
	if f.planOut != "" || f.planIn != "" {
		s.StartHash()
	}
	f.fileSize = s.Size() + s.ONNX.ExternalSize()
	c, err := a.cut(ctx, s, f)
	if err != nil {
		return err
	}
	var size int64
	if !f.dryRun {
		size = c.model.WrittenSize(dataFile(s, f.out))
		if err := f.fitsSize(size); err != nil {
			return err
		}
	}
	if err := a.writeCut(s, c, f); err != nil {
		return err
	}
	return a.printPruned(s, c, f, size, time.Since(start))
}

// dataFile is the name of the file that keeps the external data of what is written to out, empty where there is none.
func dataFile(s *prune.Model, out string) string {
	if out == "-" || !s.ONNX.HasExternal() {
		return ""
	}
	return filepath.Base(cmp.Or(out, "model.onnx")) + ".data"
}

// fitsSize refuses what became larger than --size after the plan was made.
func (f *pruneFlags) fitsSize(size int64) error {
	if want, err := f.bytes(); f.size != "" && f.planIn == "" && err == nil && size > want {
		return failedCheck{fmt.Errorf("--size %s: the repair made the files %d bytes larger; give --size %d", f.size, size-want, 2*want-size)}
	}
	return nil
}

// cut is a pruned model, and how it came about.
type cut struct {
	plan     *planner.Plan
	model    *onnxio.Model
	repaired []byte // file of the tensors that a repair changed
	report   *repairReport
	search   *search.AccuracyReport
	timings  *search.LatencyReport
}

// writeCut writes the model, the tensors of its repair and the plan: all of them or none.
func (a *app) writeCut(s *prune.Model, c *cut, f *pruneFlags) error {
	b := &outfile.Batch{}
	defer b.Discard()
	if !f.dryRun {
		if err := a.addModel(b, f.out, c.model, s.ONNX.HasExternal(), f.force); err != nil {
			return err
		}
	}
	if f.planOut != "" {
		s.Sign(c.plan)
		if c.repaired != nil {
			c.plan.Repaired.File = filepath.Base(repairedPath(f.planOut))
			if err := b.AddBytes(repairedPath(f.planOut), c.repaired); err != nil {
				return err
			}
		}
		plan, err := planner.MarshalPlan(c.plan)
		if err != nil {
			return err
		}
		if err := a.addBytes(b, f.planOut, plan); err != nil {
			return err
		}
	}
	return b.Commit()
}

// pruneClaims are the files of prune.
func (a *app) pruneClaims(path string, m *onnxio.Model, f *pruneFlags) *claims {
	c := a.claims()
	external := c.model(path, "the model", m)
	carried := c.plan(f.planIn)
	c.reads(f.file, "the metanetwork")
	c.reads(f.allocation, "the allocation")
	c.data(&f.data, &f.repair)
	if !f.dryRun {
		c.writesModel(f.out, "the pruned model", external, f.force)
	}
	c.writes(f.planOut, "the new plan")
	if repaired := f.repair.mode != "" && f.repair.mode != "none" || f.repair.calibrate != ""; f.planOut != "" && (repaired || carried) {
		if toStdout(f.planOut) {
			c.err = errors.New("--plan -: a repair writes a second file beside the plan; give --plan the name of a file")
		}
		c.writes(repairedPath(f.planOut), "the repaired tensors of the new plan")
	}
	return c
}

// cut makes or reads the plan, applies it and repairs the smaller model.
func (a *app) cut(ctx context.Context, s *prune.Model, f *pruneFlags) (*cut, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.repair.mode == "none" && f.accuracy == 0 && f.latency == "" && (f.planIn != "" || !looksAtData(f.criterion)) {
		prepared, p, err := a.prepare(ctx, s, f)
		if err != nil {
			return nil, err
		}
		if f.dryRun {
			return &cut{plan: p, repaired: f.carried}, nil
		}
		m, err := prepared.Apply(p)
		return &cut{plan: p, model: m, repaired: f.carried}, err
	}
	b, err := engines.Open(f.backend)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	w, err := a.mender(ctx, &f.repair, &f.data, b, s.ONNX, f.seed)
	if err != nil {
		return nil, err
	}
	if f.scores, err = a.dataScores(ctx, b, s, f.criterion, w, &f.data, f.seed); err != nil {
		return nil, err
	}
	prepared, p, err := a.prepare(ctx, s, f)
	if err != nil {
		return nil, err
	}
	if f.accuracy > 0 {
		return a.adaptive(ctx, b, s, prepared, w, f)
	}
	if f.latency != "" {
		return a.byLatency(ctx, s, prepared, w, f)
	}
	if f.dryRun {
		return &cut{plan: p}, nil
	}
	return carry(ctx, prepared, p, w)
}

// carry applies a plan and repairs the result.
func carry(ctx context.Context, s *prune.Prepared, p *planner.Plan, w *mender) (*cut, error) {
	m, err := s.Apply(p)
	if err != nil || w == nil {
		return &cut{plan: p, model: m}, err
	}
	r, report, err := w.mend(ctx, p, m)
	if err != nil {
		return nil, err
	}
	c := &cut{plan: p, model: m, report: report}
	if r.Method == repair.None {
		return c, nil
	}
	if c.repaired, err = prune.Repaired(p, w.mode, "", r.Tensors); err != nil {
		return nil, err
	}
	c.model, err = s.Apply(p)
	return c, err
}

// check looks for flags that do not go together.
func (f *pruneFlags) check() error {
	if err := f.repair.check(); err != nil {
		return err
	}
	switch repaired := f.repair.mode != "none"; {
	case repaired && f.planIn != "":
		return errors.New("--from-plan repeats the repair of the plan; omit --repair and --calibrate")
	case repaired && f.pattern != "channels":
		return fmt.Errorf("--repair changes whole layers and would overwrite the zeros of --pattern %s; finetune with --keep-zeros instead", f.pattern)
	case repaired && f.dryRun:
		return errors.New("--dry-run writes no model, so there is nothing to repair; omit --repair and --calibrate")
	case calib.LooksAtSamples(f.criterion) && f.planIn == "" && !repaired:
		return fmt.Errorf("criterion %s needs samples: give unlabelled ones with --calibrate, or random ones with --repair noise", f.criterion)
	case f.criterion == taylorCriterion && f.planIn == "" && f.data.spec == "" && f.data.images == "":
		return errors.New("criterion taylor needs labelled images: give them with --data")
	case looksAtData(f.criterion) && f.steps > 1:
		return fmt.Errorf("criterion %s scores the whole model once; omit --steps", f.criterion)
	case f.accuracy != 0 && (f.planIn != "" || f.pattern != "channels" || f.speedUp != 0 || f.params != 0 || f.ratio != 0 || f.size != ""):
		return errors.New("--accuracy is a target: omit --from-plan, --pattern and the other targets")
	case f.latency != "" && (f.accuracy != 0 || f.planIn != "" || f.pattern != "channels" || f.speedUp != 0 || f.params != 0 || f.ratio != 0 || f.size != ""):
		return errors.New("--latency is a target: omit --from-plan, --pattern and the other targets")
	case f.accuracy != 0 && f.data.spec == "" && f.data.images == "":
		return errors.New("--accuracy needs labelled images: give them with --data")
	}
	return nil
}

// prepare reads the plan, or makes one, and the model for which it holds.
func (a *app) prepare(ctx context.Context, s *prune.Model, f *pruneFlags) (*prune.Prepared, *planner.Plan, error) {
	if f.planIn == "" {
		var err error
		if f.offsets, err = allocationOf(f.allocation, s); err != nil {
			return nil, nil, err
		}
		p, err := a.prepareMetanet(ctx, s, f.criterion, f.weights, &f.metanetFlags)
		if err != nil {
			return nil, nil, err
		}
		if f.accuracy > 0 || f.latency != "" {
			return p, nil, nil
		}
		plan, err := a.makePlan(ctx, p, f)
		return p, plan, err
	}
	plan, err := readPlan(f.planIn)
	if err != nil {
		return nil, nil, err
	}
	if f.carried, err = attach(plan, f.planIn); err != nil {
		return nil, nil, err
	}
	p, err := a.prepareReplay(ctx, s, plan, &f.metanetFlags)
	return p, plan, err
}

func (a *app) makePlan(ctx context.Context, s *prune.Prepared, f *pruneFlags) (*planner.Plan, error) {
	r, err := f.request()
	if err != nil {
		return nil, err
	}
	g := a.stage("plan")
	defer g.end()
	r.Progress = func(done, total float64) { g.set(done, total) }
	r.DataFile = dataFile(s.Model, f.out)
	return s.MakePlan(ctx, r)
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// terminal reports whether text output goes to a terminal that takes colour.
func (a *app) terminal() bool { return isTerminal(a.out) && os.Getenv("NO_COLOR") == "" }

// result is what prune prints with --json.
type result struct {
	Output    string                 `json:"output,omitempty"`
	FileBytes [2]int64               `json:"file_bytes"` // external data with them
	Achieved  planner.Achieved       `json:"achieved"`
	CountedAt *coupling.Counted      `json:"counted_at,omitempty"`
	SpeedUp   float64                `json:"speed_up"`
	Groups    []planner.PlanGroup    `json:"groups"`
	Zeroed    []planner.Zeroed       `json:"zeroed,omitempty"`
	Repair    *repairReport          `json:"repair,omitempty"`
	Search    *search.AccuracyReport `json:"search,omitempty"`
	Latency   *search.LatencyReport  `json:"latency,omitempty"`
	Warnings  []planner.Warning      `json:"warnings,omitempty"`
	Seconds   float64                `json:"seconds"`
}

func (a *app) printPruned(s *prune.Model, c *cut, f *pruneFlags, size int64, took time.Duration) error {
	p := c.plan
	r := result{Output: f.out, FileBytes: [2]int64{s.Size() + s.ONNX.ExternalSize(), size}, Achieved: p.Achieved, CountedAt: p.CountedAt, Groups: p.Groups, Zeroed: p.Zeroed, Repair: c.report, Search: c.search, Latency: c.timings, Warnings: c.warnings(),
		SpeedUp: float64(p.Achieved.MACs[0]) / float64(max(p.Achieved.MACs[1], 1)), Seconds: took.Seconds()}
	saved := a.beside(f.out, f.planOut)
	defer a.warn(r.Warnings)
	switch {
	case a.json:
		return saved.printJSON(r)
	case a.quiet:
		return nil
	}
	saved.printGroupTable(r)
	saved.printTotals(s, r, f)
	if r.Repair != nil {
		fmt.Fprintln(saved.out, r.Repair.sentence())
	}
	if r.Search != nil {
		fmt.Fprintln(saved.out, r.Search)
	}
	if r.Latency != nil {
		fmt.Fprintln(saved.out, r.Latency)
	}
	if f.unnamed {
		fmt.Fprintf(saved.out, "wrote %s\n", f.out)
	}
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
	t := a.table("id", "group", "before", "after", "kept")
	t.SetColumnConfigs(rightAligned(3, 4, 5))
	for _, g := range r.Groups {
		left := g.Size - len(g.Removed)
		t.AppendRow(table.Row{g.ID, g.Name, g.Size, left, fmt.Sprintf("%d %%", 100*left/g.Size)})
	}
	t.Render()
}

func (a *app) printTotals(s *prune.Model, r result, f *pruneFlags) {
	t := a.table("", "before", "after", "ratio")
	t.SetColumnConfigs(rightAligned(2, 3, 4))
	row := func(name string, v [2]int64, show func(int64) string) {
		t.AppendRow(table.Row{name, show(v[0]), show(v[1]), strconv.FormatFloat(float64(v[0])/float64(max(v[1], 1)), 'f', 3, 64) + "x"})
	}
	size := func(n int64) string { return humanize.Bytes(uint64(n)) }
	name, seen := "MACs", r.Achieved.Seen
	if seen[1] > 0 && math.Abs(r.SpeedUp*float64(seen[1])/float64(seen[0])-1) > .01 {
		name = "MACs with shapes evaluated"
		row("MACs at static shapes", seen, count)
	}
	row(name, r.Achieved.MACs, count)
	row("parameters", r.Achieved.Params, count)
	if !f.dryRun {
		row("file", r.FileBytes, size)
	}
	t.Render()
	if name != "MACs" {
		what := "shapes that the model computes count as 1"
		if r.CountedAt != nil && r.CountedAt.Assumed {
			what = "free sizes and shapes that the model computes count as 1"
		}
		holds := "--speed-up holds for both counts; --count-computed uses only the other one"
		if !s.Analysis.NewState().StaticCounts() {
			holds = "less than half of the work is visible there, so --speed-up uses the MACs with shapes evaluated"
		}
		fmt.Fprintf(a.out, "at static shapes, %s; %s\n", what, holds)
	}
	a.printCounted(r.CountedAt)
}

// printCounted says at which sizes of the inputs the work was counted.
func (a *app) printCounted(c *coupling.Counted) {
	switch {
	case c == nil:
	case c.Assumed:
		fmt.Fprintf(a.out, "counted at %s, assumed; give the sizes that you use with --input\n", plain(c.String()))
	default:
		fmt.Fprintf(a.out, "counted at %s\n", plain(c.String()))
	}
}
