package cli

import (
	"encoding/json"
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
	require.Contains(t, message, "of other options; give another --output")
	code, _, message = run(t, args("--shard", "0/2")...)
	require.Equal(t, 2, code)
	require.Contains(t, message, "--shard needs --output")
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

// Points that were measured by another version, with another file of the same name, or with an option that is not known, are not taken over.
func TestPointsThatAreNotTaken(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "net.safetensors")
	options := func(text string) curveOptions {
		require.NoError(t, os.WriteFile(at, []byte(text), 0o600))
		f := curveFlags{}
		f.metanet.file = at
		o, err := f.options()
		require.NoError(t, err)
		return o
	}
	job := func(o curveOptions) *curveJob {
		return (&curveFlags{seeds: []int64{0}}).jobs("m", "00", o)[0]
	}
	had := job(options("one"))
	had.Points = []curvePoint{{Model: "m"}}
	text, err := json.Marshal(had)
	require.NoError(t, err)
	again := job(options("one"))
	require.NoError(t, again.take(text, "p"))
	require.Len(t, again.Points, 1)
	require.ErrorContains(t, job(options("two")).take(text, "p"), "of other options")
	for _, c := range [][3]string{
		{`"version":2`, `"version":3`, "holds points of version 3, and this program measures version 2"},
		{`"version":2,`, ``, "holds points of version 1"},
		{`"points"`, `"dreams":[],"points"`, `unknown field "dreams"`},
	} {
		changed := strings.Replace(string(text), c[0], c[1], 1)
		require.NotEqual(t, string(text), changed)
		require.ErrorContains(t, job(options("one")).take([]byte(changed), "p"), c[2])
	}
	f := curveFlags{allocation: filepath.Join(dir, "nowhere.json")}
	_, err = f.options()
	require.ErrorContains(t, err, "nowhere.json")
}
