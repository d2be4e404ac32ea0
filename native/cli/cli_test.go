package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/native/internal/judge"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

const fashion = "../../testdata/fashion-resnet20.onnx"

// TestMain lets tests start the program itself: this binary with METAPRUNE_TEST_MAIN set.
func TestMain(m *testing.M) {
	if os.Getenv("METAPRUNE_TEST_MAIN") != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// run executes the command line and returns its exit code and outputs.
func run(t testing.TB, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Main(args, strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

func ok(t testing.TB, args ...string) string {
	t.Helper()
	code, out, errOut := run(t, args...)
	require.Equal(t, 0, code, errOut)
	return out
}

func TestPruneIsDeterministicAndReplays(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	for _, criterion := range []string{"l2", "l1", "bn", "random"} {
		ok(t, "prune", fashion, "--speed-up", "2", "--criterion", criterion, "--seed", "3", "-o", at("a.onnx"), "--plan", at("a.json"))
		ok(t, "prune", fashion, "--speed-up", "2", "--criterion", criterion, "--seed", "3", "-o", at("b.onnx"), "--plan", at("b.json"))
		ok(t, "prune", fashion, "--from-plan", at("a.json"), "-o", at("c.onnx"))
		a := read(t, at("a.onnx"))
		require.True(t, bytes.Equal(a, read(t, at("b.onnx"))), criterion)
		require.True(t, bytes.Equal(a, read(t, at("c.onnx"))), criterion)
		require.True(t, bytes.Equal(read(t, at("a.json")), read(t, at("b.json"))), criterion)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func TestTargetsAreMetFromTheSafeSide(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		met  func(a planner.Achieved, file int64) bool
	}{
		"speed-up": {[]string{"--speed-up", "3"}, func(a planner.Achieved, _ int64) bool {
			return a.MACs[0] >= 3*a.MACs[1] && float64(a.MACs[0]) < 3.1*float64(a.MACs[1])
		}},
		"params": {[]string{"--params", "0.5"}, func(a planner.Achieved, _ int64) bool {
			return 2*a.Params[1] <= a.Params[0] && a.Params[1] > a.Params[0]*45/100
		}},
		"size":       {[]string{"--size", "500kB"}, func(_ planner.Achieved, file int64) bool { return file <= 500000 && file > 490000 }},
		"ratio":      {[]string{"--ratio", "0.3"}, func(a planner.Achieved, _ int64) bool { return a.MACs[1] < a.MACs[0] }},
		"steps":      {[]string{"--speed-up", "2", "--steps", "5"}, func(a planner.Achieved, _ int64) bool { return a.MACs[0] >= 2*a.MACs[1] }},
		"group":      {[]string{"--speed-up", "2", "--ranking", "group"}, func(a planner.Achieved, _ int64) bool { return a.MACs[0] >= 2*a.MACs[1] }},
		"isomorphic": {[]string{"--speed-up", "2", "--ranking", "isomorphic"}, func(a planner.Achieved, _ int64) bool { return a.MACs[0] >= 2*a.MACs[1] }},
	} {
		plan := filepath.Join(dir, "p.json")
		ok(t, append([]string{"prune", fashion, "-o", filepath.Join(dir, "o.onnx"), "--plan", plan, "-q"}, c.args...)...)
		p, err := planner.ParsePlan(read(t, plan))
		require.NoError(t, err)
		file := int64(len(read(t, filepath.Join(dir, "o.onnx"))))
		require.True(t, c.met(p.Achieved, file), "%s: %+v, %d bytes", name, p.Achieved, file)
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	plan := filepath.Join(dir, "p.json")
	base := []string{"prune", fashion, "--dry-run", "--plan", plan, "-q", "--speed-up", "1.5"}
	parse := func() *planner.Plan {
		p, err := planner.ParsePlan(read(t, plan))
		require.NoError(t, err)
		return p
	}
	ok(t, append(base, "--round-to", "8")...)
	for _, g := range parse().Groups {
		require.Zero(t, (g.Size-len(g.Removed))%8, g.Name)
	}
	ok(t, append(base, "--max-ratio", "0.4")...)
	for _, g := range parse().Groups {
		require.LessOrEqual(t, float64(len(g.Removed)), 0.4*float64(g.Size), g.Name)
	}
	ok(t, append(base, "--ignore", "layers.1.*")...)
	for _, r := range parse().Removed {
		require.False(t, strings.HasPrefix(r.Tensor, "layers.1."), r.Tensor)
	}
}

func TestSparsityPatterns(t *testing.T) {
	dir := t.TempDir()
	out, plan, again := filepath.Join(dir, "o.onnx"), filepath.Join(dir, "p.json"), filepath.Join(dir, "r.onnx")
	ok(t, "prune", fashion, "--pattern", "2:4", "-o", out, "--plan", plan, "-q")
	f, err := onnxio.Open(out)
	require.NoError(t, err)
	defer f.Close()
	checked := 0
	for _, w := range f.Graph.Initializers {
		if w.Name != "layers.4.conv1.weight" {
			continue
		}
		v, err := w.Float64s()
		require.NoError(t, err)
		in, k := int(w.Dims[1]), int(w.Dims[2]*w.Dims[3])
		for o := range int(w.Dims[0]) {
			for b := 0; b < in; b += 4 {
				for j := range k {
					zeros := 0
					for i := range 4 {
						if v[(o*in+b+i)*k+j] == 0 {
							zeros++
						}
					}
					require.Equal(t, 2, zeros)
					checked++
				}
			}
		}
	}
	require.NotZero(t, checked)
	ok(t, "prune", fashion, "--from-plan", plan, "-o", again, "-q")
	require.True(t, bytes.Equal(read(t, out), read(t, again)))
	ok(t, "prune", fashion, "--pattern", "unstructured", "--sparsity", "0.7", "-o", out, "--plan", plan, "-q")
	p, err := planner.ParsePlan(read(t, plan))
	require.NoError(t, err)
	zeroed := int64(0)
	for _, z := range p.Zeroed {
		zeroed += z.Count
	}
	require.InDelta(t, 0.7, float64(zeroed)/271392, 0.01)
}

func TestVerifyPruned(t *testing.T) {
	dir := t.TempDir()
	out, plan := filepath.Join(dir, "o.onnx"), filepath.Join(dir, "p.json")
	ok(t, "prune", fashion, "--speed-up", "1.5", "-o", out, "--plan", plan, "-q")
	var v verify.Verdict
	require.NoError(t, json.Unmarshal([]byte(ok(t, "verify", fashion, out, "--plan", plan, "--json")), &v))
	require.True(t, v.OK && v.Compared && *v.Error < 1e-4)
}

func TestInspectAndOps(t *testing.T) {
	require.Contains(t, ok(t, "inspect", fashion, "--groups"), "conv1.weight[0] output")
	require.Contains(t, ok(t, "inspect", fashion), "graph output logits")
	var r struct{ MACs, Params int64 }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "inspect", fashion, "--json")), &r))
	require.EqualValues(t, 273658, r.Params)
	require.Contains(t, ok(t, "ops"), "ConvTranspose")
	require.Contains(t, ok(t, "version"), "metaprune")
	require.Contains(t, ok(t, "completion", "bash"), "complete")
}

func TestPipes(t *testing.T) {
	model := read(t, fashion)
	var out, errOut bytes.Buffer
	code := Main([]string{"prune", "-", "--speed-up", "2", "-o", "-"}, bytes.NewReader(model), &out, &errOut)
	require.Equal(t, 0, code, errOut.String())
	_, err := onnxio.Decode(out.Bytes(), nil)
	require.NoError(t, err)
	require.Contains(t, errOut.String(), "MACs")
}

func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	source, err := onnxio.Open(fashion)
	require.NoError(t, err)
	defer source.Close()
	model, out, plan := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "sub", "o.onnx"), filepath.Join(dir, "p.json")
	require.NoError(t, source.SaveExternal(model, false))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	ok(t, "prune", model, "--speed-up", "2", "-o", out, "--plan", plan, "-q")
	require.FileExists(t, out+".data")
	require.Contains(t, ok(t, "verify", model, out, "--plan", plan), "exact")
	said := decode[result](t, ok(t, "prune", model, "--speed-up", "2", "-o", out, "--json"))
	for i, path := range []string{model, out} { // what is said of files has their external data in it; padding between tensors is not counted
		require.InEpsilon(t, len(read(t, path))+len(read(t, path+".data")), said.FileBytes[i], .05)
	}
	var piped, errOut bytes.Buffer
	require.Equal(t, 0, Main([]string{"prune", model, "--speed-up", "2", "-o", "-", "-q"}, nil, &piped, &errOut), errOut.String())
	m, err := onnxio.Decode(piped.Bytes(), nil)
	require.NoError(t, err)
	require.False(t, m.HasExternal())
}

// TestJudge asks the independent judge (ONNX Runtime) about every model of the repository; it needs the Python environment that `make venv` makes.
func TestJudge(t *testing.T) {
	j := judge.Start(t)
	files, err := filepath.Glob("../../testdata/models/*.onnx")
	require.NoError(t, err)
	files = append(files, fashion)
	quantised := []string{"../../testdata/field/int4/12_qdq_i4.onnx"} // the judge does not count products of integers
	for _, pattern := range []string{"12_*", "unsigned_*"} {
		more, err := filepath.Glob("../../testdata/field/" + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, more)
		quantised = append(quantised, more...)
	}
	dir := t.TempDir()
	out, plan := filepath.Join(dir, "o.onnx"), filepath.Join(dir, "p.json")
	mixed := []string{"quantised.onnx", "packed.onnx", "moe.onnx", // whose products are of integers in good part
		"ort_fused.onnx", "embed.onnx", "tables.onnx", "computed.onnx", "einsum.onnx", "experts.onnx", "functions.onnx", "gn1.onnx", "gn18.onnx", "gn21.onnx", "shift.onnx", "opset12.ts.dynb.onnx"} // of whose work the judge sees less than half
	for i, f := range slices.Concat(files, quantised) {
		ok(t, "prune", f, "--speed-up", "1.5", "-o", out, "--plan", plan, "-q")
		least := "1.49"
		if i >= len(files) || slices.Contains(mixed, filepath.Base(f)) {
			least = "1"
		}
		p, err := readPlan(plan)
		require.NoError(t, err)
		require.GreaterOrEqual(t, float64(p.Achieved.MACs[0]), 1.5*float64(p.Achieved.MACs[1]), f)
		j.Accepts(t, f, out, plan, "--min-speed-up", least)
	}
	files, err = filepath.Glob("../../testdata/field/29_*.onnx") // of which the judge counts no products, since ONNX's shape inference ends at their first node
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		ok(t, "prune", f, "--speed-up", "1.5", "-o", out, "--plan", plan, "-q")
		j.Accepts(t, f, out, plan, "--min-params", "1.45")
	}
}

// A pattern that fits nothing is refused, with the names that come near it: what was to be kept would be
// pruned.
func TestIgnoreThatFitsNothing(t *testing.T) {
	out := filepath.Join(t.TempDir(), "o.onnx")
	for _, how := range [][]string{{"--speed-up", "1.5"}, {"--pattern", "2:4"}, {"--pattern", "unstructured", "--sparsity", "0.5"}} {
		code, _, said := run(t, append([]string{"prune", fashion, "--ignore", "fc.*,layer.0.*", "-o", out, "-q"}, how...)...)
		require.Equal(t, exitInput, code, said)
		require.Contains(t, said, `ignore "layer.0.*": want a node, a tensor or a group of the model (inspect lists them with --all and --groups)`)
		require.Contains(t, said, "did you mean layers.0.*")
		require.NotContains(t, said, "fc.*")
		require.NoFileExists(t, out)
	}
}
