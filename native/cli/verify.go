package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/spf13/cobra"
)

// verifyFlags say what verify compares, and how.
type verifyFlags struct {
	plan, engine    string
	rtol            float64 // below 0: by the model
	seed            int64
	allowUncompared bool
	metanet         metanetFlags
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify ORIGINAL PRUNED",
		Short: "Check a pruned model against its original",
		Long: `Check that PRUNED is readable, has the inputs and outputs of ORIGINAL, that its shapes are valid and that exactly the slices of the plan are removed. Then the original, with these slices set to zero,
and the pruned model run on the same random inputs: in onnx-go with Gorgonia, else in GoMLX in pure Go, or in the engine of --engine.

The last line is the verdict, one of three:
  verdict: equal         the outputs were compared and are equal within --rtol; exit 0
  verdict: different     something differs, and the line says what; exit 1
  verdict: not compared  no outputs were compared, and the line says why (no --plan, or no engine supports the operators); exit 1, with --allow-uncompared 0`,
		Example: "  metaprune verify model.onnx smaller.onnx --plan plan.json\n  metaprune verify model.onnx smaller.onnx --plan plan.json --engine ort",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := unusedIn(c).unless(f.plan != "", "--plan, which says what is compared", "engine", "rtol", "seed", "metanet", "memory").err; err != nil {
				return err
			}
			if !c.Flags().Changed("rtol") {
				f.rtol = -1
			}
			return a.verify(c.Context(), args[0], args[1], &f)
		},
	}
	c.Flags().StringVar(&f.plan, "plan", "", "the plan that made PRUNED")
	c.Flags().StringVar(&f.engine, "engine", "auto", "what outputs are compared in: "+strings.Join(engines, ", ")+" (ONNX Runtime's Python package), or auto")
	f.metanet.add(c.Flags())
	c.Flags().Float64Var(&f.rtol, "rtol", 1e-3, "largest difference of the outputs, relative to the largest output; 0.05 where a model rounds to 8 bits on the way and none is given, since sums in another order end some steps apart")
	takes(c.Flags(), share(0, 1), "rtol")
	oneOf(c.Flags(), "engine", append([]string{"auto"}, engines...)...)
	c.Flags().Int64Var(&f.seed, "seed", 0, "seed of the random inputs")
	c.Flags().BoolVar(&f.allowUncompared, "allow-uncompared", false, "exit with 0 if no outputs could be compared and every other check passed")
	return c
}

func (a *app) verify(ctx context.Context, original, pruned string, f *verifyFlags) error {
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
	v := verdict{Readable: true, Faces: sameFaces(before.Model, after.Model), Slices: notChecked, Engine: "there is no plan, which says what is compared; give --plan FILE", Bound: bound(f.rtol, before.Model)}
	if f.plan != "" {
		if err := a.verifyPlan(ctx, &v, before, after, f); err != nil {
			return err
		}
	}
	v.decide()
	v.OK = v.Verdict == equal || v.Verdict == notCompared && f.allowUncompared
	if err := a.printVerdict(&v); err != nil {
		return err
	}
	switch {
	case v.OK:
		return nil
	case v.Verdict == notCompared:
		return failedCheck{errors.New("the outputs were not compared; --allow-uncompared accepts that")}
	}
	return failedCheck{errors.New("the pruned model does not pass: " + v.Reason)}
}

// bound is the largest relative difference that counts as equal.
func bound(rtol float64, m *onnxio.Model) float64 {
	switch {
	case rtol >= 0:
		return rtol
	case rounds(m):
		return .05
	}
	return 1e-3
}

// verifyPlan checks what the plan says of the pruned model.
func (a *app) verifyPlan(ctx context.Context, v *verdict, before, after *prune.Session, f *verifyFlags) error {
	p, err := readPlan(f.plan)
	if err != nil {
		return err
	}
	_, missing := attach(p, f.plan)
	if err := errors.Join(before.CheckPlan(p), missing); err != nil {
		return err
	}
	prepared, err := a.prepareReplay(ctx, before, p, &f.metanet)
	if err != nil {
		return err
	}
	if v.Slices, err = checkSlices(prepared.Session, after, p); err != nil {
		return err
	}
	if !v.Faces || v.Slices != exact {
		v.Engine = "what differs already is not run"
		return nil
	}
	return compareOutputs(ctx, v, prepared.Session, after, p, f.seed, f.engine)
}

// rounds reports whether real numbers are rounded to few bits on the way.
func rounds(m *onnxio.Model) bool {
	return slices.ContainsFunc(m.Graph.Nodes, func(n *onnxio.Node) bool {
		return n.OpType == "QuantizeLinear" || n.OpType == "DynamicQuantizeLinear" || n.OpType == "DynamicQuantizeMatMul"
	})
}

// sameFaces reports whether two models have the same inputs and outputs: names, element types and declared dims, in their order.
func sameFaces(x, y *onnxio.Model) bool {
	faces := func(m *onnxio.Model) [2][][2]string {
		weights, out := map[string]bool{}, [2][][2]string{}
		for _, t := range m.Graph.Initializers {
			weights[t.Name] = true
		}
		for i, list := range [][]*onnxio.ValueInfo{m.Graph.Inputs, m.Graph.Outputs} {
			for _, v := range list {
				if i == 1 || !weights[v.Name] {
					out[i] = append(out[i], [2]string{v.Name, graphcodec.Face(v)})
				}
			}
		}
		return out
	}
	a, b := faces(x), faces(y)
	return slices.Equal(a[0], b[0]) && slices.Equal(a[1], b[1])
}
