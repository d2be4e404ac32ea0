package cli

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/stretchr/testify/require"
)

const reference = "../../testdata/metanet/"

// changing writes an untrained metanetwork with decoders that are not zero.
func changing(t testing.TB, path, scheme string) {
	t.Helper()
	ok(t, "metanet", "new", "--hidden", "8", "--layers", "2", "--seed", "4", "--scheme", scheme, "-o", path)
	f, err := safetensors.Parse(read(t, path))
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"nodeDec.3.weight", "edgeDec_kernel.3.weight", "edgeDec.3.weight"} {
		if x := f.Tensors[name]; x != nil {
			v, err := x.Floats()
			require.NoError(t, err)
			for i := range v {
				v[i] = float32(4*r.Float64() - 2)
			}
			f.Tensors[name] = safetensors.FloatTensor(v, x.Shape...)
		}
	}
	require.NoError(t, os.WriteFile(path, f.Bytes(), 0o600))
}

func TestMetanetCriterion(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	for _, scheme := range []string{"universal-1", "reference-cnn"} {
		changing(t, at("w.safetensors"), scheme)
		for _, weights := range []string{"original", "metanet"} {
			ok(t, "prune", fashion, "--speed-up", "1.5", "--criterion", "metanet", "--metanet", at("w.safetensors"), "--weights", weights, "-o", at("a.onnx"), "--plan", at("p.json"), "-q")
			replay := []string{"prune", fashion, "--from-plan", at("p.json"), "-o", at("b.onnx"), "-q", "--memory", "0B"}
			check := []string{"verify", fashion, at("a.onnx"), "--plan", at("p.json"), "--json"}
			if weights == "metanet" {
				code, _, errOut := run(t, replay...)
				require.Equal(t, 2, code)
				require.Contains(t, errOut, "give that file with --metanet")
				replay, check = append(replay, "--metanet", at("w.safetensors")), append(check, "--metanet", at("w.safetensors"))
			}
			ok(t, replay...)
			require.Equal(t, read(t, at("a.onnx")), read(t, at("b.onnx")))
			var v verify.Verdict
			require.NoError(t, json.Unmarshal([]byte(ok(t, check...)), &v))
			require.True(t, v.OK && v.Compared && *v.Error < 1e-4, "%+v", v)
		}
	}
	ok(t, "prune", fashion, "--pattern", "2:4", "--criterion", "metanet", "--metanet", at("w.safetensors"), "--weights", "metanet", "-o", at("s.onnx"), "-q")
}

func TestMetanetFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	var i metanetInfo
	require.NoError(t, json.Unmarshal([]byte(ok(t, "metanet", "info", "--json")), &i))
	require.Equal(t, "fashion-order-1", i.Metadata["name"])
	require.Contains(t, i.Metadata["record"], "metatrain")
	require.Equal(t, []int{9, 1, 1, 1}, i.EdgeIn)
	ok(t, "metanet", "convert", reference+"tiny_metanet.safetensors", "-o", at("tiny.safetensors"))
	require.Contains(t, ok(t, "metanet", "info", at("tiny.safetensors")), "reference-cnn")
	ok(t, "prune", reference+"tiny_net.onnx", "--speed-up", "1.2", "--criterion", "metanet", "--metanet", at("tiny.safetensors"), "--weights", "metanet", "-o", at("o.onnx"), "-q")

	ok(t, "graph", reference+"tiny_net.onnx", "--scheme", "reference-cnn", "-o", at("graph.safetensors"))
	var done struct{ Nodes, Edges int }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "metanet", "forward", at("graph.safetensors"), "--metanet", at("tiny.safetensors"), "-o", at("out.safetensors"), "--json")), &done))
	require.Equal(t, 41, done.Nodes)
	require.Equal(t, 268, done.Edges)
	for _, name := range []string{"g.svg", "g.json", "g.graphml"} {
		require.Contains(t, ok(t, "graph", fashion, "-o", at(name)), "795 nodes")
		require.FileExists(t, at(name))
	}
	require.Contains(t, ok(t, "graph", fashion, "-o", "-", "--format", "svg"), "</svg>")
}

func TestMetanetBadInput(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	out := at("o.onnx")
	ok(t, "metanet", "convert", reference+"tiny_metanet.safetensors", "-o", at("tiny.safetensors"))
	ok(t, "metanet", "new", "-o", at("new.safetensors"))
	for _, c := range []struct {
		want string
		args []string
	}{
		{"does not say which features it was trained for", []string{"prune", fashion, "--speed-up", "2", "--criterion", "metanet", "--metanet", reference + "tiny_metanet.safetensors", "-o", out}},
		{"--weights has no effect here; it needs --criterion metanet", []string{"prune", fashion, "--speed-up", "2", "--weights", "metanet", "-o", out}},
		{`weights "new"`, []string{"prune", fashion, "--speed-up", "2", "--criterion", "metanet", "--weights", "new", "-o", out}},
		{"use it with --weights metanet", []string{"prune", fashion, "--pattern", "2:4", "--criterion", "metanet", "-o", out}},
		{"not a readable safetensors file", []string{"prune", fashion, "--speed-up", "2", "--criterion", "metanet", "--metanet", fashion, "-o", out}},
		{"no such file", []string{"prune", fashion, "--speed-up", "2", "--criterion", "metanet", "--metanet", at("none"), "-o", out}},
		{`--memory "lots"`, []string{"prune", fashion, "--speed-up", "2", "--criterion", "metanet", "--memory", "lots", "-o", out}},
		{`--scheme "mine": want universal-1 or reference-cnn`, []string{"metanet", "convert", at("tiny.safetensors"), "--scheme", "mine", "-o", out}},
		{`is of feature scheme "universal-1"`, []string{"metanet", "convert", at("new.safetensors"), "-o", out}},
		{"needs 8 node and [9] edge features, but its feature scheme universal-1 has 14", []string{"metanet", "convert", reference + "tiny_metanet.safetensors", "--scheme", "universal-1", "-o", out}},
		{"--hidden 0", []string{"metanet", "new", "--hidden", "0", "-o", out}},
		{`--format "onnx"`, []string{"graph", fashion, "-o", out}},
		{"parameter nodeEnc is missing", []string{"metanet", "info", reference + "tiny_in.safetensors"}},
	} {
		code, _, errOut := run(t, c.args...)
		require.Equal(t, 2, code, "%v: %s", c.args, errOut)
		require.Contains(t, errOut, c.want)
		require.NoFileExists(t, out)
	}
}
