package cli

import (
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/prune"
	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	all := decode[[]explanation](t, ok(t, "explain", fashion, "conv1.weight", "--json", "--draw", filepath.Join(dir, "a.svg")+","+filepath.Join(dir, "a.dot")))
	require.Len(t, all, 1)
	require.Equal(t, "conv1.weight", all[0].Group)
	require.Empty(t, all[0].Frozen)
	require.Contains(t, all[0].Members, explainedMember{"layers.0.conv1.weight", "/layers/layers.0/conv1/Conv", 1, "input"})
	require.FileExists(t, filepath.Join(dir, "a.svg"))
	require.Contains(t, string(read(t, filepath.Join(dir, "a.dot"))), "digraph")
	require.Contains(t, ok(t, "explain", fashion, "layers.1.conv1.weight"), "one by one")
	require.Greater(t, len(decode[[]explanation](t, ok(t, "explain", fashion, "layers.*.conv1.weight", "--json"))), 3)
	frozen := decode[[]explanation](t, ok(t, "explain", filepath.Join("..", "..", "testdata", "models", "unknown.onnx"), "*", "--json"))
	named := 0
	for _, e := range frozen {
		if e.Frozen != "" && e.Node != "" {
			named++
		}
	}
	require.Positive(t, named)
	for want, args := range map[string][]string{
		"want a node, a tensor or a group of the model": {"explain", fashion, "no.such.layer"},
		"ends in .svg":        {"explain", fashion, "conv1.weight", "--draw", filepath.Join(dir, "a.gif")},
		"nor a valid pattern": {"explain", fashion, "layers.["},
	} {
		code, _, message := run(t, args...)
		require.Equal(t, exitInput, code, args)
		require.Contains(t, message, want)
	}
}

// Every layer that inspect lists is explained and drawn, and every group is found by its ID, by explain and by --ignore.
func TestEverythingListedIsExplained(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "x.svg")
	for _, model := range []string{"fashion-vit.onnx", "fashion-resnet20.onnx", "models/gnnet.ts.onnx", "models/quantised.onnx", "models/ort_attention.onnx"} {
		path := filepath.Join("..", "..", "testdata", model)
		report := decode[prune.Report](t, ok(t, "inspect", path, "--json"))
		for _, l := range report.Layers {
			all := decode[[]explanation](t, ok(t, "explain", path, l.Node, "--json", "--draw", picture))
			require.NotEmpty(t, all, l.Node)
			drawn := string(read(t, picture))
			for _, e := range all {
				require.Contains(t, drawn, e.ID+", ", l.Node)
			}
		}
		everything := []string{"prune", path, "--ratio", "0.01", "--dry-run"}
		for _, g := range report.Groups {
			one := decode[[]explanation](t, ok(t, "explain", path, g.ID, "--json", "--draw", picture))
			require.Len(t, one, 1, g.ID)
			require.Equal(t, g.Name, one[0].Group)
			everything = append(everything, "--ignore", g.ID)
		}
		code, _, message := run(t, everything...)
		require.Equal(t, exitTarget, code, message)
	}
}

func TestIgnoreByAnyName(t *testing.T) {
	vit := filepath.Join("..", "..", "testdata", "fashion-vit.onnx")
	for pattern, kept := range map[string][]string{
		"g5":                        {"blocks.0.fc1.weight"},
		"blocks.0.q.weight (heads)": {"blocks.0.q.weight (heads)"},
		"blocks.*(heads)":           {"blocks.0.q.weight (heads)", "blocks.5.q.weight (heads)"},
		"node_MatMul_7":             {"blocks.0.fc1.weight", "patch.weight"},
	} {
		r := decode[result](t, ok(t, "prune", vit, "--ratio", "0.5", "--ranking", "group", "--dry-run", "--json", "--ignore", pattern))
		removed := map[string]int{}
		for _, g := range r.Groups {
			require.NotEmpty(t, g.ID)
			removed[g.Name] = len(g.Removed)
		}
		for _, g := range kept {
			require.Contains(t, removed, g)
			require.Zero(t, removed[g], "%s: %s", pattern, g)
		}
		require.Positive(t, removed["blocks.3.v.weight (channels per head)"], pattern)
	}
	code, _, message := run(t, "prune", vit, "--ratio", "0.5", "--dry-run", "--ignore", "no.such.*")
	require.Equal(t, exitInput, code, message)
	require.Contains(t, message, `ignore "no.such.*": want a node`)
	code, _, message = run(t, "explain", vit, "blocks.3.v.wieght")
	require.Equal(t, exitInput, code, message)
	require.Contains(t, message, `LAYER "blocks.3.v.wieght": want a node`)
	require.Contains(t, message, "did you mean blocks.3.v.weight")
}
