package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/experiment"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

// jobsFlags are the options of datamodels.
type jobsFlags struct {
	data             dataFlags
	widths           []float64
	seeds            []int
	speedUp          float64
	epochs, tuning   int
	rate, tuningRate float64
	classes          int
	shape            string
	backend, folder  string
	shard            string
	every            time.Duration
}

func (a *app) datamodelsCommand() *cobra.Command {
	f := &jobsFlags{}
	c := &cobra.Command{
		Use:   "datamodels NETWORK...",
		Short: "Make the networks that a metanetwork is trained on",
		Long: `Train each network at each width with each seed, prune it slightly and finetune it. Each data model is a job with its own folder: finished jobs are skipped, and an
interrupted one continues, also on another machine if the folders are in a bucket. --shard 2/8 runs every eighth job, from the third on. In a Kubernetes Indexed Job or a Slurm array, --shard /8 takes the number from the environment.

Networks: ` + strings.Join(models.Names(), ", ") + ".",
		Example: `  metaprune datamodels resnet8 vgg16 mobilenetv2 mlp --widths 0.5,1 --seeds 0,1,2 --data fashion-mnist --input-shape 1x28x28 -o datamodels
  metaprune datamodels resnet56 --seeds 0,1,2,3,4,5,6,7 --data cifar10 --epochs 200 --shard /8 -o s3://bucket/datamodels
  metaprune metatrain datamodels/ --data fashion-mnist -o metanet.safetensors`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.datamodels(c.Context(), args, f) },
	}
	s := c.Flags()
	f.data.add(s, 128)
	backendFlag(s, &f.backend)
	s.Float64SliceVar(&f.widths, "widths", []float64{1}, "factors for all widths of a network")
	s.IntSliceVar(&f.seeds, "seeds", []int{0}, "seeds of weights, order and augmentation")
	s.Float64Var(&f.speedUp, "speed-up", 1.2, "speed-up to which a network is pruned after training; 1 prunes nothing")
	s.IntVar(&f.epochs, "epochs", 5, "epochs of training")
	s.IntVar(&f.tuning, "finetune-epochs", 1, "epochs after pruning")
	s.Float64Var(&f.rate, "lr", .1, "highest learning rate of training")
	s.Float64Var(&f.tuningRate, "finetune-lr", .02, "highest learning rate after pruning")
	s.StringVar(&f.shape, "input-shape", "1x28x28", "channels, height and width of the networks' input")
	s.IntVar(&f.classes, "classes", 10, "number of outputs")
	s.StringVar(&f.shard, "shard", "", "K/N: only the jobs whose number leaves K when divided by N; /N takes K from JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID")
	s.DurationVar(&f.every, "checkpoint-every", 5*time.Minute, "time between checkpoints, which are also uploaded to a bucket")
	s.StringVarP(&f.folder, "output", "o", "datamodels", "output folder, with a subfolder for each data model; or a bucket, s3://NAME/PREFIX or file:///FOLDER")
	takes(s, positive(), "widths", "lr", "finetune-lr")
	takes(s, whole(0, 0), "seeds", "finetune-epochs")
	takes(s, whole(1, 0), "epochs", "classes")
	takes(s, factor(1), "speed-up")
	takes(s, span(), "checkpoint-every")
	return c
}

// jobs lists what is to be made, in one order.
func (f *jobsFlags) jobs(networks []string, backend string) ([]*metatrain.Job, error) {
	input, err := threeInts(f.shape)
	if err != nil {
		return nil, fmt.Errorf("--input-shape %w", err)
	}
	if !(f.speedUp >= 1) || f.epochs < 1 || f.tuning < 0 {
		return nil, errors.New("--speed-up, --epochs: want at least 1; --finetune-epochs: at least 0")
	}
	var out []*metatrain.Job
	for _, network := range networks {
		for _, width := range f.widths {
			for _, seed := range f.seeds {
				if seed < 0 || !(width > 0) {
					return nil, fmt.Errorf("seed %d, width %g: want a seed from 0 on and a width above 0", seed, width)
				}
				j := &metatrain.Job{Network: network, Width: width, Seed: uint64(seed), Input: input, Classes: f.classes, SpeedUp: f.speedUp}
				j.Train = f.config(backend, f.epochs, f.rate, uint64(seed))
				j.Finetune = f.config(backend, f.tuning, f.tuningRate, uint64(seed))
				out = append(out, j)
			}
		}
	}
	return out, nil
}

func (f *jobsFlags) config(backend string, epochs int, rate float64, seed uint64) train.Config {
	c := train.Config{Data: f.data.describe(), Backend: backend, Epochs: epochs, Batch: f.data.batch, Rate: rate, Schedule: train.OneCycle, Validation: 1.0 / 12, Limit: f.data.limit, Seed: seed, Version: programVersion()}
	c.Augment.Crop, c.Augment.Flip = 2, true
	c.Options = xla.TrainOptions{Optimizer: xla.SGD, Momentum: .9, Nesterov: true, WeightDecay: 5e-4, DecayAll: true}
	return c
}

// parseShard reads --shard.
func parseShard(s string) (k, n int, err error) {
	k, n, err = experiment.ParseShard(s)
	return k, n, asFlag(err, "shard")
}

func (a *app) datamodels(ctx context.Context, networks []string, f *jobsFlags) error {
	k, n, err := parseShard(f.shard)
	if err != nil {
		return err
	}
	b, err := xla.Open(f.backend)
	if err != nil {
		return err
	}
	defer b.Finalize()
	jobs, err := f.jobs(networks, b.Kind)
	if err != nil {
		return err
	}
	m, err := models.New(networks[0], models.Options{Input: jobs[0].Input, Classes: f.classes, Width: jobs[0].Width})
	if err != nil {
		return err
	}
	splits, err := f.data.open(m)
	if err != nil {
		return err
	}
	if splits.Train == nil {
		splits.Train, splits.Test = splits.Test, nil
	}
	files := a.claims()
	files.data(&f.data, &repairFlags{})
	files.WriteFolder(f.folder, "a file of a data model's folder", metatrain.PipelineFile)
	if err := files.check(); err != nil {
		return err
	}
	place, err := openPlace(ctx, f.folder, f.every)
	if err != nil {
		return err
	}
	defer place.close()
	var results []*metatrain.JobResult
	progress := a.trainProgress()
	for i, j := range jobs {
		if i%n != k {
			continue
		}
		var report func(string, train.Progress)
		if progress != nil {
			fmt.Fprintf(a.err, "%s (%d of %d)\n", j.Name(), i+1, len(jobs))
			report = func(_ string, p train.Progress) { progress(p) }
		}
		err := place.with(ctx, j.Name(), "job.json", func(folder string) error {
			r, err := j.Run(ctx, b, splits, folder, f.every, report)
			results = append(results, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	return a.dataModelTable(results, f.folder)
}

// dataModel is what datamodels prints of a data model with --json.
type dataModel struct {
	metatrain.JobResult
	Warnings []planner.Warning `json:"warnings,omitempty"`
}

// dataModels are the results with what to expect of those that were pruned and not finetuned.
func dataModels(results []*metatrain.JobResult) []dataModel {
	out := make([]dataModel, 0, len(results))
	for _, r := range results {
		m := dataModel{JobResult: *r}
		if r.Finetune.Epochs == 0 && r.MACs[1] < r.MACs[0] {
			m.Warnings = []planner.Warning{planner.UnrepairedWarning(float64(r.MACs[0]) / float64(max(r.MACs[1], 1)))}
		}
		out = append(out, m)
	}
	return out
}

func (a *app) dataModelTable(results []*metatrain.JobResult, folder string) error {
	if a.json {
		return a.printJSON(dataModels(results))
	}
	for _, m := range dataModels(results) {
		if len(m.Warnings) > 0 {
			defer a.warn(m.Warnings)
			break // the same holds for the others
		}
	}
	if a.quiet {
		return nil
	}
	t := a.table("data model", "trained", "pruned and finetuned", "test", "seconds")
	percent := func(s *train.Score) string {
		if s == nil {
			return ""
		}
		return fmt.Sprintf("%.2f %%", 100*s.Accuracy)
	}
	for _, r := range results {
		t.AppendRow(table.Row{filepath.Join(folder, r.Name()), percent(r.Trained), percent(r.Tuned), percent(r.Test), fmt.Sprintf("%.0f", r.Seconds)})
	}
	t.Render()
	return nil
}
