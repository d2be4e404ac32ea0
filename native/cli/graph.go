package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/draw"
	"github.com/metaprune/metaprune/prune"
	"github.com/spf13/cobra"
)

func (a *app) graphCommand() *cobra.Command {
	var scheme, out, format string
	var inputs []string
	c := &cobra.Command{
		Use:   "graph MODEL",
		Short: "Export the parameter graph, or a picture of layers and groups",
		Long: `Write the model as the graph that a metanetwork reads: a picture of layers and groups (.svg), every node and edge with its features (.json, .graphml),
or the explicit graph that metanet forward and PyTorch Geometric read (.safetensors: node_in, edge_index, edge_in or edge_in_0, edge_in_1, ...).`,
		Example: `  metaprune graph model.onnx -o model.svg
  metaprune graph model.onnx -o graph.graphml
  metaprune graph model.onnx --scheme reference-cnn -o graph.safetensors`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(inputs) > 0 {
				return &usageError{"--input", "nothing", inputs[0], "--input: sizes of inputs are what MACs are counted at, and a graph holds no MACs: leave it out (inspect, explain and prune take it)"}
			}
			if format == "" {
				format = strings.TrimPrefix(strings.ToLower(filepath.Ext(out)), ".")
			}
			sc, err := graphcodec.SchemeByName(scheme)
			if err != nil {
				return fmt.Errorf("--scheme: %w", err)
			}
			s, closeModel, err := a.open(args[0])
			if err != nil {
				return err
			}
			defer closeModel()
			files := a.claims()
			files.model(args[0], "the model", s.ONNX)
			files.writes(out, "the graph")
			if err := files.check(); err != nil {
				return err
			}
			n, err := graphcodec.Encode(s.Analysis, sc)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return a.writeGraph(n, filepath.Base(args[0]), out, format)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file for the graph, - for standard output")
	c.Flags().StringVar(&format, "format", "", "svg, json, graphml or safetensors; without it by the output's extension")
	c.Flags().StringVar(&scheme, "scheme", graphcodec.Universal.Name, "features: universal-1 or reference-cnn")
	inputFlag(c.Flags(), &inputs)
	_ = c.Flags().MarkHidden("input")
	oneOf(c.Flags(), "format", "svg", "json", "graphml", "safetensors")
	oneOf(c.Flags(), "scheme", graphcodec.Universal.Name, graphcodec.ReferenceCNN.Name)
	_ = c.MarkFlagRequired("output")
	return c
}

// graphReport is what graph prints with --json.
type graphReport struct {
	File   string `json:"file"`
	Layers int    `json:"layers"`
	Nodes  int    `json:"nodes"`
	Edges  int    `json:"edges"`
	Blocks int    `json:"blocks"`
}

func (a *app) writeGraph(n *graphcodec.Network, title, out, format string) error {
	write, ok := map[string]func(w io.Writer) error{
		"svg":     func(w io.Writer) error { return draw.WriteSVG(w, n, title) },
		"json":    n.WriteJSON,
		"graphml": n.WriteGraphML,
		"safetensors": func(w io.Writer) error {
			f, err := prune.ExplicitFile(n)
			if err == nil {
				_, err = f.WriteTo(w)
			}
			return err
		},
	}[format]
	if !ok {
		return fmt.Errorf("--format %q: want svg, json, graphml or safetensors", format)
	}
	if err := a.save(out, write); err != nil {
		return err
	}
	if a.json {
		return a.beside(out).printJSON(graphReport{out, len(n.Layers), n.N, n.Edges(), len(n.Blocks)})
	}
	if a.quiet || toStdout(out) {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "%s: %d layers, %d nodes, %d edges in %d blocks\n", out, len(n.Layers), n.N, n.Edges(), len(n.Blocks))
	return err
}
