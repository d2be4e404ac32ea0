package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var planPath, engine string
	var rtol float64
	var seed int64
	var m metanetFlags
	c := &cobra.Command{
		Use:   "verify ORIGINAL PRUNED",
		Short: "Check a pruned model against its original",
		Long: `Check that PRUNED is readable, has the inputs and outputs of ORIGINAL and that its shapes hold. With --plan also that exactly the planned
slices are gone, and, where an engine supports the operators, that the original with these slices set to zero gives the same outputs: onnx-go with Gorgonia, else GoMLX
in pure Go, or what --engine names.`,
		Example: "  metaprune verify model.onnx smaller.onnx --plan plan.json\n  metaprune verify model.onnx smaller.onnx --plan plan.json --engine ort",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("rtol") {
				rtol = -1
			}
			return a.verify(c.Context(), args[0], args[1], planPath, engine, &m, rtol, seed)
		},
	}
	c.Flags().StringVar(&planPath, "plan", "", "the plan that made PRUNED")
	c.Flags().StringVar(&engine, "engine", "auto", "what outputs are compared in: "+strings.Join(engines, ", ")+" (ONNX Runtime's Python package), or auto")
	m.add(c.Flags())
	c.Flags().Float64Var(&rtol, "rtol", 1e-3, "largest difference of the outputs, relative to the largest output; 0.05 where a model rounds to 8 bits on the way and none is given, since sums in another order end some steps apart")
	c.Flags().Int64Var(&seed, "seed", 0, "seed of the random inputs")
	return c
}

// verdict is what verify prints with --json.
type verdict struct {
	Readable bool    `json:"readable"`
	Faces    bool    `json:"same_inputs_and_outputs"`
	Slices   string  `json:"slices"` // "exact", "not checked" or what is wrong
	Engine   string  `json:"engine"` // what the outputs were compared in, or why they were not
	Compared bool    `json:"compared"`
	Error    float64 `json:"max_rel_err"`
	OK       bool    `json:"ok"`
}

func (a *app) verify(ctx context.Context, original, pruned, planPath, engine string, m *metanetFlags, rtol float64, seed int64) error {
	if engine != "auto" && !slices.Contains(engines, engine) {
		return fmt.Errorf("--engine %q: want auto, %s", engine, strings.Join(engines, ", "))
	}
	before, closeBefore, err := a.open(original)
	if err != nil {
		return err
	}
	defer closeBefore()
	after, closeAfter, err := a.open(pruned)
	if err != nil {
		return err
	}
	defer closeAfter()
	v := verdict{Readable: true, Faces: sameFaces(before.Model, after.Model), Slices: "not checked", Engine: "without --plan the outputs are not comparable"}
	if planPath != "" {
		p, err := readPlan(planPath)
		if err != nil {
			return err
		}
		if err := errors.Join(p.Check(before.SHA256()), attach(p, planPath)); err != nil {
			return err
		}
		prepared, err := a.prepareReplay(ctx, before, p, m)
		if err != nil {
			return err
		}
		v.Slices = checkSlices(prepared.Session, after, p)
		if err := compareOutputs(ctx, &v, prepared.Session, after, p, seed, engine); err != nil {
			return err
		}
	}
	if rtol < 0 {
		if rtol = 1e-3; rounds(before.Model) {
			rtol = .05
		}
	}
	v.OK = v.Faces && (v.Slices == "exact" || planPath == "") && (!v.Compared || v.Error <= rtol)
	if a.json {
		err = a.printJSON(v)
	} else {
		t := a.table("check", "result")
		t.AppendRows([]table.Row{{"readable, shapes hold", v.Readable}, {"inputs and outputs", map[bool]string{true: "the same", false: "differ"}[v.Faces]}, {"planned slices", v.Slices}, {"engine", v.Engine}})
		if v.Compared {
			t.AppendRow(table.Row{"largest relative error", fmt.Sprintf("%.2g (bound %g)", v.Error, rtol)})
		}
		t.Render()
	}
	if err == nil && !v.OK {
		return failedCheck{errors.New("the pruned model does not pass")}
	}
	return err
}

// rounds reports whether real numbers are rounded to few bits on the way.
func rounds(m *onnxio.Model) bool {
	return slices.ContainsFunc(m.Graph.Nodes, func(n *onnxio.Node) bool {
		return n.OpType == "QuantizeLinear" || n.OpType == "DynamicQuantizeLinear" || n.OpType == "DynamicQuantizeMatMul"
	})
}

func sameFaces(x, y *onnxio.Model) bool {
	face := func(m *onnxio.Model) string {
		weights, s := map[string]bool{}, ""
		for _, t := range m.Graph.Initializers {
			weights[t.Name] = true
		}
		for _, list := range [][]*onnxio.ValueInfo{m.Graph.Inputs, m.Graph.Outputs} {
			for _, v := range list {
				if !weights[v.Name] {
					s += graphcodec.Face(v) + ";"
				}
			}
			s += "|"
		}
		return s
	}
	return face(x) == face(y)
}
