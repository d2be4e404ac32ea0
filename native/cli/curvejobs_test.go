package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Several processes measure a curve in one bucket, one of them twice; a lost part is measured again, what is there is not, and other options are told.
func TestCurveInABucket(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	net := tinyNet(t, dir)
	name := strings.TrimSuffix(filepath.Base(net), ".onnx")
	args := func(more ...string) []string {
		a := append([]string{"curve", net, "--speed-up", "1.5,2", "--criterion", "random,l2", "--seeds", "0,1,2", "--backend", "go", "--limit", "100", "--json"}, fashionData...)
		return append(a, more...)
	}
	want := decode[[]curvePoint](t, ok(t, args()...))
	require.Len(t, want, 1+2*3*2)

	url := "file://" + at("bucket")
	code, out, message := run(t, args("-o", url, "--shard", "3/4")...)
	require.Zero(t, code, message)
	require.Contains(t, message, "6 of 7 parts are not measured yet")
	require.Len(t, decode[[]curvePoint](t, out), 2)
	together(t, func(shard string) []string { return args("-o", url, "--shard", shard) })
	require.Equal(t, want, decode[[]curvePoint](t, ok(t, args("-o", url)...)))

	part := filepath.Join(at("bucket"), name+".random.s1", pointsFile)
	require.NoError(t, os.Remove(part))
	kept := filepath.Join(at("bucket"), name+".l2.s0", pointsFile)
	seen := strings.ReplaceAll(string(read(t, kept)), `"loss":`, `"loss":4`)
	require.NoError(t, os.WriteFile(kept, []byte(seen), 0o644))
	again := decode[[]curvePoint](t, ok(t, args("-o", url)...))
	require.FileExists(t, part)
	for i, p := range again {
		if p.Criterion == "l2" && p.Seed == 0 {
			require.Greater(t, p.Loss, 4.0, "it is taken from the bucket")
			p.Loss = want[i].Loss
		}
		require.Equal(t, want[i], p)
	}

	code, _, message = run(t, append(args("-o", url), "--ranking", "group")...)
	require.Equal(t, 2, code)
	require.Contains(t, message, "of other options; choose another --output")
	code, _, message = run(t, args("--shard", "0/2")...)
	require.Equal(t, 2, code)
	require.Contains(t, message, "--shard: want --output")
}

func TestAverageOfSeeds(t *testing.T) {
	point := func(seed int64, accuracy float64) curvePoint {
		return curvePoint{Model: "m", Criterion: "obs", Seed: seed, Wanted: 2, SpeedUp: 2 + float64(seed)/10, Accuracy: accuracy, Loss: accuracy}
	}
	got := average([]curvePoint{point(0, .5), {Model: "m", Criterion: "l2", Wanted: 2, Accuracy: .9}, point(1, .7)})
	require.Len(t, got, 2)
	require.InDelta(t, .6, got[0].Accuracy, 1e-12)
	require.InDelta(t, .1, got[0].spread, 1e-12)
	require.InDelta(t, 2.05, got[0].SpeedUp, 1e-12)
	require.Equal(t, "60.0 ± 10.0 %", got[0].percent())
	require.Equal(t, "90.0 %", got[1].percent())
}
