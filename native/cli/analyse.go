package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/analyse"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/cobra"
)

// analyseFlags are the options of analyse.
type analyseFlags struct {
	data    dataFlags
	backend string
	metanet metanetFlags
	rewrite bool
	plot    string
}

func (a *app) analyseCommand() *cobra.Command {
	f := &analyseFlags{}
	c := &cobra.Command{
		Use:   "analyse MODEL",
		Short: "Measure norms, correlation, effective rank and sensitivity of a model's channels, before and after a metanetwork",
		Long: `Describe each group of channels: how far their L2 importance spreads, how similar the filters are, how many directions a layer's matrix uses and, with labelled images, how much the loss depends on its
channels (Taylor) and whether L2 ranks them alike. With a metanetwork, the same is shown for the weights that it makes.`,
		Example: `  metaprune analyse model.onnx
  metaprune analyse model.onnx --data fashion-mnist --limit 1000 --plot model.svg
  metaprune analyse model.onnx --rewritten --metanet metanet.safetensors --plot before-after.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.unused(c); err != nil {
				return err
			}
			return a.analyse(c.Context(), args[0], f)
		},
	}
	s := c.Flags()
	f.data.add(s, 100)
	backendFlag(s, &f.backend)
	f.metanet.add(s)
	s.BoolVar(&f.rewrite, "rewritten", false, "describe the weights that the metanetwork makes, too")
	s.StringVar(&f.plot, "plot", "", "draw the measures over the groups to this file (.svg)")
	return c
}

func (a *app) analyse(ctx context.Context, path string, f *analyseFlags) error {
	s, closeModel, err := a.open(path, f.data.inputs...)
	if err != nil {
		return err
	}
	defer closeModel()
	files := a.claims()
	files.model(path, "the model", s.ONNX)
	files.reads(f.metanet.file, "the metanetwork")
	files.data(&f.data, &repairFlags{})
	files.writes(f.plot, "the drawing")
	if err := files.check(); err != nil {
		return err
	}
	versions := []analyse.Version{{Name: "the model"}}
	if versions[0].Groups, err = a.described(ctx, s, f); err != nil {
		return err
	}
	if f.rewrite || f.metanet.file != "" {
		p, err := a.prepareMetanet(ctx, s, "metanet", "metanet", &f.metanet)
		if err != nil {
			return err
		}
		groups, err := a.described(ctx, p.Model, f)
		if err != nil {
			return err
		}
		versions = append(versions, analyse.Version{Name: "after the metanetwork", Groups: groups})
	}
	if f.plot != "" {
		if err := a.save(f.plot, func(w io.Writer) error { return analyse.Draw(w, versions) }); err != nil {
			return err
		}
	}
	a = a.beside(f.plot)
	if a.json {
		return a.printJSON(versions)
	}
	for _, v := range versions {
		a.analysed(v)
	}
	return nil
}

// described measures one version of a model; labelled images give Taylor's part.
func (a *app) described(ctx context.Context, s *prune.Model, f *analyseFlags) ([]analyse.Group, error) {
	groups, err := analyse.Weights(s.Analysis, nil)
	if err != nil || f.data.spec == "" && f.data.images == "" {
		return groups, err
	}
	b, err := xla.Open(f.backend)
	if err != nil {
		return nil, err
	}
	defer b.Finalize()
	splits, err := f.data.open(s.ONNX)
	if err != nil {
		return nil, err
	}
	set := splits.Train
	if set == nil {
		set = splits.Test
	}
	if f.data.limit > 0 {
		set = set.Shuffled(min(f.data.limit, set.N), 0)
	}
	if set.Labels == nil {
		return nil, fmt.Errorf("%s has no labels, which Taylor sensitivity needs", set.Name)
	}
	scores, err := taylor(ctx, b, s, set, f.data.batch)
	if err != nil {
		return nil, err
	}
	return groups, analyse.Add(s.Analysis, groups, scores)
}

func (a *app) analysed(v analyse.Version) {
	if a.quiet {
		return
	}
	t := a.table("id", "group", "channels", "L2 spread", "least", "correlation", "effective rank", "Taylor", "L2 ranks alike")
	t.SetTitle(v.Name)
	t.SetColumnConfigs(rightAligned(3, 4, 5, 6, 7, 8, 9))
	number := func(v *float64, format string) string {
		if v == nil {
			return ""
		}
		return fmt.Sprintf(format, *v)
	}
	for _, g := range v.Groups {
		correlation, rank := 0.0, 0.0
		for _, l := range g.Layers {
			correlation, rank = correlation+l.Correlation/float64(len(g.Layers)), rank+l.Rank/float64(len(g.Layers))
		}
		t.AppendRow(table.Row{g.ID, g.Name, g.Units, fmt.Sprintf("%.3f", g.Spread), fmt.Sprintf("%.3f", g.Least), fmt.Sprintf("%.3f", correlation), fmt.Sprintf("%.0f %%", 100*rank), number(g.Taylor, "%.4f"), number(g.Agrees, "%+.2f")})
	}
	t.Render()
}
