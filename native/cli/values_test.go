package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/prune/faults"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// Numbers may be written as people write them.
func TestFactorsAndShares(t *testing.T) {
	dir := t.TempDir()
	whole := len(read(t, fashion))
	for args, met := range map[string]func(a planner.Achieved) bool{
		"--speed-up 2x":               func(a planner.Achieved) bool { return a.MACs[0] >= 2*a.MACs[1] && a.MACs[0] < 3*a.MACs[1] },
		"--params 50%":                func(a planner.Achieved) bool { return 2*a.Params[1] <= a.Params[0] && 3*a.Params[1] > a.Params[0] },
		"--ratio 30%":                 func(a planner.Achieved) bool { return a.MACs[1] < a.MACs[0] },
		"--size 50%":                  func(a planner.Achieved) bool { return 2*a.Bytes[1] <= int64(whole) && 3*a.Bytes[1] > int64(whole) },
		"--ratio 0.9 --max-ratio 95%": func(a planner.Achieved) bool { return a.MACs[1] < a.MACs[0] },
	} {
		plan := filepath.Join(dir, "p.json")
		ok(t, append([]string{"prune", fashion, "--dry-run", "--plan", plan, "-q"}, strings.Fields(args)...)...)
		p, err := planner.ParsePlan(read(t, plan))
		require.NoError(t, err)
		require.True(t, met(p.Achieved), "%s: %+v", args, p.Achieved)
	}
	same := func(args string) string {
		plan := filepath.Join(dir, "q.json")
		ok(t, append([]string{"prune", fashion, "--dry-run", "--plan", plan, "-q"}, strings.Fields(args)...)...)
		return string(read(t, plan))
	}
	require.Equal(t, same("--ratio 0.3"), same("--ratio 30%"))
	require.Equal(t, same("--speed-up 1.5"), same("--speed-up 1.5x"))
}

// What a flag does not take exits with 2 and names the flag, what it takes and what it was given.
func TestBadValues(t *testing.T) {
	for _, c := range []struct{ args, where, got, near string }{
		{"prune MODEL --speed-up NaN", "--speed-up", "NaN", ""},
		{"prune MODEL --speed-up inf", "--speed-up", "inf", ""},
		{"prune MODEL --speed-up -2", "--speed-up", "-2", ""},
		{"prune MODEL --speed-up 0", "--speed-up", "0", ""},
		{"prune MODEL --speed-up 2y", "--speed-up", "2y", ""},
		{"prune MODEL --speed-up 50%", "--speed-up", "50%", ""},
		{"prune MODEL --ratio 30", "--ratio", "30", ""},
		{"prune MODEL --ratio 100%", "--ratio", "100%", ""},
		{"prune MODEL --ratio nan%", "--ratio", "nan%", ""},
		{"prune MODEL --params 0", "--params", "0", ""},
		{"prune MODEL --params 2x", "--params", "2x", ""},
		{"prune MODEL --accuracy 92", "--accuracy", "92", ""},
		{"prune MODEL --accuracy -0.1", "--accuracy", "-0.1", ""},
		{"prune MODEL --size -5", "--size", "-5", ""},
		{"prune MODEL --size 0", "--size", "0", ""},
		{"prune MODEL --size 10XB", "--size", "10XB", ""},
		{"prune MODEL --size 200%", "--size", "200%", ""},
		{"prune MODEL --max-ratio 1.5", "--max-ratio", "1.5", ""},
		{"prune MODEL --sparsity 1", "--sparsity", "1", ""},
		{"prune MODEL --steps 0", "--steps", "0", ""},
		{"prune MODEL --steps 1.5", "--steps", "1.5", ""},
		{"prune MODEL --steps 99999999999999999999", "--steps", "99999999999999999999", ""},
		{"prune MODEL --round-to -8", "--round-to", "-8", ""},
		{"prune MODEL --samples 2", "--samples", "2", ""},
		{"prune MODEL --batch 0", "--batch", "0", ""},
		{"prune MODEL --limit -1", "--limit", "-1", ""},
		{"prune MODEL --memory much", "--memory", "much", ""},
		{"prune MODEL --criterion tailor", "--criterion", "tailor", "taylor"},
		{"prune MODEL --normalizer maen", "--normalizer", "maen", "mean"},
		{"prune MODEL --reduction avg", "--reduction", "avg", ""},
		{"prune MODEL --ranking isomorphc", "--ranking", "isomorphc", "isomorphic"},
		{"prune MODEL --pattern unstructed", "--pattern", "unstructed", "unstructured"},
		{"prune MODEL --pattern 4:2", "--pattern", "4:2", ""},
		{"prune MODEL --repair noies", "--repair", "noies", "noise"},
		{"prune MODEL --backend xla:cud", "--backend", "xla:cud", "xla:cuda"},
		{"prune MODEL --weights metanets", "--weights", "metanets", "metanet"},
		{"verify MODEL MODEL --engine gorgonai", "--engine", "gorgonai", "gorgonia"},
		{"verify MODEL MODEL --rtol -1", "--rtol", "-1", ""},
		{"eval MODEL --backend onnxgo", "--backend", "onnxgo", "onnx-go"},
		{"curve MODEL --speed-up 2,zero", "--speed-up", "2,zero", ""},
		{"curve MODEL --criterion l2,wnada", "--criterion", "wnada", "wanda"},
		{"allocate MODEL --speed-up 2x,1", "--speed-up", "2x,1", ""},
		{"allocate MODEL --criterion ops", "--criterion", "ops", "obs"},
		{"train MODEL --schedule cosin", "--schedule", "cosin", "cosine"},
		{"train MODEL --lr 0", "--lr", "0", ""},
		{"train MODEL --epochs -1", "--epochs", "-1", ""},
		{"train MODEL --validation 100%", "--validation", "100%", ""},
		{"train MODEL --checkpoint-every 0s", "--checkpoint-every", "0s", ""},
		{"pipeline MODEL --steps 0", "--steps", "0", ""},
		{"datamodels resnet20 --seeds -1", "--seeds", "-1", ""},
		{"datamodels resnet20 --widths 0", "--widths", "0", ""},
		{"metatrain MODEL --hidden 1", "--hidden", "1", ""},
		{"metatrain MODEL --objective mask", "--objective", "mask", "masks"},
		{"metatrain MODEL --validate-speed-up 1", "--validate-speed-up", "1", ""},
		{"graph MODEL -o x --format jsn", "--format", "jsn", "json"},
		{"graph MODEL -o x --scheme universal", "--scheme", "universal", "universal-1"},
		{"metanet new -o x --layers 0", "--layers", "0", ""},
		{"serve --max-size big", "--max-size", "big", ""},
		{"serve --timeout -3s", "--timeout", "-3s", ""},
		{"serve --log jsno", "--log", "jsno", "json"},
		{"new resnet20 --classes 0", "--classes", "0", ""},
		{"new resnet21", "network", "resnet21", "resnet20"},
		{"task resnet56-cifar1", "task", "resnet56-cifar1", "resnet56-cifar10"},
		{"eval MODEL --data fashion-mnits", "data", "fashion-mnits", "fashion-mnist"},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "MODEL", fashion))
		code, out, said := run(t, append(args, "--json")...)
		require.Equal(t, exitInput, code, "%s: %s", c.args, said)
		require.Empty(t, out, c.args)
		e := decode[faultReport](t, said).Error
		require.Equal(t, faults.Usage, e.Kind, "%s: %s", c.args, said)
		require.Equal(t, c.where, e.Where, "%s: %s", c.args, said)
		require.Equal(t, c.got, e.Got, c.args)
		require.NotEmpty(t, e.Want, c.args)
		if c.near != "" {
			require.True(t, strings.HasSuffix(e.Message, "did you mean "+c.near+"?"), e.Message)
		} else {
			require.NotContains(t, e.Message, "did you mean", c.args)
		}
	}
}

// Every flag that takes a number or a time has a range, but for seeds, whose numbers are all good.
func TestEveryNumberHasARange(t *testing.T) {
	var visit func(c *cobra.Command)
	checked := 0
	visit = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "int", "int64", "uint64", "float64", "duration", "intSlice", "int64Slice", "float64Slice":
				_, bounded := f.Value.(numeral)
				require.True(t, bounded || strings.HasPrefix(f.Name, "seed"), "%s --%s", c.CommandPath(), f.Name)
				checked++
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{}).root())
	require.Greater(t, checked, 50)
}
