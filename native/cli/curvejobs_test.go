package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/native/experiment"
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
	want := decode[[]experiment.Point](t, ok(t, args()...))
	require.Len(t, want, 1+2*3*2)

	url := "file://" + at("bucket")
	code, out, message := run(t, args("-o", url, "--shard", "3/4")...)
	require.Zero(t, code, message)
	require.Contains(t, message, "6 of 7 parts are not measured yet")
	require.Len(t, decode[[]experiment.Point](t, out), 2)
	together(t, func(shard string) []string { return args("-o", url, "--shard", shard) })
	require.Equal(t, want, decode[[]experiment.Point](t, ok(t, args("-o", url)...)))

	part := filepath.Join(at("bucket"), name+".random.s1", experiment.PointsFile)
	require.NoError(t, os.Remove(part))
	kept := filepath.Join(at("bucket"), name+".l2.s0", experiment.PointsFile)
	seen := strings.ReplaceAll(string(read(t, kept)), `"loss":`, `"loss":4`)
	require.NoError(t, os.WriteFile(kept, []byte(seen), 0o644))
	again := decode[[]experiment.Point](t, ok(t, args("-o", url)...))
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
	require.Contains(t, message, "of other options; choose another output")
	code, _, message = run(t, args("--shard", "0/2")...)
	require.Equal(t, 2, code)
	require.Contains(t, message, "--shard needs --output")
}

func TestAverageIsShownWithItsSpread(t *testing.T) {
	require.Equal(t, "60.0 ± 10.0 %", percentOf(&experiment.Mean{Point: experiment.Point{Accuracy: .6}, Seeds: 2, Spread: .1}))
	require.Equal(t, "90.0 %", percentOf(&experiment.Mean{Point: experiment.Point{Accuracy: .9}, Seeds: 1}))
}

// Another file of the same name is another option.
func TestOptionsKnowFilesByWhatTheyHold(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "net.safetensors")
	options := func(text string) experiment.Options {
		require.NoError(t, os.WriteFile(at, []byte(text), 0o600))
		f := curveFlags{}
		f.metanet.file = at
		o, err := f.options()
		require.NoError(t, err)
		return o
	}
	require.Equal(t, options("one"), options("one"))
	require.NotEqual(t, options("one"), options("two"))
	f := curveFlags{allocation: filepath.Join(dir, "nowhere.json")}
	_, err := f.options()
	require.ErrorContains(t, err, "nowhere.json")
}
