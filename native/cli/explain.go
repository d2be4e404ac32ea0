package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/draw"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/spf13/cobra"
)

// explanation is what explain says of one group.
type explanation struct {
	ID      string            `json:"id,omitempty"`    // of the group, as Group
	Layer   string            `json:"layer,omitempty"` // what belongs to no group
	Group   string            `json:"group,omitempty"`
	Units   int               `json:"units"`
	MACs    int64             `json:"macs"` // of all layers that work on the group's channels
	Frozen  string            `json:"frozen,omitempty"`
	Node    string            `json:"frozen_by,omitempty"`
	Members []explainedMember `json:"members"`
	Path    []coupling.Step   `json:"path"`
}

type explainedMember struct {
	Tensor string `json:"tensor"`
	Layer  string `json:"node,omitempty"` // that reads it as its weight
	Axis   int    `json:"axis"`
	Role   string `json:"role"`
}

func (a *app) explainCommand() *cobra.Command {
	var draw, inputs []string
	c := &cobra.Command{
		Use:   "explain MODEL LAYER",
		Short: "Show why a layer's channels are coupled with other layers, or cannot be pruned",
		Long: `For every group of channels that a layer belongs to, list the slices that are removed together, the operators that couple them, and the operator because of which they cannot be pruned.
LAYER is a node path, a tensor, or the ID or name of a group (metaprune inspect --groups lists them); a pattern such as 'layer1.*' matches several.
A layer often belongs to several groups: its input channels, its output channels, heads, channels per head. --draw draws all of them, one below the other.`,
		Example: `  metaprune explain model.onnx layer1.0.conv1.weight
  metaprune explain model.onnx '/layer2/layer2.0/conv2/Conv' --draw trunk.svg
  metaprune explain model.onnx g12
  metaprune explain model.onnx 'head.*' --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(args[0], args[1], draw, inputs) },
	}
	inputFlag(c.Flags(), &inputs)
	c.Flags().StringSliceVar(&draw, "draw", nil, "draw the coupling to these files (.svg, or .dot for Graphviz)")
	return c
}

func (a *app) explain(model, layer string, draw, inputs []string) error {
	s, closeModel, err := a.open(model, inputs...)
	if err != nil {
		return err
	}
	defer closeModel()
	files := a.claims()
	files.model(model, "the model", s.ONNX)
	for _, file := range draw {
		files.writes(file, "the drawing")
	}
	if err := files.check(); err != nil {
		return err
	}
	groups, err := s.Analysis.Matching(layer)
	switch {
	case err != nil:
		return err
	case len(groups) == 0 && !s.Analysis.Has(layer):
		return planner.NoSuchName("LAYER", layer, s.Analysis.Names())
	}
	var all []explanation
	if len(groups) == 0 {
		all = append(all, explanation{Layer: layer, Frozen: s.Analysis.Unfollowed(layer), Members: []explainedMember{}, Path: []coupling.Step{}})
	}
	for _, i := range groups {
		g := &s.Analysis.Groups[i]
		e := explanation{ID: g.ID, Group: g.Name, Units: len(g.Units), MACs: s.Analysis.GroupMACs(g), Frozen: g.Frozen, Node: g.Node, Path: s.Analysis.Path(i)}
		for _, m := range g.Members {
			e.Members = append(e.Members, explainedMember{m.Const.Name, s.Analysis.LayerOf(m.Const), m.Axis, m.Role.String()})
		}
		all = append(all, e)
	}
	for _, file := range draw {
		if err := a.drawExplained(file, all); err != nil {
			return err
		}
	}
	a = a.beside(draw...)
	if a.json {
		return a.printJSON(all)
	}
	for _, e := range all {
		a.explained(e)
	}
	if !a.quiet && len(groups) > 0 {
		a.printCounted(s.Analysis.CountedAt())
	}
	return nil
}

// drawExplained draws the groups one below the other.
func (a *app) drawExplained(file string, all []explanation) error {
	write := draw.Paths
	switch strings.ToLower(filepath.Ext(file)) {
	case ".svg":
	case ".dot", ".gv":
		write = draw.DotPaths
	default:
		return fmt.Errorf("--draw %s: want a name that ends in .svg or .dot", file)
	}
	var paths []draw.Drawing
	for _, e := range all {
		paths = append(paths, draw.Drawing{Title: e.title(), Steps: e.Path})
	}
	return a.save(file, func(w io.Writer) error { return write(w, paths...) })
}

func (e *explanation) title() string {
	if e.Layer != "" {
		return fmt.Sprintf("%s is in no group and cannot be pruned: %s", e.Layer, e.Frozen)
	}
	return fmt.Sprintf("%s, %s: %d channels", e.ID, e.Group, e.Units)
}

func (a *app) explained(e explanation) {
	if a.quiet {
		return
	}
	if e.Layer != "" {
		fmt.Fprintln(a.out, plain(e.title()))
		return
	}
	what := "which are removed one by one, each with its slices of all these tensors"
	if e.Frozen != "" {
		what = "which cannot be pruned: " + plain(e.Frozen)
	}
	fmt.Fprintf(a.out, "%s, %s\nlayers on them: %s MACs\n", plain(e.title()), what, count(e.MACs))
	t := a.table("tensor", "axis", "is its", "layer")
	t.SetColumnConfigs(rightAligned(2))
	for _, m := range e.Members {
		t.AppendRow(table.Row{m.Tensor, m.Axis, m.Role, m.Layer})
	}
	t.Render()
	t = a.table("operator", "node", "does", "")
	for _, s := range e.Path {
		t.AppendRow(table.Row{s.Op, s.Node, s.Does, s.Why})
	}
	t.Render()
}
