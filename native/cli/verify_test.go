package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/stretchr/testify/require"
)

// changed writes a model with one element of an initializer changed.
func changed(t *testing.T, from, to, name string, by float32) {
	t.Helper()
	m, err := onnxio.Decode(read(t, from), nil)
	require.NoError(t, err)
	found := false
	for _, x := range m.Graph.Initializers {
		if x.Name == name {
			v, err := x.Float32s()
			require.NoError(t, err)
			v[0] += by
			require.NoError(t, x.SetFloat32s(v))
			found = true
		}
	}
	require.True(t, found, name)
	data, err := m.Marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

// The three verdicts, their exit codes and what they say.
func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	const norms = "../../testdata/models/attention.onnx"
	ok(t, "prune", fashion, "--speed-up", "1.5", "-o", at("o.onnx"), "--plan", at("p.json"), "-q")
	ok(t, "prune", fashion, "--pattern", "2:4", "-o", at("z.onnx"), "--plan", at("z.json"), "-q")
	ok(t, "prune", norms, "--ratio", ".2", "-o", at("n.onnx"), "--plan", at("n.json"), "-q")
	changed(t, at("o.onnx"), at("kept.onnx"), "fc.bias", 1)
	changed(t, at("o.onnx"), at("cut.onnx"), "conv1.weight", 1)
	changed(t, at("z.onnx"), at("z1.onnx"), "layers.0.conv1.weight", 1)
	for _, c := range []struct {
		name, verdict, reason string
		code                  int
		args                  []string
	}{
		{"pruned", verify.Equal, "", 0, []string{fashion, at("o.onnx"), "--plan", at("p.json")}},
		{"zeros", verify.Equal, "", 0, []string{fashion, at("z.onnx"), "--plan", at("z.json")}},
		{"equal, and allowed not to be compared", verify.Equal, "", 0, []string{fashion, at("o.onnx"), "--plan", at("p.json"), "--allow-uncompared"}},
		{"the original itself", verify.Different, "planned slices: ", 1, []string{fashion, fashion, "--plan", at("p.json")}},
		{"zeros that are missing", verify.Different, "planned slices: ", 1, []string{fashion, fashion, "--plan", at("z.json")}},
		{"one weight between zeros", verify.Different, "planned slices: ", 1, []string{fashion, at("z1.onnx"), "--plan", at("z.json")}},
		{"one element of a pruned weight", verify.Different, `"conv1.weight" differs from the planned slice of the original`, 1, []string{fashion, at("cut.onnx"), "--plan", at("p.json")}},
		{"one element that the plan does not name", verify.Different, `"fc.bias" differs from the original`, 1, []string{fashion, at("kept.onnx"), "--plan", at("p.json")}},
		{"a bound of zero", verify.Different, "largest relative error of the outputs", 1, []string{fashion, at("o.onnx"), "--plan", at("p.json"), "--rtol", "0"}},
		{"different, whatever is allowed", verify.Different, "", 1, []string{fashion, fashion, "--plan", at("p.json"), "--allow-uncompared"}},
		{"another model", verify.Different, "the inputs or outputs", 1, []string{fashion, norms}},
		{"no plan", verify.NotCompared, "give --plan", 1, []string{fashion, at("o.onnx")}},
		{"no plan, allowed", verify.NotCompared, "give --plan", 0, []string{fashion, at("o.onnx"), "--allow-uncompared"}},
		{"no engine", verify.NotCompared, "", 1, []string{norms, at("n.onnx"), "--plan", at("n.json")}},
		{"no engine, allowed", verify.NotCompared, "", 0, []string{norms, at("n.onnx"), "--plan", at("n.json"), "--allow-uncompared"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, said := run(t, append([]string{"verify", "--json"}, c.args...)...)
			require.Equal(t, c.code, code, said)
			v := decode[verify.Verdict](t, out)
			require.Equal(t, c.verdict, v.Verdict, v.Reason)
			require.Contains(t, v.Reason, c.reason)
			require.Equal(t, c.code == 0, v.OK)
			require.Equal(t, c.verdict == verify.Equal, v.Reason == "")
			require.Equal(t, v.Compared, v.Error != nil)
			code, out, _ = run(t, append([]string{"verify", "-q"}, c.args...)...)
			require.Equal(t, c.code, code)
			require.Equal(t, "verdict: "+plain(v.String())+"\n", out)
		})
	}
	code, _, said := run(t, "verify", fashion, at("o.onnx"), "--rtol", "5")
	require.Equal(t, 2, code)
	require.Contains(t, said, "from 0 to 1")
}
