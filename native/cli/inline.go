package cli

import (
	"errors"
	"fmt"

	"github.com/metaprune/metaprune/prune"
	"github.com/spf13/cobra"
)

func (a *app) inlineCommand() *cobra.Command {
	var out string
	var force bool
	c := &cobra.Command{
		Use:   "inline MODEL",
		Short: "Replace function calls and decided Ifs by their nodes, and move weights out of other Ifs",
		Long: `Some exporters (jax2onnx, PyTorch's with modules as functions) put layers with their weights into functions of the model. A plan has no name for these weights, so they cannot be pruned. In the graph
they can be pruned like any other layer. Weights inside the branches of an If whose condition is unknown are moved to the graph, where the branches read them. The If itself is kept,
so only the taken branch is computed, as before. The model's outputs do not change.`,
		Example: `  metaprune inline model.onnx
  metaprune prune model.inlined.onnx --speed-up 2 -o smaller.onnx`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.inline(args[0], out, force) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file for the model, - for standard output (default: NAME.inlined.onnx beside MODEL)")
	c.Flags().BoolVar(&force, "force", false, forceHelp)
	return c
}

// inlined is what inline prints with --json.
type inlined struct {
	Before int `json:"nodes_before"`
	After  int `json:"nodes"`
	Moved  int `json:"tensors_moved"` // out of the branches of Ifs
	Stay   int `json:"functions"`     // that stay, for some are called in ways that cannot be written out
}

func (a *app) inline(path, out string, force bool) error {
	var err error
	if out == "" {
		if out, err = beside(path, ".inlined.onnx", force); err != nil {
			return err
		}
	}
	s, closeModel, err := a.open(path)
	if err != nil {
		return err
	}
	flat := s.Analysis.Flat()
	files := a.claims()
	files.model(path, "the model", s.ONNX)
	files.writesModel(out, "the inlined model", flat.HasExternal(), force)
	if err := files.check(); err != nil {
		return errors.Join(err, closeModel())
	}
	r := inlined{len(s.ONNX.Graph.Nodes), len(flat.Graph.Nodes), len(flat.Graph.Initializers) - len(s.ONNX.Graph.Initializers), len(flat.Functions)}
	if _, err = prune.FromModel(flat, nil); err != nil {
		err = fmt.Errorf("%s: the result would be inconsistent: %w", path, err)
	} else {
		err = a.write(out, flat, flat.HasExternal(), force)
	}
	if err = errors.Join(err, closeModel()); err != nil {
		return err
	}
	if a.json {
		return a.beside(out).printJSON(r)
	}
	if a.quiet {
		return nil
	}
	_, err = fmt.Fprintln(a.beside(out).out, r.sentence(out))
	return err
}

func (r inlined) sentence(out string) string {
	s := fmt.Sprintf("%s: %d nodes, before %d", out, r.After, r.Before)
	if r.Moved > 0 {
		s += fmt.Sprintf("; %d weights were moved out of the branches of Ifs", r.Moved)
	}
	if r.Stay > 0 {
		s += fmt.Sprintf("; the model's %d functions are kept, because some calls cannot be replaced by their nodes", r.Stay)
	}
	return s
}
