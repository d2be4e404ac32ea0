package cli

import (
	"fmt"
	"sort"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/prune"
	"github.com/spf13/cobra"
)

func (a *app) inspectCommand() *cobra.Command {
	var groups, all bool
	var inputs []string
	c := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Show layers, groups and cost, and why a layer cannot be pruned",
		Example: `  metaprune inspect model.onnx
  metaprune inspect model.onnx --groups
  metaprune inspect detector.onnx --input x=1x3x640x640
  metaprune inspect model.onnx --json | jq .macs`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, closeModel, err := a.open(args[0], inputs...)
			if err != nil {
				return err
			}
			defer closeModel()
			r := s.Inspect()
			if a.json {
				return a.printJSON(r)
			}
			a.printReport(args[0], r, groups, all)
			return nil
		},
	}
	c.Flags().BoolVar(&groups, "groups", false, "list the groups with their members")
	inputFlag(c.Flags(), &inputs)
	c.Flags().BoolVar(&all, "all", false, "list every layer, not the twenty most costly")
	return c
}

// table returns an empty table in the house look: rounded on a terminal, plain in a pipe.
func (a *app) table(header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(a.out)
	t.SetStyle(table.StyleRounded)
	if !a.terminal() {
		t.SetStyle(table.StyleLight)
		text.DisableColors()
	}
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	return &fittedTable{Writer: t, width: a.width(), header: header}
}

func rightAligned(columns ...int) []table.ColumnConfig {
	var out []table.ColumnConfig
	for _, n := range columns {
		out = append(out, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignFooter: text.AlignRight, AlignHeader: text.AlignRight})
	}
	return out
}

func count(n int64) string {
	if n < 10000 {
		return fmt.Sprint(n)
	}
	v, unit := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.4g %s", v, unit)
}

func (a *app) printReport(path string, r *prune.Report, groups, all bool) {
	fmt.Fprintf(a.out, "%s\n", path)
	fmt.Fprintf(a.out, "  inputs       %s\n  outputs      %s\n", plain(strings.Join(r.Inputs, ", ")), plain(strings.Join(r.Outputs, ", ")))
	fmt.Fprintf(a.out, "  opset        %s (IR %d, %s)\n", plain(opsets(r.Opset)), r.IRVersion, plain(r.Producer))
	fmt.Fprintf(a.out, "  cost         %sMACs, %sparameters, %s of constants, %s peak activations\n", count(r.MACs), count(r.Params),
		humanize.Bytes(uint64(r.Bytes)), humanize.Bytes(uint64(r.Activations)))
	if r.CountedAt != nil {
		fmt.Fprint(a.out, "  ")
		a.printCounted(r.CountedAt)
	}
	frozen, live := 0, 0
	for _, g := range r.Groups {
		if g.Frozen == "" {
			live++
		} else {
			frozen += g.Units
		}
	}
	fmt.Fprintf(a.out, "  prunable     %d units in %d groups; %d frozen\n", r.Prunable, live, frozen)
	for op, n := range r.Unknown {
		fmt.Fprintf(a.out, "  no rule      %s (%d nodes): channels that it reads or writes cannot be pruned\n", plain(op), n)
	}
	if r.Advice != "" {
		fmt.Fprintf(a.out, "  advice       %s\n", r.Advice)
	}
	if a.quiet {
		return
	}
	a.printLayers(r.Layers, all)
	a.printFrozen(r)
	if groups {
		a.printGroups(r)
	}
}

func opsets(m map[string]int64) string {
	var out []string
	for d, v := range m {
		out = append(out, fmt.Sprintf("%s %d", d, v))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}

func (a *app) printLayers(layers []coupling.LayerCost, all bool) {
	order := append([]coupling.LayerCost(nil), layers...)
	hidden := 0
	if !all && len(order) > 20 {
		sort.SliceStable(order, func(i, j int) bool { return order[i].MACs > order[j].MACs })
		hidden = len(order) - 20
		order = order[:20]
	}
	t := a.table("layer", "operator", "output", "MACs", "parameters")
	t.SetColumnConfigs(rightAligned(4, 5))
	for _, l := range order {
		t.AppendRow(table.Row{l.Node, l.Op, folded(l.Shape), count(l.MACs), count(l.Params)})
	}
	t.Render()
	if hidden > 0 {
		fmt.Fprintf(a.out, "the twenty most costly; %d more with --all\n", hidden)
	}
}

func (a *app) printFrozen(r *prune.Report) {
	t := a.table("id", "frozen", "units", "layers' MACs", "reason")
	t.SetColumnConfigs(append(rightAligned(3, 4), table.ColumnConfig{Number: 5, WidthMax: 70}))
	n := 0
	for _, g := range r.Groups {
		if g.Frozen != "" && !g.NoLayer {
			t.AppendRow(table.Row{g.ID, g.Name, g.Units, count(g.MACs), g.Frozen})
			n++
		}
	}
	if n > 0 {
		t.Render()
	}
}

func (a *app) printGroups(r *prune.Report) {
	t := a.table("id", "group", "units", "layers' MACs", "members")
	t.SetColumnConfigs(append(rightAligned(3, 4), table.ColumnConfig{Number: 5, WidthMax: 80}))
	for _, g := range r.Groups {
		if g.Frozen != "" {
			continue
		}
		var members []string
		for _, m := range g.Members {
			members = append(members, fmt.Sprintf("%s[%d] %s", m.Name, m.Axis, m.Role))
		}
		t.AppendRow(table.Row{g.ID, g.Name, g.Units, count(g.MACs), strings.Join(members, ", ")})
	}
	t.Render()
}

func (a *app) opsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ops",
		Short:   "List the operators that have a rule",
		Long:    "List the operators that have a rule. A model may contain other operators: channels that they read or write cannot be pruned, and the rest of the model can.",
		Example: "  metaprune ops\n  metaprune ops --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ops := op.Operators()
			if a.json {
				return a.printJSON(ops)
			}
			t := a.table("operator", "since opset", "rule")
			for _, o := range ops {
				name := o.Op
				if o.Domain != "" {
					name = o.Domain + "." + o.Op
				}
				t.AppendRow(table.Row{name, o.Since, o.Rule})
			}
			t.AppendFooter(table.Row{fmt.Sprintf("%d operators", len(ops))})
			t.Render()
			return nil
		},
	}
}

// folded is a shape whose long expressions are left out.
func folded(shape string) string {
	if len(shape) <= 40 {
		return shape
	}
	var out strings.Builder
	depth := 0
	for _, r := range shape {
		if r == ')' {
			depth--
		}
		if depth == 0 {
			out.WriteRune(r)
		}
		if r == '(' {
			if depth++; depth == 1 {
				out.WriteRune('…')
			}
		}
	}
	return out.String()
}
