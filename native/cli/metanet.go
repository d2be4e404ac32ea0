package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) metanetCommand() *cobra.Command {
	c := &cobra.Command{Use: "metanet", Short: "Show and run graph metanetworks"}
	c.AddCommand(a.metanetInfoCommand(), a.metanetForwardCommand(), a.metanetConvertCommand(), a.metanetNewCommand())
	return c
}

// metanetFlags say which metanetwork to use and how much memory it may have.
type metanetFlags struct{ file, memory string }

func (f *metanetFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.file, "metanet", "", "metanetwork (safetensors) of --criterion metanet (default: the built-in one, which was trained for scores; see metaprune metanet info)")
	defer func() { takes(fl, bytesFromZero(), "memory") }()
	fl.StringVar(&f.memory, "memory", "", "memory for the metanetwork's cached edge states, such as 256MB; the others are computed again, which takes about as long")
}

func (f *metanetFlags) load() (*prune.Metanet, error) {
	if f.file == "" {
		return prune.LoadMetanet(nil)
	}
	data, err := os.ReadFile(f.file)
	if err != nil {
		return nil, err
	}
	m, err := prune.LoadMetanet(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.file, err)
	}
	return m, nil
}

// prepareMetanet readies a model for a criterion, with the metanetwork where it is metanet.
func (a *app) prepareMetanet(ctx context.Context, s *prune.Model, criterion, weights string, f *metanetFlags) (*prune.Prepared, error) {
	if criterion != "metanet" {
		return s.Prepare(ctx, criterion, weights, nil, metanet.Options{})
	}
	m, err := f.load()
	if err != nil {
		return nil, err
	}
	o, err := a.runOptions(f.memory, m.Network.Layers+1)
	if err != nil {
		return nil, err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(100) // new weights come and go on the heap
	}
	return s.Prepare(ctx, criterion, weights, m, o)
}

// prepareReplay readies a model for a plan.
func (a *app) prepareReplay(ctx context.Context, s *prune.Model, p *planner.Plan, f *metanetFlags) (*prune.Prepared, error) {
	var m *prune.Metanet
	o := metanet.Options{}
	if p.Weights == "metanet" {
		var err error
		if m, err = f.load(); err != nil {
			return nil, err
		}
		if o, err = a.runOptions(f.memory, m.Network.Layers+1); err != nil {
			return nil, err
		}
	}
	return s.PrepareReplay(ctx, p, m, o)
}

func readSafetensors(path string) (*safetensors.File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func readMetanet(path string) (*metanet.Network, error) {
	f, err := readSafetensors(path)
	if err != nil {
		return nil, err
	}
	n, err := metanet.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// metanetInfo is what info prints with --json.
type metanetInfo struct {
	SHA256     string            `json:"sha256"`
	Hidden     int               `json:"hidden"`
	Layers     int               `json:"layers"`
	NodeIn     int               `json:"node_features"`
	EdgeIn     []int             `json:"edge_features"`
	Parameters int               `json:"parameters"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

func (a *app) metanetInfoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info [W.safetensors]",
		Short: "Show the sizes of a metanetwork and how it was made (default: the built-in one)",
		Example: `  metaprune metanet info
  metaprune metanet info w.safetensors`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f := metanetFlags{}
			if len(args) > 0 {
				f.file = args[0]
			}
			m, err := f.load()
			if err != nil {
				return err
			}
			n := m.Network
			i := metanetInfo{m.SHA256, n.Hidden, n.Layers, n.NodeIn, n.EdgeIn, n.Parameters(), n.Metadata}
			if a.json {
				return a.printJSON(i)
			}
			t := a.table("metanetwork", cmp.Or(f.file, "in the program"))
			t.AppendRows([]table.Row{{"SHA-256", i.SHA256}, {"hidden", i.Hidden}, {"layers", i.Layers}, {"node features", i.NodeIn}, {"edge features", fmt.Sprint(i.EdgeIn)}, {"parameters", i.Parameters}})
			for _, k := range slices.Sorted(maps.Keys(i.Metadata)) {
				t.AppendRow(table.Row{k, shortened(i.Metadata[k])})
			}
			t.Render()
			return nil
		},
	}
}

func (a *app) metanetForwardCommand() *cobra.Command {
	var weights, out, memory string
	c := &cobra.Command{
		Use:   "forward GRAPH.safetensors",
		Short: "Run a metanetwork on an explicit graph",
		Long: `Run a metanetwork on an explicit graph: node_in [N, F], edge_index [2, E] (int32; row 0 output, row 1 input channels) and edge_in [E, k], or edge_in_0, edge_in_1, ... per edge
type. Write node_out and edge_out in the same form. The residual ratios are 0.01, or node_res_ratio and edge_res_ratio of the graph's metadata.`,
		Example: "  metaprune metanet forward graph.safetensors --metanet w.safetensors -o out.safetensors --memory 256MB",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			files := a.claims()
			files.reads(weights, "the metanetwork")
			files.reads(args[0], "the graph")
			files.writes(out, "the new graph")
			if err := files.check(); err != nil {
				return err
			}
			n, err := readMetanet(weights)
			if err != nil {
				return err
			}
			f, err := readSafetensors(args[0])
			if err != nil {
				return err
			}
			g, err := metanet.GraphFromFile(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			o, err := a.runOptions(memory, n.Layers+1)
			if err != nil {
				return err
			}
			if o.NodeRatio, o.EdgeRatio, err = metanet.FileRatios(f); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			start := time.Now()
			result, err := n.Forward(c.Context(), g, o)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			took := time.Since(start)
			if err := a.writeSafetensors(out, result.File(n.EdgeIn)); err != nil {
				return err
			}
			return a.printForward(out, g, took)
		},
	}
	c.Flags().StringVar(&weights, "metanet", "", "the metanetwork's weights (safetensors)")
	c.Flags().StringVarP(&out, "output", "o", "", "file for the new graph (safetensors)")
	c.Flags().StringVar(&memory, "memory", "", "memory for cached edge states, such as 256MB; the others are computed again, which takes about as long")
	takes(c.Flags(), bytesFromZero(), "memory")
	_ = c.MarkFlagRequired("metanet")
	_ = c.MarkFlagRequired("output")
	return c
}

// forwardReport is what metanet forward prints with --json.
type forwardReport struct {
	Output  string  `json:"output"`
	Nodes   int     `json:"nodes"`
	Edges   int     `json:"edges"`
	Seconds float64 `json:"seconds"`
}

// fileReport is what commands print with --json that do no more than write a file.
type fileReport struct {
	File string `json:"file"`
}

func (a *app) printFile(out string) error {
	if !a.json {
		return nil
	}
	return a.beside(out).printJSON(fileReport{out})
}

func (a *app) printForward(out string, g *metanet.Graph, took time.Duration) error {
	edges := 0
	for i := range g.Blocks {
		edges += g.Blocks[i].Edges()
	}
	a = a.beside(out)
	if a.json {
		return a.printJSON(forwardReport{out, g.N, edges, took.Seconds()})
	}
	if a.quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "%s: %d nodes, %d edges, %.3f s\n", out, g.N, edges, took.Seconds())
	return err
}

// runOptions are the options of a pass in so many steps, which say how far they are.
func (a *app) runOptions(memory string, steps int) (metanet.Options, error) {
	o := metanet.Options{}
	if memory != "" {
		bytes, err := humanize.ParseBytes(memory)
		if err != nil || bytes > 1<<50 {
			return o, fmt.Errorf("--memory %q: want a size such as 256MB", memory)
		}
		if o.Memory = int64(bytes); bytes == 0 {
			o.Memory = -1
		}
	}
	if a.stages != nil {
		var g *stage
		o.Progress = func(done, _ int) {
			if g == nil {
				g = a.stage("metanetwork")
			}
			if g.set(float64(done), float64(steps)); done >= steps {
				g.end()
				g = nil
			}
		}
	}
	return o, nil
}

func (a *app) metanetConvertCommand() *cobra.Command {
	var scheme, out string
	c := &cobra.Command{
		Use:   "convert CHECKPOINT.safetensors",
		Short: "Convert a checkpoint of the paper's code: write its sizes and feature scheme into it",
		Long: `Write a metanetwork with its sizes, its feature scheme and how it was made as metadata, from weights under the names of the paper's PyTorch code (a state_dict saved with
safetensors.torch.save_file). Unused parameters are omitted. The result runs on ONNX models: prune --criterion metanet --metanet FILE.`,
		Example: "  metaprune metanet convert resnet56.safetensors --scheme reference-cnn -o resnet56-metanet.safetensors",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := graphcodec.SchemeByName(scheme); err != nil {
				return fmt.Errorf("--scheme: %w", err)
			}
			files := a.claims()
			files.reads(args[0], "the checkpoint")
			files.writes(out, "the metanetwork")
			if err := files.check(); err != nil {
				return err
			}
			f, err := readSafetensors(args[0])
			if err != nil {
				return err
			}
			converted, err := metanet.Convert(f, scheme)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			m, err := prune.LoadMetanet(converted.Bytes())
			if err == nil {
				_, err = m.Scheme()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := a.writeSafetensors(out, converted); err != nil {
				return err
			}
			return a.printFile(out)
		},
	}
	c.Flags().StringVar(&scheme, "scheme", graphcodec.ReferenceCNN.Name, "features that it was trained for: reference-cnn or universal-1")
	oneOf(c.Flags(), "scheme", graphcodec.Universal.Name, graphcodec.ReferenceCNN.Name)
	c.Flags().StringVarP(&out, "output", "o", "", "file for the metanetwork (safetensors)")
	_ = c.MarkFlagRequired("output")
	return c
}

func (a *app) metanetNewCommand() *cobra.Command {
	var scheme, out string
	var hidden, layers int
	var seed uint64
	c := &cobra.Command{
		Use:     "new",
		Short:   "Write an untrained metanetwork",
		Long:    "Write an untrained metanetwork. Its decoders end in zeros: weights pass unchanged until it is trained.",
		Example: "  metaprune metanet new --hidden 32 --layers 4 --seed 1 -o untrained.safetensors",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := graphcodec.SchemeByName(scheme)
			if err != nil {
				return fmt.Errorf("--scheme: %w", err)
			}
			files := a.claims()
			files.writes(out, "the metanetwork")
			if err := files.check(); err != nil {
				return err
			}
			if err := a.writeSafetensors(out, metanet.New(prune.Sizes(s, hidden, layers), seed)); err != nil {
				return err
			}
			return a.printFile(out)
		},
	}
	c.Flags().StringVar(&scheme, "scheme", graphcodec.Universal.Name, "features: universal-1 or reference-cnn")
	c.Flags().IntVar(&hidden, "hidden", 16, "hidden channels")
	c.Flags().IntVar(&layers, "layers", 4, "message-passing layers")
	oneOf(c.Flags(), "scheme", graphcodec.Universal.Name, graphcodec.ReferenceCNN.Name)
	takes(c.Flags(), whole(1, 4096), "hidden")
	takes(c.Flags(), whole(1, 1024), "layers")
	c.Flags().Uint64Var(&seed, "seed", 0, "seed of the initial weights")
	c.Flags().StringVarP(&out, "output", "o", "", "file for the metanetwork (safetensors)")
	_ = c.MarkFlagRequired("output")
	return c
}

func (a *app) writeSafetensors(path string, f *safetensors.File) error {
	return a.save(path, func(w io.Writer) error {
		_, err := f.WriteTo(w)
		return err
	})
}

// shortened is what fits into a table of a long record.
func shortened(text string) string {
	const most = 90
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most]) + "… (--json has all of it)"
}
