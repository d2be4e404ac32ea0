package cli

import (
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/spf13/cobra"
)

// explanation is what explain says of one group.
type explanation struct {
	Group   string            `json:"group"`
	Units   int               `json:"units"`
	Frozen  string            `json:"frozen,omitempty"`
	Node    string            `json:"frozen_by,omitempty"`
	Members []explainedMember `json:"members"`
	Path    []graphcodec.Step `json:"path"`
}

type explainedMember struct {
	Tensor string `json:"tensor"`
	Axis   int    `json:"axis"`
	Role   string `json:"role"`
}

func (a *app) explainCommand() *cobra.Command {
	var draw []string
	c := &cobra.Command{
		Use:   "explain MODEL LAYER",
		Short: "Why a layer's channels hang together with others, or stay",
		Long: `Says of every group of channels that a layer belongs to what leaves together, through which operators it is coupled, and which one froze it. LAYER is a tensor, a group or a node; a pattern such as 'layer1.*' stands for all
tensors that it fits.`,
		Example: `  metaprune explain model.onnx layer1.0.conv1.weight
  metaprune explain model.onnx '/layer2/layer2.0/conv2/Conv' --draw trunk.svg
  metaprune explain model.onnx 'head.*' --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(args[0], args[1], draw) },
	}
	c.Flags().StringSliceVar(&draw, "draw", nil, "draw the coupling to these files (.svg, or .dot for Graphviz)")
	return c
}

func (a *app) explain(model, layer string, draw []string) error {
	s, closeModel, err := a.open(model)
	if err != nil {
		return err
	}
	defer closeModel()
	groups := matching(s.Analysis, layer)
	if len(groups) == 0 {
		return fmt.Errorf("%q is no tensor, group or node with channels that are followed; metaprune inspect --groups lists them", layer)
	}
	var all []explanation
	for _, i := range groups {
		g := &s.Analysis.Groups[i]
		e := explanation{Group: g.Name, Units: len(g.Units), Frozen: g.Frozen, Node: g.Node, Path: s.Analysis.Path(i)}
		for _, m := range g.Members {
			e.Members = append(e.Members, explainedMember{m.Const.Name, m.Axis, m.Role.String()})
		}
		all = append(all, e)
	}
	for _, file := range draw {
		if err := drawExplained(file, all); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(all)
	}
	for _, e := range all {
		a.explained(e)
	}
	return nil
}

// matching lists the groups that a name or a pattern stands for.
func matching(an *graphcodec.Analysis, layer string) []int {
	if out := an.GroupsOf(layer); len(out) > 0 {
		return out
	}
	var out []int
	for i := range an.Groups {
		for _, m := range an.Groups[i].Members {
			if ok, _ := path.Match(layer, m.Const.Name); ok {
				out = append(out, i)
				break
			}
		}
	}
	return out
}

// drawExplained draws the groups one below the other.
func drawExplained(file string, all []explanation) error {
	draw := graphcodec.DrawPath
	switch strings.ToLower(filepath.Ext(file)) {
	case ".svg":
	case ".dot", ".gv":
		draw = graphcodec.DotPath
	default:
		return fmt.Errorf("--draw %s: want a name that ends in .svg or .dot", file)
	}
	if len(all) > 1 {
		return fmt.Errorf("--draw %s: %d groups fit; name one of them, such as %q", file, len(all), all[0].Group)
	}
	title := fmt.Sprintf("%s, %d channels", all[0].Group, all[0].Units)
	return onnxio.WriteFile(file, func(w io.Writer) error { return draw(w, title, all[0].Path) })
}

func (a *app) explained(e explanation) {
	if a.quiet {
		return
	}
	fmt.Fprintf(a.out, "%s: %d channels that leave %s\n", plain(e.Group), e.Units, map[bool]string{true: "one by one, each with all its slices in", false: "never: " + plain(e.Frozen)}[e.Frozen == ""])
	t := a.table("tensor", "axis", "is its")
	t.SetColumnConfigs(rightAligned(2))
	for _, m := range e.Members {
		t.AppendRow(table.Row{m.Tensor, m.Axis, m.Role})
	}
	t.Render()
	t = a.table("operator", "node", "does", "")
	for _, s := range e.Path {
		t.AppendRow(table.Row{s.Op, s.Node, s.Does, s.Why})
	}
	t.Render()
}
