package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func (a *app) metanetCommand() *cobra.Command {
	c := &cobra.Command{Use: "metanet", Short: "Look into and run graph metanetworks"}
	c.AddCommand(a.metanetInfoCommand(), a.metanetForwardCommand())
	return c
}

func readSafetensors(path string) (*metanet.File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := metanet.ParseSafetensors(data)
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
	Hidden     int               `json:"hidden"`
	Layers     int               `json:"layers"`
	NodeIn     int               `json:"node_features"`
	EdgeIn     []int             `json:"edge_features"`
	Parameters int               `json:"parameters"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

func (a *app) metanetInfoCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "info W.safetensors",
		Short:   "Show the sizes and the record of a metanetwork",
		Example: "  metaprune metanet info w.safetensors",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := readMetanet(args[0])
			if err != nil {
				return err
			}
			i := metanetInfo{n.Hidden, n.Layers, n.NodeIn, n.EdgeIn, n.Parameters(), n.Metadata}
			if a.json {
				return a.printJSON(i)
			}
			t := a.table("metanetwork", args[0])
			t.AppendRows([]table.Row{{"hidden", i.Hidden}, {"layers", i.Layers}, {"node features", i.NodeIn}, {"edge features", fmt.Sprint(i.EdgeIn)}, {"parameters", i.Parameters}})
			for k, v := range i.Metadata {
				t.AppendRow(table.Row{k, v})
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
type. Writes node_out and edge_out likewise. The residual ratios are 0.01, or node_res_ratio and edge_res_ratio of the graph's metadata.`,
		Example: "  metaprune metanet forward graph.safetensors --metanet w.safetensors -o out.safetensors --memory 256MB",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
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
			o, err := a.forwardOptions(f, memory, n.Layers+1)
			if err != nil {
				return err
			}
			result, err := n.Forward(c.Context(), g, o)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return onnxio.WriteFile(out, func(w io.Writer) error {
				_, err := result.File(n.EdgeIn).WriteTo(w)
				return err
			})
		},
	}
	c.Flags().StringVar(&weights, "metanet", "", "the metanetwork's weights (safetensors)")
	c.Flags().StringVarP(&out, "output", "o", "", "where the new graph goes (safetensors)")
	c.Flags().StringVar(&memory, "memory", "256MB", "memory for cached edge states; the rest is recomputed")
	_ = c.MarkFlagRequired("metanet")
	_ = c.MarkFlagRequired("output")
	return c
}

func (a *app) forwardOptions(f *metanet.File, memory string, steps int) (metanet.Options, error) {
	o := metanet.Options{}
	bytes, err := humanize.ParseBytes(memory)
	if err != nil || bytes > 1<<50 {
		return o, fmt.Errorf("--memory %q: want a size such as 256MB", memory)
	}
	if o.Memory = int64(bytes); bytes == 0 {
		o.Memory = -1
	}
	for key, at := range map[string]*float64{"node_res_ratio": &o.NodeRatio, "edge_res_ratio": &o.EdgeRatio} {
		if s := f.Metadata[key]; s != "" {
			if *at, err = strconv.ParseFloat(s, 64); err != nil {
				return o, fmt.Errorf("metadata %s %q is no number", key, s)
			}
		}
	}
	if !a.quiet && isTerminal(a.err) {
		bar := progressbar.NewOptions(steps, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription("layers"), progressbar.OptionClearOnFinish())
		o.Progress = func(done, _ int) { _ = bar.Set(done) }
	}
	return o, nil
}
