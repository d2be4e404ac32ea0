package cli

import (
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
)

// Whoever gets a model that was pruned and not repaired is told so: on standard error, with --quiet too, and in JSON.
func TestUnrepairedIsSaid(t *testing.T) {
	out, plan := filepath.Join(t.TempDir(), "small.onnx"), filepath.Join(t.TempDir(), "plan.json")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"pruned":      {[]string{"--speed-up", "2"}, "WARNING: expect a much lower accuracy, often near chance"},
		"quiet":       {[]string{"--speed-up", "2", "-q"}, "--calibrate DIR"},
		"a plan":      {[]string{"--speed-up", "2", "--plan", plan}, "--repair noise"},
		"pattern":     {[]string{"--pattern", "2:4"}, "--keep-zeros"},
		"nothing":     {[]string{"--speed-up", "1"}, ""},
		"metanetwork": {[]string{"--speed-up", "2", "--criterion", "metanet"}, "near chance"},
	} {
		code, _, said := run(t, append([]string{"prune", fashion, "-o", out}, c.args...)...)
		require.Zero(t, code, said)
		if c.want == "" {
			require.NotContains(t, said, "WARNING", name)
		} else {
			require.Contains(t, said, c.want, name)
		}
	}
	code, _, said := run(t, "prune", fashion, "--from-plan", plan, "-o", out)
	require.Zero(t, code)
	require.Contains(t, said, "near chance")
	code, text, said := run(t, "prune", fashion, "--speed-up", "2", "-o", out, "--json")
	require.Zero(t, code)
	require.Empty(t, said)
	r := decode[result](t, text)
	require.Len(t, r.Warnings, 1)
	require.Equal(t, planner.Unrepaired, r.Warnings[0].Code)
	code, _, said = run(t, "prune", fashion, "--speed-up", "2", "--dry-run")
	require.Zero(t, code)
	require.NotContains(t, said, "WARNING", "no model is written")
}

// Figures on noise are said to be of noise; shares of equal top-1 are of 20 real samples or more.
func TestRepairSentence(t *testing.T) {
	before, after := repair.Fidelity{Cosine: .5, Top1: .1, N: 20}, repair.Fidelity{Cosine: .9, Top1: .8, N: 20}
	few := repair.Fidelity{Cosine: .9, Top1: .8, N: 19}
	report := func(mode, method string, a, b repair.Fidelity) string {
		noise := mode == "noise"
		return (&repairReport{Mode: mode, Method: method, Before: a.Figures(noise), After: b.Figures(noise), Backend: "go"}).sentence()
	}
	real := report("data", repair.Solve, before, after)
	require.Contains(t, real, "same top-1 10 % -> 80 % on 20 samples")
	require.NotContains(t, report("data", repair.Solve, few, few), "top-1")
	noise := report("noise", repair.Solve, before, after)
	require.NotContains(t, noise, "top-1")
	require.Contains(t, noise, "20 inputs of noise")
	require.Contains(t, report("noise", repair.None, before, before), "inputs of noise")
	require.Contains(t, report("noise", repair.None, before, before), "the model was not changed")
}

// A pipeline warns where its last pruning is not followed by finetuning, and of zeros.
func TestPipelineWarnings(t *testing.T) {
	stages := []*metatrain.Stage{{SpeedUp: 1}, {SpeedUp: 2}}
	for want, p := range map[string]metatrain.Pipeline{
		"":                 {Last: 1},
		planner.Unrepaired: {Last: 0, Between: 3},
		planner.ZerosOnly:  {Last: 1, Pattern: "2:4"},
	} {
		got := (&pipelineFlags{pipeline: p}).warnings(stages)
		if want == "" {
			require.Empty(t, got)
			continue
		}
		require.Len(t, got, 1)
		require.Equal(t, want, got[0].Code)
	}
	require.Empty(t, (&pipelineFlags{pipeline: metatrain.Pipeline{Last: 0}}).warnings(stages[:1]), "nothing was removed")
}
