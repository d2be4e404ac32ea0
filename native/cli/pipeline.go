package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

type pipelineFlags struct {
	trainFlags
	metanetFlags
	pipeline metatrain.Pipeline
	own      bool
}

func (a *app) pipelineCommand() *cobra.Command {
	f := &pipelineFlags{}
	c := &cobra.Command{
		Use:   "pipeline MODEL",
		Short: "Run metanetwork, finetuning, pruning in steps and finetuning as one run that can be interrupted",
		Long: `Prune a classifier as the paper does: one pass of the metanetwork over its weights, finetuning, pruning to the target in steps with finetuning between them, and finetuning at the end.
--own-weights omits the metanetwork. --pattern sets zeros instead of removing channels. Every stage has a folder with its model; an interrupted or killed run continues where it stopped.`,
		Example: `  metaprune pipeline resnet56.onnx --data cifar10 --metanet metanet.safetensors --speed-up 2.9 --first-epochs 100 --last-epochs 140 -o smaller.onnx
  metaprune pipeline model.onnx --data fashion-mnist --own-weights --speed-up 4 --steps 3 --between-epochs 1 --last-epochs 3
  metaprune pipeline model.onnx --data fashion-mnist --own-weights --pattern 2:4`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.unused(c); err != nil {
				return err
			}
			return a.pipeline(c.Context(), args[0], f)
		},
	}
	f.trainFlags.add(c, 3, .02, train.OneCycle)
	f.metanetFlags.add(c.Flags())
	s, p := c.Flags(), &f.pipeline
	s.BoolVar(&f.own, "own-weights", false, "no metanetwork: prune the model's own weights")
	s.StringVar(&p.Criterion, "criterion", "l2", "importance in each step of pruning: l2, l1, bn, fpgm or random")
	s.Float64Var(&p.SpeedUp, "speed-up", 2, "target: MACs before / MACs after, at the end")
	s.StringVar(&p.Pattern, "pattern", "", "zeros instead: N:M or unstructured")
	s.Float64Var(&p.Sparsity, "sparsity", .5, "share of zeros for --pattern unstructured")
	s.IntVar(&p.Steps, "steps", 1, "steps of pruning")
	s.IntVar(&p.First, "first-epochs", 1, "epochs of finetuning after the metanetwork")
	s.IntVar(&p.Between, "between-epochs", 1, "epochs of finetuning after each step of pruning except the last")
	s.IntVar(&p.Last, "last-epochs", 3, "epochs at the end")
	takes(s, factor(1), "speed-up")
	takes(s, share(0, 1).over().under(), "sparsity")
	takes(s, whole(1, 0), "steps")
	takes(s, whole(0, 0), "first-epochs", "between-epochs", "last-epochs")
	oneOf(s, "criterion", "l2", "l1", "bn", "fpgm", "random")
	patterns(s, "pattern", "unstructured")
	for _, name := range []string{"epochs", "keep", "keep-zeros", "teacher", "distil", "temperature"} {
		_ = s.MarkHidden(name)
	}
	return c
}

// check completes the pipeline's options.
func (f *pipelineFlags) check() error {
	p := &f.pipeline
	switch {
	case p.Pattern != "" && p.Steps != 1:
		return errors.New("--pattern sets zeros in one step; omit --steps")
	case f.own && f.file != "":
		return errors.New("--own-weights and --metanet exclude each other")
	case !f.own && f.file == "":
		return errors.New("give a trained metanetwork with --metanet, or prune the model's own weights with --own-weights: the built-in metanetwork was trained for scores, not for weights")
	}
	if p.Pattern != "" {
		p.SpeedUp = 0
	}
	if p.Pattern != "unstructured" {
		p.Sparsity = 0
	}
	return nil
}

func (a *app) pipeline(ctx context.Context, path string, f *pipelineFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	s, closeModel, err := a.open(path, f.data.inputs...)
	if err != nil {
		return err
	}
	defer closeModel()
	f.paths(path)
	f.folder = strings.TrimSuffix(f.folder, ".run") + ".pipeline"
	if f.unnamed {
		if err := unwritten(f.out, f.force, filepath.Join(f.folder, "pipeline.json")); err != nil {
			return err
		}
	}
	files := a.claims()
	external := files.model(path, "the model", s.ONNX)
	files.reads(f.file, "the metanetwork")
	files.model(f.teacher, "the teacher", nil)
	files.data(&f.data, &repairFlags{})
	files.writesModel(f.out, "the pruned model", external, f.force)
	files.WriteFolder(f.folder, "a file of the run's folder", metatrain.PipelineFile)
	if err := files.check(); err != nil {
		return err
	}
	splits, err := f.data.open(s.ONNX)
	if err != nil {
		return err
	}
	if splits.Train == nil {
		splits.Train, splits.Test = splits.Test, nil
	}
	b, err := xla.Open(f.backend)
	if err != nil {
		return err
	}
	defer b.Finalize()
	configured := &train.Run{Config: f.config, Model: s.ONNX, Backend: b}
	if err := a.configure(configured, &f.trainFlags); err != nil {
		return err
	}
	progress := a.trainProgress()
	r := &metatrain.PipelineRun{Pipeline: f.pipeline, Model: s.ONNX, Data: splits, Backend: b, Folder: f.folder, Every: f.every, Finished: a.stageDone}
	if progress != nil {
		r.Report = func(_ string, p train.Progress) { progress(p) }
	}
	r.Pipeline.Inputs = s.Inputs()
	r.Pipeline.ModelSHA256, r.Pipeline.Train = configured.Config.ModelSHA256, configured.Config
	r.Pipeline.Train.ModelSHA256, r.Pipeline.Train.Epochs = "", 0
	if !f.own {
		if r.Metanet, err = f.load(); err != nil {
			return err
		}
		if r.Options, err = a.runOptions(f.memory, r.Metanet.Network.Layers+1); err != nil {
			return err
		}
		r.Pipeline.Metanet = r.Metanet.SHA256
	}
	m, stages, err := r.Run(ctx)
	if err != nil {
		return err
	}
	if err := a.write(f.out, m, s.ONNX.HasExternal(), f.force); err != nil {
		return err
	}
	return a.beside(f.out).printStages(stages, f)
}

// warnings are what to expect of the model at the end, which has been finetuned unless that was left out.
func (f *pipelineFlags) warnings(stages []*metatrain.Stage) []planner.Warning {
	p, last := &f.pipeline, stages[len(stages)-1]
	switch {
	case p.Pattern != "":
		return []planner.Warning{planner.ZerosWarning(p.Pattern)}
	case p.Last == 0 && last.SpeedUp > 1:
		return []planner.Warning{planner.UnrepairedWarning(last.SpeedUp)}
	}
	return nil
}

func (a *app) stageDone(s *metatrain.Stage) {
	if a.quiet {
		return
	}
	done := ""
	if s.Done {
		done = " (was done)"
	}
	fmt.Fprintf(a.err, "%s%s: %.2fx, %.1f s\n", s.Name, done, s.SpeedUp, s.Seconds)
}

// pipelineReport is what pipeline prints with --json.
type pipelineReport struct {
	File     string             `json:"file"`
	Folder   string             `json:"folder"`
	Stages   []*metatrain.Stage `json:"stages"`
	Warnings []planner.Warning  `json:"warnings,omitempty"`
}

func (a *app) printStages(stages []*metatrain.Stage, f *pipelineFlags) error {
	warnings := f.warnings(stages)
	defer a.warn(warnings)
	if a.json {
		return a.printJSON(pipelineReport{f.out, f.folder, stages, warnings})
	}
	if a.quiet {
		return nil
	}
	t := a.table("stage", "speed-up", "parameters", "validation", "test", "seconds")
	t.SetColumnConfigs(rightAligned(2, 3, 4, 5, 6))
	percent := func(s *train.Score) string {
		if s == nil {
			return ""
		}
		return fmt.Sprintf("%.2f %%", 100*s.Accuracy)
	}
	for _, s := range stages {
		t.AppendRow(table.Row{s.Name, fmt.Sprintf("%.2fx", s.SpeedUp), fmt.Sprintf("%.2fx fewer", s.Params), percent(s.Valid), percent(s.Test), fmt.Sprintf("%.1f", s.Seconds)})
	}
	t.Render()
	_, err := fmt.Fprintf(a.out, "wrote %s; the stages are in %s\n", f.out, f.folder)
	return err
}
