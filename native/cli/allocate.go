package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/allocate"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

// allocateFlags are the options of allocate.
type allocateFlags struct {
	data           dataFlags
	options        allocate.Options
	criterion      string
	backend        string
	samples, judge int
	out            string
	shard          string
	memory         string
	seed           uint64
}

func (a *app) allocateCommand() *cobra.Command {
	f := &allocateFlags{}
	c := &cobra.Command{
		Use:   "allocate MODEL...",
		Short: "Search how many channels each layer may lose, on unlabelled inputs",
		Long: `Search an offset for the scores of every group of channels: trials are pruned, repaired by least squares and compared with the original's outputs, group by group with more and
with less (a sensitivity scan), and the offsets that come closest are kept. prune --allocation uses them. metatrain --objective allocation teaches them to a metanetwork, which then needs neither samples nor a search. Labels are not used.
The result is written beside each model as NAME.allocation.json. Finished models are skipped. A folder means all model.onnx files in it and in its subfolders.`,
		Example: `  metaprune allocate model.onnx --data photos/
  metaprune prune model.onnx --allocation model.allocation.json --speed-up 4 --calibrate photos/ -o smaller.onnx
  metaprune allocate datamodels/ --data fashion-mnist --shard /8`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := unusedIn(c).data(&f.data).unless(false, "a command that measures accuracy, such as curve", "limit", "batch").err; err != nil {
				return err
			}
			return a.allocate(c.Context(), args, f)
		},
	}
	s := c.Flags()
	f.data.add(s, 100)
	runtimeFlag(s, &f.backend)
	s.Float64SliceVar(&f.options.SpeedUps, "speed-up", []float64{2, 3, 6}, "speed-ups at which trials are evaluated; if one cannot be reached, the largest that can")
	s.IntVar(&f.options.Rounds, "rounds", 3, "rounds of looking around; 0 notes the criterion's scores without a search")
	s.Float64Var(&f.options.Step, "step", .15, "share of a layer's channels by which the first round changes its number, up and down; later rounds use smaller shares")
	s.Uint64Var(&f.seed, "seed", 0, "of the inputs that are drawn")
	s.StringVar(&f.criterion, "criterion", "obs", "criterion that ranks channels within a group: obs, wanda, hessian, l2, l1 or bn")
	s.IntVar(&f.samples, "samples", 100, "inputs that trials are repaired on")
	s.IntVar(&f.judge, "judge", 300, "number of further inputs that evaluate the trials")
	s.StringVar(&f.shard, "shard", "", "K/N: only the models whose number leaves K when divided by N; /N takes K from JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID")
	s.StringVarP(&f.out, "output", "o", "", "file to write, for one model (default NAME.allocation.json beside it)")
	s.StringVar(&f.memory, "memory", "", "memory for the search, such as 2GB: values of samples that do not fit into a third of it go to a temporary file (default: a quarter of the machine's memory)")
	takes(s, bytesFromZero(), "memory")
	takes(s, factor(1).over(), "speed-up")
	takes(s, whole(0, 0), "rounds")
	takes(s, share(0, 1).over().under(), "step")
	takes(s, whole(5, 0), "samples", "judge")
	oneOf(s, "criterion", "obs", "wanda", "hessian", "l2", "l1", "bn")
	return c
}

func (f *allocateFlags) check(models int) error {
	if f.out != "" && models != 1 {
		return fmt.Errorf("-o names one file, but %d models are given; without -o, each result is written beside its model", models)
	}
	if f.data.spec == "" && f.data.images == "" {
		return errors.New("give inputs with --data: a folder of pictures, IDX, NPZ or the name of a data set; labels are not needed")
	}
	f.options.Criterion.Kind = f.criterion
	if f.options.Rounds == 0 {
		f.options.Rounds = -1
	}
	return nil
}

func (a *app) allocate(ctx context.Context, args []string, f *allocateFlags) error {
	files, err := modelFiles(args)
	if err != nil {
		return err
	}
	if err := f.check(len(files)); err != nil {
		return err
	}
	k, n, err := parseShard(f.shard)
	if err != nil {
		return err
	}
	claimed := a.claims()
	claimed.data(&f.data, &repairFlags{})
	for _, path := range files {
		claimed.model(path, "the model", nil)
		claimed.writes(cmp.Or(f.out, metatrain.AllocationPath(path)), "the allocation")
	}
	if err := claimed.check(); err != nil {
		return err
	}
	b, err := engines.Open(f.backend)
	if err != nil {
		return err
	}
	defer b.Close()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // every trial makes arrays that are as large as the last one's
	}
	var all []*metatrain.Allocation
	for i, path := range files {
		if i%n != k {
			continue
		}
		r, err := a.allocateOne(ctx, b, path, f)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, r)
	}
	a = a.beside(f.out)
	if a.json {
		return a.printJSON(all)
	}
	for i, r := range all {
		if i > 0 && !a.quiet {
			fmt.Fprintln(a.out)
		}
		a.printAllocation(r)
	}
	return nil
}

// allocateOne searches one model, or reads what an earlier search with the same options found.
func (a *app) allocateOne(ctx context.Context, b *engines.Runtime, path string, f *allocateFlags) (*metatrain.Allocation, error) {
	s, closeModel, err := a.open(path, f.data.inputs...)
	if err != nil {
		return nil, err
	}
	defer closeModel()
	out := cmp.Or(f.out, metatrain.AllocationPath(path))
	want := &metatrain.Allocation{Format: metatrain.AllocationFormat, Version: metatrain.AllocationVersion, ModelSHA256: s.SHA256(), Options: metatrain.AllocationOptions{SpeedUps: f.options.SpeedUps, Rounds: f.options.Rounds,
		Step: f.options.Step, Seed: f.seed, Criterion: f.criterion, Samples: f.samples, Judge: f.judge, Data: f.data.describe(), Backend: b.Kind}}
	if old, err := metatrain.ReadAllocation(out); err == nil {
		if d := train.Differences(&old.Options, &want.Options); d != "" || old.ModelSHA256 != want.ModelSHA256 {
			return nil, fmt.Errorf("%s is of another search (%s); remove it, or name another file with -o", out, orOtherModel(d))
		}
		return old, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	start := time.Now()
	r, err := a.searched(ctx, b, s, f)
	if err != nil {
		return nil, err
	}
	want.Result, want.Seconds = *r, time.Since(start).Seconds()
	raw, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return nil, err
	}
	return want, a.saveBytes(out, append(raw, '\n'))
}

func orOtherModel(difference string) string {
	if difference == "" {
		return "of another model"
	}
	return difference
}

// searched runs the search.
func (a *app) searched(ctx context.Context, b *engines.Runtime, s *prune.Model, f *allocateFlags) (*allocate.Result, error) {
	inputs, err := xla.InputsOf(s.ONNX)
	if err != nil {
		return nil, err
	}
	e, err := b.Engine(s.ONNX)
	if err != nil {
		return nil, err
	}
	splits, err := f.data.open(s.ONNX)
	if err != nil {
		return nil, err
	}
	set := splits.Train
	if set == nil {
		set = splits.Test
	}
	all, n, err := images(inputs, set.Shuffled(min(f.samples+f.judge, set.N), f.seed))
	if err != nil {
		return nil, err
	}
	if n < f.samples+5 {
		return nil, fmt.Errorf("%s has %d images; with --samples %d, too few remain to judge by", set.Name, n, f.samples)
	}
	fit, held := engine.SplitLast(all, n-f.samples)
	memory, err := calibrationMemory(ctx, f.memory, repair.LeastMemory(s.ONNX))
	if err != nil {
		return nil, err
	}
	reference, err := repair.NewReference(ctx, e, s.ONNX, fit, held, memory)
	if err != nil {
		return nil, err
	}
	defer reference.Close()
	o := f.options
	g := a.stage("search")
	defer g.end()
	o.Progress = func(done, total int, _ float64) { g.set(float64(done), float64(total)) }
	if o.Scores, err = calib.Scores(ctx, e, s.ONNX, s.Analysis, f.criterion, fit); err != nil {
		return nil, err
	}
	return allocate.Search(ctx, s.Analysis, reference, o)
}

func (a *app) printAllocation(r *metatrain.Allocation) {
	if a.quiet {
		return
	}
	t := a.table("group", "distance with less", "with more", "offset")
	t.SetColumnConfigs(rightAligned(2, 3, 4))
	names := slices.SortedFunc(maps.Keys(r.Result.Offsets), func(x, y string) int { return strings.Compare(x, y) })
	for _, g := range names {
		slope := r.Result.Sensitivity[g]
		t.AppendRow(table.Row{g, fmt.Sprintf("%+.0f %%", 100*math.Expm1(slope.Less)), fmt.Sprintf("%+.0f %%", 100*math.Expm1(slope.More)), fmt.Sprintf("%+.2f", r.Result.Offsets[g])})
	}
	t.Render()
	for _, p := range r.Result.Points {
		top1 := ""
		if b, c := p.Before.Figures(false).Top1, p.After.Figures(false).Top1; b != nil && c != nil {
			top1 = fmt.Sprintf(", same top-1 %.1f %% -> %.1f %%", 100**b, 100**c)
		}
		fmt.Fprintf(a.out, "%.2fx: cosine to the outputs of the original %.4f -> %.4f%s on %d inputs that were held back\n", p.SpeedUp, p.Before.Cosine, p.After.Cosine, top1, p.After.N)
	}
	fmt.Fprintf(a.out, "%d trials in %.0f s\n", r.Result.Trials, r.Seconds)
}

// allocationOf reads the offsets for a model, nil without a file.
func allocationOf(path string, s *prune.Model) (map[string]float64, error) {
	if path == "" {
		return nil, nil
	}
	r, err := metatrain.ReadAllocation(path)
	if err != nil {
		return nil, fmt.Errorf("--allocation: %w", err)
	}
	if r.ModelSHA256 != s.SHA256() {
		return nil, fmt.Errorf("--allocation %s was searched for another model (SHA-256 %.12s…)", filepath.Base(path), r.ModelSHA256)
	}
	return r.Result.Offsets, nil
}
