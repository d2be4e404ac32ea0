package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/native/bucket"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

// metatrainFlags are the options of metatrain.
type metatrainFlags struct {
	data                   dataFlags
	config                 metatrain.Config
	start, out, folder     string
	backend                string
	steps, every           int
	hidden, layers         int
	sparsity, rate, shrink float64
	held                   []string
	heldEvery              int
	heldSpeedUps           []float64
	unnamed, force         bool // out is the default's
}

func (a *app) metatrainCommand() *cobra.Command {
	f := &metatrainFlags{}
	c := &cobra.Command{
		Use:   "metatrain DATA-MODEL...",
		Short: "Train a graph metanetwork on networks",
		Long: `Train a metanetwork (arXiv 2506.12041) on data models: classifiers for one data set, of any mix of architectures, that were trained and slightly pruned. A folder means the model.onnx
files in it and in its subfolders. Each step rewrites one of them, computes the gradient of its cross-entropy, adds that of the group sparsity, and updates the metanetwork.`,
		Example: `  metaprune metatrain datamodels/ --data fashion-mnist --steps 200 -o metanet.safetensors
  metaprune metatrain a.onnx b.onnx --data cifar10 --hidden 32 --layers 6 --run meta.run
  metaprune metatrain s3://bucket/datamodels --data cifar10 -o metanet.safetensors
  metaprune curve held-out.onnx --criterion metanet --metanet metanet.safetensors --data fashion-mnist`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.unnamed = !c.Flags().Changed("output")
			if err := f.unused(c); err != nil {
				return err
			}
			return a.metatrain(c.Context(), args, f)
		},
	}
	s := c.Flags()
	f.data.add(s, 500)
	backendFlag(s, &f.backend)
	s.IntVar(&f.steps, "steps", 200, "steps of training")
	s.IntVar(&f.config.Images, "images-per-step", 3000, "number of training images per step")
	s.Float64Var(&f.rate, "lr", 1e-3, "learning rate of AdamW")
	s.Float64Var(&f.shrink, "weight-decay", 5e-4, "weight decay of AdamW")
	s.Float64Var(&f.config.AdamW.Clip, "clip", 1, "largest norm of the gradient, 0 for no limit")
	s.Float64Var(&f.sparsity, "sparsity", .1, "norm of the sparsity gradient as a share of the cross-entropy gradient's")
	s.Float64Var(&f.config.Alpha, "alpha", 4, "factor by which the least important channel is penalised more than the most important one")
	s.StringVar(&f.config.Objective, "objective", metatrain.Weights, "weights: the paper's new weights with a low loss and sparse groups; masks: scores that give a pruned network with a low loss; allocation: the scores that metaprune allocate has found for the data models; order: their order within each group")
	s.Float64Var(&f.config.SpeedUps[0], "least-speed-up", 1.5, "of --objective masks: each step prunes to a speed-up between this and --most-speed-up")
	s.Float64Var(&f.config.SpeedUps[1], "most-speed-up", 8, "see --least-speed-up")
	s.Float64Var(&f.config.Temperature, "temperature", .5, "of --objective masks: distance from the threshold at which channels still count, in the logarithm of their scores")
	s.IntVar(&f.config.Devices, "devices", 1, "devices of the backend that share each batch of images; the metanetwork itself runs on the first")
	s.StringVar(&f.start, "metanet", "", "metanetwork to start from (default: a new one with --hidden and --layers)")
	s.IntVar(&f.hidden, "hidden", 32, "hidden channels of a new metanetwork")
	s.IntVar(&f.layers, "layers", 4, "message-passing layers of a new metanetwork")
	s.Uint64Var(&f.config.Seed, "seed", 0, "of the images, the order of the data models and the new metanetwork")
	s.StringSliceVar(&f.held, "validate", nil, "networks that are not used for training; the metanetwork that prunes them best is written (models or folders, may be repeated)")
	s.IntVar(&f.heldEvery, "validate-every", 25, "steps between evaluations by --validate")
	s.Float64SliceVar(&f.heldSpeedUps, "validate-speed-up", []float64{2, 3, 6}, "speed-ups at which they are evaluated, after a repair and without labels")
	s.IntVar(&f.every, "checkpoint-every", 25, "steps between checkpoints")
	s.StringVarP(&f.out, "output", "o", "metanet.safetensors", "metanetwork to write")
	s.BoolVar(&f.force, "force", false, "overwrite the default output metanet.safetensors if another run wrote it")
	s.StringVar(&f.folder, "run", "", "folder for checkpoints and metrics (default NAME.run beside the output)")
	takes(s, whole(1, 0), "steps", "images-per-step", "devices", "validate-every", "checkpoint-every")
	takes(s, whole(2, 4096), "hidden")
	takes(s, whole(1, 1024), "layers")
	takes(s, positive(), "lr", "temperature")
	takes(s, decimal(0, 0), "weight-decay", "clip", "sparsity", "alpha")
	takes(s, factor(1).over(), "least-speed-up", "most-speed-up", "validate-speed-up")
	oneOf(s, "objective", metatrain.Objectives...)
	return c
}

// check turns flags into a configuration.
func (f *metatrainFlags) check() error {
	negative := func(v float64) float64 { // the configuration's zeros are defaults
		if v == 0 {
			return -1
		}
		return v
	}
	f.config.AdamW.Rate, f.config.AdamW.WeightDecay, f.config.Sparsity = f.rate, negative(f.shrink), negative(f.sparsity)
	f.config.Batch = min(f.data.batch, f.config.Images)
	if f.folder == "" {
		f.folder = strings.TrimSuffix(f.out, filepath.Ext(f.out)) + ".run"
	}
	return nil
}

// sources are arguments with buckets replaced by folders of this machine, which hold the models that are in them.
type sources struct {
	args    []string
	buckets map[string]string // by folder
	folders []func()          // remove them
}

// name is what a file is called where its folder stands for a bucket.
func (s *sources) name(file string) string {
	for folder, url := range s.buckets {
		if rest, ok := strings.CutPrefix(file, folder); ok {
			return bucket.Name(url, rest)
		}
	}
	return file
}

func (s *sources) remove() {
	for _, remove := range s.folders {
		remove()
	}
}

func fetched(ctx context.Context, args []string) (*sources, error) {
	out := &sources{buckets: map[string]string{}}
	for _, arg := range args {
		if !bucket.Is(arg) {
			out.args = append(out.args, arg)
			continue
		}
		folder, remove, err := endingOf(ctx).tempDir("metaprune-")
		if err != nil {
			return out, err
		}
		out.folders = append(out.folders, remove)
		out.buckets[folder] = arg
		out.args = append(out.args, folder)
		b, err := bucket.Open(ctx, arg)
		if err != nil {
			return out, err
		}
		err = b.Fetch(ctx, folder, func(name string) bool {
			return path.Base(name) == "model.onnx" || path.Base(name) == "model.allocation.json"
		})
		if err := errors.Join(err, b.Close()); err != nil {
			return out, err
		}
	}
	return out, nil
}

// modelFiles lists the models that the arguments name.
func modelFiles(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, arg)
			continue
		}
		before := len(out)
		for _, pattern := range []string{"model.onnx", "*/model.onnx"} {
			found, err := fs.Glob(os.DirFS(arg), pattern) // a folder's own name is no pattern
			if err != nil {
				return nil, err
			}
			for _, name := range found {
				out = append(out, filepath.Join(arg, filepath.FromSlash(name)))
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("%s: no model.onnx in it or in its folders", arg)
		}
	}
	return out, nil
}

func (a *app) metatrain(ctx context.Context, args []string, f *metatrainFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	from, err := fetched(ctx, args)
	defer from.remove()
	if err != nil {
		return err
	}
	files, err := modelFiles(from.args)
	if err != nil {
		return err
	}
	if err := a.metatrainClaims(files, f); err != nil {
		return err
	}
	start, scheme, err := f.metanetwork()
	if err != nil {
		return err
	}
	b, err := xla.Open(f.backend)
	if err != nil {
		return err
	}
	defer b.Finalize()
	sum := sha256.Sum256(start.Bytes())
	r := &metatrain.Run{Folder: f.folder, Every: f.every, Report: a.metaProgress(f.steps, f.config.Objective),
		Plan: metatrain.Plan{Config: f.config, Steps: f.steps, Models: map[string]string{}, Start: hex.EncodeToString(sum[:]), Data: f.data.describe(), Backend: b.Kind, Version: programVersion()}}
	for _, path := range files {
		closeModel, err := a.dataModel(r, b, path, from.name(path), scheme, &f.data)
		if err != nil {
			return err
		}
		defer closeModel()
	}
	if len(f.held) > 0 {
		if err := a.judge(ctx, r, b, f); err != nil {
			return err
		}
	}
	if r.Trainer, err = metatrain.New(b, start, f.config); err != nil {
		return err
	}
	defer r.Trainer.Close()
	m, err := r.Train(ctx)
	if err != nil {
		return err
	}
	if err := a.writeSafetensors(f.out, m); err != nil {
		return err
	}
	step, goals := r.Chosen()
	a = a.beside(f.out)
	if a.json {
		return a.printJSON(metatrainReport{f.out, f.folder, f.steps, len(files), step, goals})
	}
	if a.quiet {
		return nil
	}
	_, err = fmt.Fprintf(a.out, "wrote %s, the metanetwork after step %d; the run is in %s\n", f.out, step, f.folder)
	return err
}

// metatrainClaims refuses runs that would overwrite what they read.
func (a *app) metatrainClaims(models []string, f *metatrainFlags) error {
	if f.unnamed {
		if err := unwritten(f.out, f.force, filepath.Join(f.folder, "config.json")); err != nil {
			return err
		}
	}
	c := a.claims()
	held := f.held
	if files, err := modelFiles(held); err == nil {
		held = files
	}
	for _, path := range models {
		c.model(path, "a data model", nil)
		c.reads(metatrain.AllocationPath(path), "the allocation of a data model")
	}
	for _, path := range held {
		c.model(path, "a model of --validate", nil)
	}
	c.reads(f.start, "the metanetwork that training starts from")
	c.data(&f.data, &repairFlags{})
	c.writes(f.out, "the metanetwork")
	c.writesIn(f.folder, "a file of the run's folder", metatrain.RunFiles()...)
	return c.check()
}

// metanetwork is the one to start from, with its feature scheme.
func (f *metatrainFlags) metanetwork() (*safetensors.File, graphcodec.Scheme, error) {
	if f.start == "" {
		return metanet.New(prune.Sizes(graphcodec.Universal, f.hidden, f.layers), f.config.Seed), graphcodec.Universal, nil
	}
	raw, err := os.ReadFile(f.start)
	if err != nil {
		return nil, graphcodec.Scheme{}, err
	}
	m, err := prune.LoadMetanet(raw)
	if err != nil {
		return nil, graphcodec.Scheme{}, fmt.Errorf("%s: %w", f.start, err)
	}
	s, err := m.Scheme()
	if err != nil {
		return nil, s, fmt.Errorf("%s: %w", f.start, err)
	}
	file, err := safetensors.Parse(raw)
	return file, s, err
}

// judge opens the networks that the steps of a run are compared by.
func (a *app) judge(ctx context.Context, r *metatrain.Run, b *xla.Backend, f *metatrainFlags) error {
	files, err := modelFiles(f.held)
	if err != nil {
		return fmt.Errorf("--validate: %w", err)
	}
	r.Judge = &metatrain.Judge{SpeedUps: f.heldSpeedUps, Objective: f.config.Objective}
	r.Plan.Validation = &metatrain.Validation{Models: map[string]string{}, SpeedUps: f.heldSpeedUps, Every: f.heldEvery}
	for _, path := range files {
		if r.Plan.Models[path] != "" {
			return fmt.Errorf("--validate: %s is trained on too", path)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m, err := onnxio.Decode(raw, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := a.metaImages(r, m, &f.data); err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		r.Plan.Validation.Models[path] = hex.EncodeToString(sum[:])
		if err := r.Judge.Add(ctx, b, path, m, r.Images, r.Plan.Config.Seed^0xbe57); err != nil {
			return err
		}
	}
	own, err := r.Judge.Goal(ctx, nil)
	if err == nil && !a.quiet {
		fmt.Fprintf(a.err, "validation of group L2 on the networks' own weights: %.4f; less is better\n", own)
	}
	return err
}

// metaImages opens the images of a run once.
func (a *app) metaImages(r *metatrain.Run, m *onnxio.Model, d *dataFlags) error {
	if r.Images != nil {
		return nil
	}
	splits, err := d.open(m)
	if err != nil {
		return err
	}
	if r.Images = splits.Train; r.Images == nil {
		r.Images = splits.Test // files that are named one by one are what they are named for
	}
	if d.limit > 0 {
		r.Images = r.Images.Shuffled(min(d.limit, r.Images.N), r.Plan.Config.Seed)
	}
	if r.Images.Labels == nil && !metatrain.Taught(r.Plan.Config.Objective) {
		return errors.New("the data set has no labels")
	}
	return nil
}

// dataModel adds a data model to a run; the first one opens the images.
func (a *app) dataModel(r *metatrain.Run, b *xla.Backend, path, name string, s graphcodec.Scheme, d *dataFlags) (func(), error) {
	file, err := onnxio.Open(path)
	if err != nil {
		return nil, err
	}
	done := func() { _ = file.Close() }
	if !metatrain.Taught(r.Plan.Config.Objective) {
		if err := a.metaImages(r, file.Model, d); err != nil {
			done()
			return nil, err
		}
	}
	m, err := metatrain.NewDataModel(b, name, file.Model, s, r.Plan.Config.Objective, max(r.Plan.Config.Devices, 1))
	if err != nil {
		done()
		return nil, err
	}
	if r.Plan.Models[name], err = hash(file.Model); err != nil {
		done()
		return nil, err
	}
	if metatrain.Taught(r.Plan.Config.Objective) {
		if err := teach(r, m, path, name); err != nil {
			done()
			return nil, err
		}
	}
	r.Models = append(r.Models, m)
	return func() { m.Close(); done() }, nil
}

// teach gives a data model the allocation that lies beside it.
func teach(r *metatrain.Run, m *metatrain.DataModel, path, name string) error {
	beside := metatrain.AllocationPath(path)
	raw, err := os.ReadFile(beside)
	if os.IsNotExist(err) {
		return fmt.Errorf("%s is missing; `metaprune allocate %s` makes it", metatrain.AllocationPath(name), name)
	}
	if err != nil {
		return err
	}
	allocation, err := metatrain.ReadAllocation(beside)
	if err != nil {
		return err
	}
	if allocation.ModelSHA256 != r.Plan.Models[name] {
		return fmt.Errorf("%s was searched for another model; remove it and search again with `metaprune allocate %s`", metatrain.AllocationPath(name), name)
	}
	sum := sha256.Sum256(raw)
	r.Plan.Models[metatrain.AllocationPath(name)] = hex.EncodeToString(sum[:])
	return m.Teach(&allocation.Result)
}

// metatrainReport is what metatrain prints with --json.
type metatrainReport struct {
	File       string          `json:"file"`
	Folder     string          `json:"folder"`
	Steps      int             `json:"steps"`
	Models     int             `json:"models"`
	Chosen     int             `json:"chosen_step"`
	Validation map[int]float64 `json:"validation"`
}

func (a *app) metaProgress(steps int, objective string) func(int, *metatrain.Report, time.Duration) {
	if a.quiet {
		return nil
	}
	g := a.stage("meta-training")
	return func(step int, r *metatrain.Report, left time.Duration) {
		if a.stages != nil && !a.stages.live {
			g.set(float64(step), float64(steps))
		}
		at := ""
		if r.SpeedUp > 0 {
			at = fmt.Sprintf(" at %.2fx", r.SpeedUp)
		}
		right := ""
		if !metatrain.Taught(objective) {
			right = fmt.Sprintf("  accuracy %.2f %%", 100*r.Accuracy)
		}
		judged := ""
		if r.Validation != nil {
			judged = fmt.Sprintf("  validation %.4f", *r.Validation)
		}
		fmt.Fprintf(a.err, "step %d/%d  %s%s  loss %.4f%s  gradients %.3g (loss) %.3g (metanetwork)%s  %s left\n", step, steps, r.Model, at, r.Loss, right, r.Norm, r.Gradient, judged, left.Round(time.Second))
	}
}
