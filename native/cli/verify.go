package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/spf13/cobra"
)

// verifyFlags say what verify compares, and how.
type verifyFlags struct {
	plan, engine    string
	rtol            float64 // below 0: by the model
	seed            int64
	allowUncompared bool
	inputs          []string
	metanet         metanetFlags
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify ORIGINAL PRUNED",
		Short: "Check a pruned model against its original",
		Long: `Check that PRUNED is readable, has the inputs and outputs of ORIGINAL, that its shapes are valid and that exactly the slices of the plan are removed. Then the original, with these slices set to zero,
and the pruned model run on the same random inputs: in ONNX Runtime where it is found, else in onnx-go with Gorgonia, else in GoMLX in pure Go, or in the engine of --engine.

The last line is the verdict, one of three:
  verdict: equal         the outputs were compared and are equal within --rtol; exit 0
  verdict: different     something differs, and the line says what; exit 1
  verdict: not compared  no outputs were compared, and the line says why (no --plan, or no engine supports the operators); exit 1, with --allow-uncompared 0`,
		Example: "  metaprune verify model.onnx smaller.onnx --plan plan.json\n  metaprune verify model.onnx smaller.onnx --plan plan.json --engine ort",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := unusedIn(c).unless(f.plan != "", "--plan, which names the removed slices", "engine", "rtol", "seed", "input", "metanet", "memory").err; err != nil {
				return err
			}
			if !c.Flags().Changed("rtol") {
				f.rtol = -1
			}
			return a.verify(c.Context(), args[0], args[1], &f)
		},
	}
	c.Flags().StringVar(&f.plan, "plan", "", "the plan that made PRUNED")
	c.Flags().StringVar(&f.engine, "engine", "auto", "what outputs are compared in: "+strings.Join(compareEngines, ", ")+" (ONNX Runtime), or auto")
	f.metanet.add(c.Flags())
	c.Flags().Float64Var(&f.rtol, "rtol", 1e-3, "largest allowed difference of the outputs, relative to the largest output; the default is 0.05 for models that round to 8 bits, because sums in another order differ by some steps")
	takes(c.Flags(), share(0, 1), "rtol")
	oneOf(c.Flags(), "engine", append([]string{"auto"}, compareEngines...)...)
	c.Flags().StringArrayVar(&f.inputs, "input", nil, "sizes of an input for the random inputs, NAME=SIZES such as x=1x3x48x320 (may be repeated; without NAME= if there is one input); without it free sizes are 2, and the batch is 1 where the engine wants one")
	c.Flags().Int64Var(&f.seed, "seed", 0, "seed of the random inputs")
	c.Flags().BoolVar(&f.allowUncompared, "allow-uncompared", false, "exit with 0 if no outputs could be compared and every other check passed")
	return c
}

func (a *app) verify(ctx context.Context, original, pruned string, f *verifyFlags) error {
	before, closeBefore, err := a.open(original, f.inputs...)
	if err != nil {
		return err
	}
	defer closeBefore()
	after, closeAfter, err := a.open(pruned)
	if err != nil {
		return err
	}
	defer closeAfter()
	base, o := before, verify.Options{Engines: enginesOf(f.engine), Seed: f.seed, Bound: f.rtol, AllowUncompared: f.allowUncompared}
	if at := before.Analysis.CountedAt(); at != nil && len(f.inputs) > 0 {
		o.Inputs = at.Inputs
	}
	var p *planner.Plan
	if f.plan != "" {
		if p, base, err = a.verifiedPlan(ctx, before, f); err != nil {
			return err
		}
	}
	v, err := verify.Check(ctx, side(base), side(after), p, o)
	if err != nil {
		return err
	}
	switch {
	case p == nil:
		v.Engine += "; give --plan FILE"
		if v.Verdict == verify.NotCompared {
			v.Reason = v.Engine
		}
	case len(v.Failed) > 0 && !v.Compared && f.engine != "auto":
		return fmt.Errorf("--engine %s: %s", f.engine, v.Engine)
	}
	if err := a.printVerdict(v); err != nil {
		return err
	}
	switch {
	case v.OK:
		return nil
	case v.Verdict == verify.NotCompared:
		return failedCheck{errors.New("the outputs were not compared; --allow-uncompared accepts that")}
	}
	return failedCheck{v.Err()}
}

func side(s *prune.Model) verify.Side { return verify.Side{Model: s.ONNX, Analysis: s.Analysis} }

// verifiedPlan reads the plan, and the original as the plan sees it: with the weights of the metanetwork that it names.
func (a *app) verifiedPlan(ctx context.Context, before *prune.Model, f *verifyFlags) (*planner.Plan, *prune.Model, error) {
	p, err := readPlan(f.plan)
	if err != nil {
		return nil, nil, err
	}
	_, missing := attach(p, f.plan)
	if err := errors.Join(before.CheckPlan(p), missing); err != nil {
		return nil, nil, err
	}
	prepared, err := a.prepareReplay(ctx, before, p, &f.metanet)
	if err != nil {
		return nil, nil, err
	}
	return p, prepared.Model, nil
}

func (a *app) printVerdict(v *verify.Verdict) error {
	if a.json {
		return a.printJSON(v)
	}
	if !a.quiet {
		t := a.table("check", "result")
		t.AppendRows([]table.Row{{"readable, shapes valid", v.Readable}, {"inputs and outputs", map[bool]string{true: "the same", false: "differ"}[v.Faces]}, {"planned slices", v.Slices}, {"engine", v.Engine}})
		if v.Error != nil {
			t.AppendRow(table.Row{"largest relative error", fmt.Sprintf("%.2g (bound %g)", *v.Error, v.Bound)})
		}
		t.Render()
	}
	_, err := fmt.Fprintln(a.out, "verdict: "+plain(v.String()))
	return err
}
