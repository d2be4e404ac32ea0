package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/native/analyse"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// A search is made once; prune and curve take it; a metanetwork learns it and gives it in one pass.
func TestAllocate(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	ok(t, "new", "resnet8", "--width", "0.25", "--input", "1x28x28", "-o", at("a.onnx"), "-q")
	ok(t, "new", "mlp", "--widths", "24,12", "--input", "1x28x28", "-o", at("b.onnx"), "-q")
	search := func(more ...string) []string {
		a := []string{"allocate", at("a.onnx"), at("b.onnx"), "--backend", "go", "--samples", "20", "--judge", "20", "--speed-up", "2", "--rounds", "1", "--json"}
		return append(append(a, fashionData...), more...)
	}
	all := decode[[]metatrain.Allocation](t, ok(t, search()...))
	require.Len(t, all, 2)
	require.Len(t, all[0].Result.Sensitivity, 6)
	require.GreaterOrEqual(t, all[0].Result.Points[0].After.Cosine, all[0].Result.Points[0].Before.Cosine)
	require.Equal(t, all, decode[[]metatrain.Allocation](t, ok(t, search()...)), "it is searched again")
	require.Contains(t, ok(t, append([]string{"allocate", at("b.onnx"), "--backend", "go", "--samples", "20", "--judge", "20", "--speed-up", "2", "--rounds", "1"}, fashionData...)...), "trials in")
	code, _, message := run(t, search("--rounds", "2")...)
	require.Equal(t, exitInput, code)
	require.Contains(t, message, "rounds was 1, is 2")

	all[0].Result.Offsets["conv1.weight"] = 9
	raw, err := json.Marshal(all[0])
	require.NoError(t, err)
	require.NoError(t, outfile.WriteBytes(at("a.allocation.json"), raw))
	ok(t, "prune", at("a.onnx"), "--speed-up", "2", "--allocation", at("a.allocation.json"), "--plan", at("plan.json"), "-o", at("small.onnx"), "-q")
	plan := decode[planner.Plan](t, string(read(t, at("plan.json"))))
	require.Equal(t, 9.0, plan.Allocation["conv1.weight"])
	for _, g := range plan.Groups {
		require.False(t, g.Name == "conv1.weight" && len(g.Removed) > 0, "it was to keep everything")
	}
	ok(t, "prune", at("a.onnx"), "--from-plan", at("plan.json"), "-o", at("again.onnx"), "-q")
	require.Equal(t, read(t, at("small.onnx")), read(t, at("again.onnx")))
	require.Contains(t, ok(t, append([]string{"curve", at("a.onnx"), "--speed-up", "2", "--allocation", at("a.allocation.json"), "--backend", "go", "--limit", "50"}, fashionData...)...), "l2")
	for want, args := range map[string][]string{
		"was searched for another model": {"prune", at("b.onnx"), "--speed-up", "2", "--allocation", at("a.allocation.json"), "--dry-run"},
		"ranking group ignores":          {"prune", at("a.onnx"), "--speed-up", "2", "--ranking", "group", "--allocation", at("a.allocation.json"), "--dry-run"},
		"not an allocation":              {"prune", at("a.onnx"), "--speed-up", "2", "--allocation", at("plan.json"), "--dry-run"},
	} {
		code, _, message := run(t, args...)
		require.Equal(t, exitInput, code, args)
		require.Contains(t, strings.ReplaceAll(message, "which ranking", "ranking"), want)
	}

	all[0].Result.Offsets["conv1.weight"] = .7
	raw, err = json.Marshal(all[0])
	require.NoError(t, err)
	require.NoError(t, outfile.WriteBytes(at("a.allocation.json"), raw))
	learn := []string{"metatrain", at("a.onnx"), at("b.onnx"), "--objective", "allocation", "--steps", "160", "--hidden", "8", "--layers", "2", "--lr", "0.01", "--backend", "go", "-o", at("mn.safetensors"), "-q"}
	ok(t, learn...)
	var losses []float64
	for line := range strings.Lines(string(read(t, at("mn.run/metrics.jsonl")))) {
		losses = append(losses, decode[metatrain.Report](t, line).Loss)
	}
	require.Len(t, losses, 160)
	first, last := losses[0]+losses[1], losses[158]+losses[159]
	require.Less(t, last, first/2, "it does not learn: %v", losses)
	require.Contains(t, ok(t, "metanet", "info", at("mn.safetensors")), "original")
	judged := decode[struct {
		Chosen     int                `json:"chosen_step"`
		Validation map[string]float64 `json:"validation"`
	}](t, ok(t, append([]string{"metatrain", at("a.onnx"), "--objective", "order", "--steps", "5", "--hidden", "4", "--layers", "1", "--lr", "0.05", "--backend", "go", "--validate", at("b.onnx"), "--validate-every", "2", "--validate-speed-up", "2", "-o", at("order.safetensors"), "--json", "-q"}, fashionData...)...))
	require.Len(t, judged.Validation, 3, "behind the steps 2, 4 and 5")
	for step, goal := range judged.Validation {
		require.LessOrEqual(t, judged.Validation[fmt.Sprint(judged.Chosen)], goal, step)
	}
	require.Equal(t, read(t, at("order.run/best.safetensors")), read(t, at("order.safetensors")))
	require.Contains(t, ok(t, "metanet", "info", at("order.safetensors")), "order")
	ok(t, "new", "mlp", "--widths", "9,9", "--input", "1x28x28", "-o", at("c.onnx"), "-q")
	code, _, message = run(t, "metatrain", at("c.onnx"), "--objective", "allocation", "--backend", "go", "-o", at("c.safetensors"))
	require.Equal(t, exitInput, code)
	require.Contains(t, message, "metaprune allocate "+at("c.onnx"))
}

// Criterion obs takes its inputs from the repair's, and a plan of it replays without them.
func TestCriterionOBS(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	calibrate := []string{"--calibrate", fashionData[1], "--samples", "20", "--backend", "go"}
	ok(t, "new", "resnet8", "--width", "0.5", "--input", "1x28x28", "-o", at("m.onnx"), "-q")
	ok(t, append([]string{"prune", at("m.onnx"), "--speed-up", "2", "--criterion", "obs", "--plan", at("p.json"), "-o", at("s.onnx"), "-q"}, calibrate...)...)
	ok(t, append([]string{"prune", at("m.onnx"), "--speed-up", "2", "--plan", at("l2.json"), "-o", at("l2.onnx"), "-q"}, calibrate...)...)
	obs, l2 := decode[planner.Plan](t, string(read(t, at("p.json")))), decode[planner.Plan](t, string(read(t, at("l2.json"))))
	require.Equal(t, "obs", obs.Criterion)
	require.NotEqual(t, l2.Removed, obs.Removed)
	require.Equal(t, l2.Achieved.MACs, obs.Achieved.MACs, "groups share as with l2")
	for _, criterion := range []string{"wanda", "hessian"} {
		ok(t, append([]string{"prune", at("m.onnx"), "--speed-up", "2", "--criterion", criterion, "--plan", at("p.json"), "-o", at("s.onnx"), "-q"}, calibrate...)...)
		other := decode[planner.Plan](t, string(read(t, at("p.json"))))
		require.Equal(t, criterion, other.Criterion)
		require.NotEqual(t, l2.Removed, other.Removed)
		code, _, message := run(t, "prune", at("m.onnx"), "--speed-up", "2", "--criterion", criterion, "-o", at("x.onnx"))
		require.Equal(t, exitInput, code)
		require.Contains(t, message, "criterion "+criterion+" needs samples")
	}
	ok(t, "prune", at("m.onnx"), "--from-plan", at("p.json"), "-o", at("again.onnx"), "-q")
	require.Equal(t, read(t, at("s.onnx")), read(t, at("again.onnx")))
	for want, more := range map[string][]string{"criterion obs needs samples": nil, "omit --steps": append([]string{"--steps", "2"}, calibrate...)} {
		code, _, message := run(t, append([]string{"prune", at("m.onnx"), "--speed-up", "2", "--criterion", "obs", "-o", at("x.onnx")}, more...)...)
		require.Equal(t, exitInput, code)
		require.Contains(t, message, want)
	}
}

func TestAnalyse(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	ok(t, "new", "resnet8", "--width", "0.5", "--input", "1x28x28", "-o", at("m.onnx"), "-q")
	ok(t, "metanet", "new", "-o", at("mn.safetensors"), "-q")
	all := decode[[]analyse.Version](t, ok(t, append([]string{"analyse", at("m.onnx"), "--metanet", at("mn.safetensors"), "--plot", at("m.svg"), "--limit", "100", "--backend", "go", "--json"}, fashionData...)...))
	require.Len(t, all, 2)
	require.Equal(t, all[0].Groups, all[1].Groups, "an untrained metanetwork changes nothing")
	require.NotNil(t, all[0].Groups[0].Taylor)
	require.FileExists(t, at("m.svg"))
	require.Contains(t, ok(t, "analyse", at("m.onnx")), "effective rank")
}

// Criterion taylor takes labelled images and nothing else.
func TestCriterionTaylor(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	ok(t, "new", "resnet8", "--width", "0.5", "--input", "1x28x28", "-o", at("m.onnx"), "-q")
	fewer := slices.Clone(fashionData)
	for _, i := range []int{1, 3} {
		fewer[i] = at(filepath.Base(fashionData[i]))
		require.NoError(t, os.WriteFile(fewer[i], firstOf(t, read(t, fashionData[i]), 100), 0o600))
	}
	args := append([]string{"prune", at("m.onnx"), "--speed-up", "2", "--criterion", "taylor", "--backend", "go", "--batch", "50", "-q"}, fewer...)
	ok(t, append(args, "--plan", at("p.json"), "-o", at("s.onnx"))...)
	require.Equal(t, "taylor", decode[planner.Plan](t, string(read(t, at("p.json")))).Criterion)
	ok(t, append(args, "--dry-run")...)
	require.Contains(t, ok(t, append([]string{"curve", at("m.onnx"), "--speed-up", "2", "--criterion", "taylor,fpgm", "--backend", "go", "--limit", "50"}, fashionData...)...), "taylor")
	code, _, message := run(t, "prune", at("m.onnx"), "--speed-up", "2", "--criterion", "taylor", "-o", at("x.onnx"))
	require.Equal(t, exitInput, code)
	require.Contains(t, message, "labelled images: give them with --data")
}
