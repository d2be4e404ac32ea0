package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

// trainFlags are the options of train and finetune.
type trainFlags struct {
	data               dataFlags
	config             train.Config
	backend            string
	out, folder, keep  string
	teacher            string
	every              time.Duration
	noAugment, freshly bool
	force              bool
	unnamed            bool // out is named after the model
}

func (a *app) trainCommand() *cobra.Command {
	f := &trainFlags{freshly: true}
	c := &cobra.Command{
		Use:   "train MODEL",
		Short: "Train a classifier from its initialised weights",
		Example: `  metaprune new resnet20 --input 1x28x28 --classes 10
  metaprune train resnet20.onnx --data fashion-mnist --epochs 10 -o trained.onnx
  metaprune train resnet20.onnx --data cifar10 --epochs 200 --schedule step --milestones 100,150 --lr 0.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.unused(c).err; err != nil {
				return err
			}
			return a.train(c.Context(), args[0], f)
		},
	}
	f.add(c, 10, 0.1, train.OneCycle)
	return c
}

func (a *app) finetuneCommand() *cobra.Command {
	f := &trainFlags{}
	c := &cobra.Command{
		Use:   "finetune MODEL",
		Short: "Train a pruned classifier further",
		Long: `Train a trained classifier further, with a lower learning rate. With --teacher, the original model's outputs are part of the target.
--keep-zeros keeps weights at zero that are zero, as after unstructured or N:M pruning.`,
		Example: `  metaprune finetune pruned.onnx --data fashion-mnist --epochs 3 -o finetuned.onnx
  metaprune finetune pruned.onnx --data cifar10 --teacher original.onnx --distil 0.7
  metaprune finetune sparse.onnx --data cifar10 --keep-zeros`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.unused(c).err; err != nil {
				return err
			}
			return a.train(c.Context(), args[0], f)
		},
	}
	f.add(c, 3, 0.02, train.OneCycle)
	return c
}

func (f *trainFlags) add(c *cobra.Command, epochs int, rate float64, schedule string) {
	s, o := c.Flags(), &f.config.Options
	f.data.add(s, 128)
	backendFlag(s, &f.backend)
	s.IntVar(&f.config.Epochs, "epochs", epochs, "times through the training images")
	s.Float64Var(&f.config.Rate, "lr", rate, "highest learning rate")
	s.StringVar(&f.config.Schedule, "schedule", schedule, "of the learning rate: cosine, onecycle, step or constant")
	s.Float64Var(&f.config.Warmup, "warmup", 0, "epochs over which the learning rate grows")
	s.IntSliceVar(&f.config.Milestones, "milestones", nil, "epochs after which --schedule step multiplies with --gamma")
	s.Float64Var(&f.config.Gamma, "gamma", 0.1, "factor of --schedule step")
	s.StringVar(&o.Optimizer, "optimizer", xla.SGD, "sgd or adamw")
	s.Float64Var(&o.Momentum, "momentum", 0.9, "of sgd")
	s.BoolVar(&o.Nesterov, "nesterov", true, "Nesterov's momentum")
	s.Float64Var(&o.WeightDecay, "weight-decay", 5e-4, "weight decay; of all parameters with sgd, of matrices and kernels with adamw")
	s.Float64Var(&o.LabelSmoothing, "label-smoothing", 0, "share of the target that is spread over all classes, 0 to 1")
	s.StringVar(&f.teacher, "teacher", "", "model whose outputs are part of the target")
	s.Float64Var(&o.Distil, "distil", 0.5, "weight of the teacher's part")
	s.Float64Var(&o.Temperature, "temperature", 4, "temperature at which the teacher's and the model's outputs are compared")
	s.BoolVar(&o.KeepZeros, "keep-zeros", false, "keep weights that are zero at zero")
	s.BoolVar(&o.Half, "bf16", false, "compute products in bfloat16 (CUDA)")
	s.BoolVar(&o.Frozen, "freeze-norms", false, "BatchNormalization keeps its running statistics")
	s.Float64Var(&f.config.Validation, "validation", 1.0/12, "share of the training images that is held back for validation")
	s.Uint64Var(&f.config.Seed, "seed", 0, "of the order, the augmentation and the validation images")
	s.IntVar(&f.config.Augment.Crop, "crop", 2, "augmentation: images are moved by up to this many pixels")
	s.BoolVar(&f.config.Augment.Flip, "flip", true, "augmentation: mirror half of the images")
	s.IntVar(&f.config.Augment.Cutout, "cutout", 0, "augmentation: side of the covered square in pixels, 0 for none")
	s.BoolVar(&f.noAugment, "no-augment", false, "do not augment images")
	s.StringVarP(&f.out, "output", "o", "", "model to write (default NAME.trained.onnx)")
	s.BoolVar(&f.force, "force", false, "overwrite the default output if another run wrote it, and a data file (NAME.data) of another model")
	s.StringVar(&f.keep, "keep", "last", "write the weights of the last epoch or of the best on validation (best)")
	s.StringVar(&f.folder, "run", "", "folder for checkpoints, metrics and report (default NAME.run beside the output)")
	takes(s, whole(0, 0), "epochs", "crop", "cutout")
	takes(s, whole(1, 0), "milestones")
	takes(s, positive(), "lr", "gamma", "temperature")
	takes(s, decimal(0, 0), "warmup", "weight-decay")
	takes(s, decimal(0, 1).under(), "momentum")
	takes(s, share(0, 1).under(), "label-smoothing", "validation")
	takes(s, share(0, 1), "distil")
	oneOf(s, "schedule", train.Cosine, train.OneCycle, train.StepWise, train.Constant)
	oneOf(s, "optimizer", xla.SGD, xla.AdamW)
	oneOf(s, "keep", "last", "best")
	s.DurationVar(&f.every, "checkpoint-every", time.Minute, "time between checkpoints within an epoch; a stopped run continues from the last one")
	takes(s, span(), "checkpoint-every")
}

// hash is the SHA-256 of a model as it is written.
func hash(m *onnxio.Model) (string, error) {
	h := sha256.New()
	if err := m.Encode(h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (a *app) train(ctx context.Context, path string, f *trainFlags) error {
	s, closeModel, err := a.open(path)
	if err != nil {
		return err
	}
	defer closeModel()
	f.paths(path)
	if f.unnamed {
		if err := unwritten(f.out, f.force, filepath.Join(f.folder, "config.json")); err != nil {
			return err
		}
	}
	if err := a.trainClaims(path, s.ONNX, f).check(); err != nil {
		return err
	}
	splits, err := f.data.open(s.ONNX)
	if err != nil {
		return err
	}
	if splits.Train == nil { // files that are named one by one are what they are named for
		splits.Train, splits.Test = splits.Test, nil
	}
	b, err := xla.Open(f.backend)
	if err != nil {
		return err
	}
	defer b.Finalize()
	r := &train.Run{Config: f.config, Model: s.ONNX, Data: splits, Backend: b, Folder: f.folder, Every: f.every, Report: a.trainProgress()}
	if err := a.configure(r, f); err != nil {
		return err
	}
	m, result, err := r.Train(ctx)
	if r.Teacher != nil {
		r.Teacher.Close()
	}
	if err != nil {
		return err
	}
	if f.keep == "best" && result.Best != nil {
		best, err := onnxio.Open(filepath.Join(f.folder, "best.onnx"))
		if err != nil {
			return err
		}
		defer best.Close()
		m = best.Model
	}
	if err := a.write(f.out, m, s.ONNX.HasExternal(), f.force); err != nil {
		return err
	}
	return a.beside(f.out).trained(result, f.out)
}

// trainClaims are the files of train and finetune.
func (a *app) trainClaims(path string, m *onnxio.Model, f *trainFlags) *claims {
	c := a.claims()
	external := c.model(path, "the model", m)
	c.model(f.teacher, "the teacher", nil)
	c.data(&f.data, &repairFlags{})
	c.writesModel(f.out, "the trained model", external, f.force)
	c.writesIn(f.folder, "a file of the run's folder", train.Files()...)
	return c
}

// paths fills in the output and the run's folder.
func (f *trainFlags) paths(path string) {
	base := strings.TrimSuffix(path, ".onnx")
	if path == "-" {
		base = "model"
	}
	if f.unnamed = f.out == ""; f.unnamed {
		f.out = base + ".trained.onnx"
	}
	if f.folder == "" {
		name := base
		if f.out != "-" {
			name = strings.TrimSuffix(f.out, ".onnx")
		}
		f.folder = name + ".run"
	}
}

// configure completes the configuration with what the numbers depend on.
func (a *app) configure(r *train.Run, f *trainFlags) error {
	c := &r.Config
	c.Data, c.Backend, c.Version, c.Batch, c.Limit = f.data.describe(), r.Backend.Kind, programVersion(), f.data.batch, f.data.limit
	c.Options.DecayAll = c.Options.Optimizer == xla.SGD
	if f.noAugment {
		c.Augment.Crop, c.Augment.Flip, c.Augment.Cutout = 0, false, 0
	}
	if c.Schedule != train.StepWise {
		c.Milestones, c.Gamma = nil, 0
	}
	var err error
	if c.ModelSHA256, err = hash(r.Model); err != nil {
		return err
	}
	if f.teacher == "" {
		c.Options.Distil, c.Options.Temperature = 0, 0
		return nil
	}
	file, err := onnxio.Open(f.teacher)
	if err != nil {
		return err
	}
	defer file.Close()
	if c.Teacher, err = hash(file.Model); err != nil {
		return err
	}
	p, err := xla.Load(file.Model)
	if err != nil {
		return fmt.Errorf("%s: %w", f.teacher, err)
	}
	if r.Teacher, err = xla.NewRunner(r.Backend, p); err != nil {
		return fmt.Errorf("%s: %w", f.teacher, err)
	}
	return nil
}

func (d *dataFlags) describe() string {
	if d.spec != "" {
		return d.spec
	}
	return d.images
}

// trainProgress prints a line that is rewritten while an epoch runs, where standard error is a terminal, and one that stays for each epoch.
func (a *app) trainProgress() func(train.Progress) {
	if a.quiet {
		return nil
	}
	live := isTerminal(a.err)
	var g *stage
	return func(p train.Progress) {
		if g == nil && !live {
			g = a.stage("training")
		}
		if g != nil {
			g.set(float64(p.Epoch-1)+float64(p.Step)/float64(max(p.Steps, 1)), float64(p.Epochs))
		}
		if e := p.Done; e != nil {
			valid := ""
			if e.Validation != nil {
				valid = fmt.Sprintf("  validation %.2f %%", 100*e.Validation.Accuracy)
			}
			clear := ""
			if live {
				clear = "\r\033[K"
			}
			fmt.Fprintf(a.err, "%sepoch %d/%d  loss %.4f  accuracy %.2f %%%s  %.0f images/s  %s left\n", clear, p.Epoch, p.Epochs, e.Loss, 100*e.Accuracy, valid, e.Speed, p.Left.Round(time.Second))
			return
		}
		if live {
			fmt.Fprintf(a.err, "\r\033[Kepoch %d/%d  %d/%d  loss %.4f  accuracy %.2f %%  %.0f images/s  %s left", p.Epoch, p.Epochs, p.Step, p.Steps, p.Loss, 100*p.Accuracy, p.Speed, p.Left.Round(time.Second))
		}
	}
}

// trainReport is what train and finetune print with --json.
type trainReport struct {
	*train.Result
	File string `json:"file"`
}

// trained prints what a run ended with.
func (a *app) trained(r *train.Result, out string) error {
	if a.json {
		return a.printJSON(trainReport{r, out})
	}
	if a.quiet {
		return nil
	}
	for _, s := range []struct {
		name  string
		score *train.Score
	}{{"validation", r.Last}, {fmt.Sprintf("validation, best epoch (%d)", r.BestAt), r.Best}, {"test", r.Test}, {"test of the best epoch", r.TestTop}} {
		if s.score != nil {
			fmt.Fprintf(a.out, "%-30s %.2f %% of %d images, loss %.4f\n", s.name, 100*s.score.Accuracy, s.score.Images, s.score.Loss)
		}
	}
	_, err := fmt.Fprintf(a.out, "wrote %s; the run is in %s\n", out, r.Folder)
	return err
}
