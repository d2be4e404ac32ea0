package cli

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/native/gorgo"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/session"
)

// compareOutputs runs the masked original and the pruned model on the same random input.
func compareOutputs(v *verdict, before, after *session.Session, p *prune.Plan, seed int64) error {
	if len(p.Zeroed) > 0 {
		v.Engine = "zeroed weights change the outputs by intention"
		return nil
	}
	masked, err := prune.Masked(before.Analysis, p)
	if err != nil {
		v.Engine = err.Error()
		return nil
	}
	x, err := gorgo.New(masked, 1)
	if err != nil {
		v.Engine = gorgo.Name + ": " + err.Error()
		return nil
	}
	smaller := after.Model
	if p.Repaired != nil { // the repair changes the outputs by intention: what is compared is the cut under it
		if smaller, err = prune.Apply(before.Analysis, p.Cut()); err != nil {
			return err
		}
	}
	y, err := gorgo.New(smaller, 1)
	if err != nil {
		v.Engine = gorgo.Name + ": " + err.Error()
		return nil
	}
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	input := make([]float32, product(x.Shape()))
	for i := range input {
		input[i] = float32(r.NormFloat64())
	}
	want, _, errX := x.Run(append([]float32(nil), input...))
	got, _, errY := y.Run(input)
	if err := errors.Join(errX, errY); err != nil {
		v.Engine = gorgo.Name + ": " + err.Error()
		return nil
	}
	v.Engine, v.Compared = gorgo.Name, true
	if p.Repaired != nil {
		v.Engine += " (the cut without its repair)"
	}
	v.Error = relativeError(want, got)
	return nil
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func relativeError(want, got []float32) float64 {
	if len(want) != len(got) {
		return math.Inf(1)
	}
	top, worst := 1e-6, 0.0
	for i := range want {
		top = max(top, math.Abs(float64(want[i])))
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst / top
}

// checkSlices says whether the pruned model's constants are the original's without the planned slices.
func checkSlices(before, after *session.Session, p *prune.Plan) string {
	want, err := prune.Expected(before.Analysis, p)
	if err != nil {
		return err.Error()
	}
	have := map[string]*graphcodec.Constant{}
	for _, c := range after.Analysis.Constants() {
		have[c.Name] = c
	}
	for _, t := range want {
		c := have[t.Name]
		if c == nil {
			return fmt.Sprintf("%q is missing", t.Name)
		}
		x, errX := t.Bytes()
		y, errY := c.Tensor.Bytes()
		if errX != nil || errY != nil || string(x) != string(y) {
			return fmt.Sprintf("%q has other elements than planned", t.Name)
		}
	}
	return "exact"
}
