package cli

import (
	"cmp"
	"context"
	_ "embed" // the tasks
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

//go:embed tasks.json
var tasksFile []byte

// task is an experiment of the paper (https://arxiv.org/abs/2506.12041, section 5) as commands of this program.
type task struct {
	About      string     `json:"about"`
	Data       string     `json:"data"` // what --data is by default; empty where it has to be named
	Input      string     `json:"input"`
	Classes    int        `json:"classes"`
	Network    string     `json:"network"`
	NeedsModel bool       `json:"needs_model"`
	Cost       string     `json:"cost"`
	Steps      [][]string `json:"steps"`
}

type taskFlags struct {
	data, out, model, backend string
	smoke, dry                bool
}

func tasks() (map[string]*task, error) {
	out := map[string]*task{}
	return out, json.Unmarshal(tasksFile, &out)
}

func (a *app) taskCommand() *cobra.Command {
	f := &taskFlags{}
	c := &cobra.Command{
		Use:   "task [NAME]",
		Short: "Run an experiment of the paper from end to end",
		Long: `Run data models, training, meta-training and the pruning pipeline with the settings of one of the paper's experiments. A run can be interrupted; the same command continues it. Without a name, list the experiments with what
they cost. --smoke runs the same commands with very few epochs, images and channels, to test them.`,
		Example: `  metaprune task
  metaprune task resnet56-cifar10 -o run
  metaprune task resnet50-imagenet --model resnet50.onnx --data /data/imagenet -o run
  metaprune task resnet56-cifar10 --smoke -o try`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := unusedIn(c).only(len(args) == 0, "without a name the tasks are listed").err; err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listTasks()
			}
			return a.task(c.Context(), args[0], f)
		},
	}
	s := c.Flags()
	s.StringVar(&f.data, "data", "", "data set, as for train (default: the task's)")
	s.StringVar(&f.model, "model", "", "trained network, for tasks that start from one")
	s.StringVar(&f.backend, "backend", "", "xla:cuda, xla:cpu or go (default: the first of them that works here)")
	oneOf(s, "backend", xla.Backends...)
	s.BoolVar(&f.smoke, "smoke", false, "run with very few epochs, images and channels, to test the commands")
	s.BoolVar(&f.dry, "dry-run", false, "print the commands and run none")
	s.StringVarP(&f.out, "output", "o", "", "folder (default: the task's name)")
	return c
}

func (a *app) listTasks() error {
	all, err := tasks()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(all)
	}
	t := a.table("task", "what", "expected cost")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: 50}, {Number: 3, WidthMax: 60}})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.AppendRow(table.Row{name, all[name].About, all[name].Cost})
	}
	t.Render()
	return nil
}

// smoke replaces what a task's flags say so that it ends in seconds.
var smoke = map[string]map[string]string{
	"datamodels": {"--seeds": "1", "--epochs": "1", "--finetune-epochs": "1", "--limit": "48", "--batch": "16", "--widths": "0.125"},
	"new":        {"--width": "0.125"},
	"train":      {"--epochs": "1", "--limit": "48", "--batch": "16"},
	"metatrain":  {"--hidden": "4", "--layers": "2", "--steps": "2", "--images-per-step": "16", "--batch": "16"},
	"pipeline":   {"--first-epochs": "1", "--between-epochs": "1", "--last-epochs": "1", "--steps": "2", "--limit": "48", "--batch": "16"},
}

// commands are a task's steps with everything filled in.
func (t *task) commands(name string, f *taskFlags) ([][]string, error) {
	data, out := f.data, f.out
	if data == "" {
		data = t.Data
	}
	if out == "" {
		out = name
	}
	switch {
	case data == "":
		return nil, fmt.Errorf("task %s: name the images with --data, a folder with a folder for each class", name)
	case t.NeedsModel && f.model == "":
		return nil, fmt.Errorf("task %s starts from a trained network: name its ONNX file with --model", name)
	case !t.NeedsModel && f.model != "":
		return nil, fmt.Errorf("task %s trains its own network; omit --model", name)
	}
	var all [][]string
	for _, step := range t.Steps {
		args := slices.Clone(step)
		for i := range args {
			args[i] = strings.NewReplacer("{out}", filepath.ToSlash(out), "{model}", f.model).Replace(args[i])
		}
		shape := map[string]string{"datamodels": "--input-shape", "new": "--input"}[args[0]]
		if shape != "" {
			args = append(args, shape, t.Input, "--classes", fmt.Sprint(t.Classes))
		}
		if args[0] != "new" {
			args = append(args, "--data", data)
			if f.backend != "" {
				args = append(args, "--backend", f.backend)
			}
		}
		if f.smoke {
			args = replaced(args, smoke[args[0]])
		}
		all = append(all, args)
	}
	return all, nil
}

// replaced gives flags other values, and adds those that are not there.
func replaced(args []string, values map[string]string) []string {
	for _, flag := range slices.Sorted(maps.Keys(values)) {
		if at := slices.Index(args, flag); at >= 0 {
			args[at+1] = values[flag]
		} else {
			args = append(args, flag, values[flag])
		}
	}
	return args
}

func (a *app) task(ctx context.Context, name string, f *taskFlags) error {
	all, err := tasks()
	if err != nil {
		return err
	}
	t := all[name]
	if t == nil {
		return planner.OneOf("task", name, slices.Sorted(maps.Keys(all))...)
	}
	commands, err := t.commands(name, f)
	if err != nil {
		return err
	}
	if !f.dry {
		if err := os.MkdirAll(cmp.Or(f.out, name), 0o755); err != nil {
			return err
		}
	}
	for i, args := range commands {
		if !a.quiet || f.dry {
			fmt.Fprintf(a.err, "%d/%d  metaprune %s\n", i+1, len(commands), strings.Join(args, " "))
		}
		if f.dry {
			continue
		}
		own := &app{in: a.in, out: a.out, err: a.err, ending: a.ending, stages: a.stages}
		if a.json && i < len(commands)-1 {
			own.out = a.err // the last one's object is the task's
		}
		root := own.root()
		if a.quiet {
			args = append(args, "-q")
		}
		if a.json {
			args = append(args, "--json")
		}
		root.SetArgs(args)
		if err := root.ExecuteContext(ctx); err != nil {
			return errors.Join(fmt.Errorf("metaprune %s", strings.Join(args, " ")), err)
		}
	}
	return nil
}
