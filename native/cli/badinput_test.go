package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// small returns a model of two Gemm layers for tests to break.
func small() *onnxio.Model {
	float := func(name string, dims ...int64) *onnxio.Tensor {
		n := int64(4)
		for _, d := range dims {
			n *= d
		}
		return &onnxio.Tensor{Name: name, DataType: onnxio.Float, Dims: dims, RawData: bytes.Repeat([]byte{0, 0, 128, 63}, int(n/4))}
	}
	value := func(name string, dims ...int64) *onnxio.ValueInfo {
		s := &onnxio.Shape{}
		for _, d := range dims {
			s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
		}
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
	}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "g",
		Inputs: []*onnxio.ValueInfo{value("x", 1, 4)}, Outputs: []*onnxio.ValueInfo{value("y", 1, 2)},
		Initializers: []*onnxio.Tensor{float("w1", 4, 8), float("w2", 8, 2)},
		Nodes: []*onnxio.Node{{OpType: "Gemm", Name: "first", Inputs: []string{"x", "w1"}, Outputs: []string{"h"}},
			{OpType: "Gemm", Name: "second", Inputs: []string{"h", "w2"}, Outputs: []string{"y"}}}}}
}

// broken lists the ways to break a model file, by name.
func broken(t *testing.T) map[string][]byte {
	t.Helper()
	good := read(t, fashion)
	out := map[string][]byte{"empty": {}, "text": []byte("hello, I am no model\n"), "truncated": good[:len(good)/2], "no-graph": {8, 8}}
	for name, breakIt := range map[string]func(m *onnxio.Model){
		"wrong-length":      func(m *onnxio.Model) { m.Graph.Initializers[0].RawData = m.Graph.Initializers[0].RawData[4:] },
		"missing-weight":    func(m *onnxio.Model) { m.Graph.Initializers = m.Graph.Initializers[1:] },
		"cycle":             func(m *onnxio.Model) { m.Graph.Nodes[0].Inputs[0] = "y" },
		"duplicate-value":   func(m *onnxio.Model) { m.Graph.Nodes[1].Outputs[0] = "h" },
		"duplicate-weight":  func(m *onnxio.Model) { m.Graph.Initializers[1].Name = "w1" },
		"negative-dim":      func(m *onnxio.Model) { m.Graph.Initializers[0].Dims = []int64{-4, 8} },
		"overflowing-dims":  func(m *onnxio.Model) { m.Graph.Initializers[0].Dims = []int64{1 << 40, 1 << 40} },
		"unknown-type":      func(m *onnxio.Model) { m.Graph.Initializers[0].DataType = 99 },
		"missing-output":    func(m *onnxio.Model) { m.Graph.Outputs[0].Name = "nowhere" },
		"external-outside":  func(m *onnxio.Model) { m.Graph.Initializers[0].SetExternal("../secret.bin", 0, 128) },
		"external-absolute": func(m *onnxio.Model) { m.Graph.Initializers[0].SetExternal("/etc/hostname", 0, 128) },
		"external-missing":  func(m *onnxio.Model) { m.Graph.Initializers[0].SetExternal("missing.bin", 0, 128) },
		"external-short":    func(m *onnxio.Model) { m.Graph.Initializers[0].SetExternal("short.bin", 0, 128) },
	} {
		m := small()
		breakIt(m)
		data, err := m.Marshal()
		require.NoError(t, err)
		out[name] = data
	}
	return out
}

// Every broken file gives exit code 2, a message that names the place (golden) and nothing written.
func TestBrokenModels(t *testing.T) {
	cases := broken(t)
	names := make([]string, 0, len(cases))
	for n := range cases {
		names = append(names, n)
	}
	sort.Strings(names)
	var golden strings.Builder
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "short.bin"), make([]byte, 8), 0o600))
	for _, n := range names {
		path := filepath.Join(dir, "model.onnx")
		require.NoError(t, os.WriteFile(path, cases[n], 0o600))
		code, _, errOut := run(t, "prune", path, "--speed-up", "1.5", "-o", filepath.Join(dir, "out.onnx"), "--plan", filepath.Join(dir, "p.json"))
		require.Equal(t, 2, code, "%s: %s", n, errOut)
		require.NotContains(t, errOut, "panic", n)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 2, n)
		fmt.Fprintf(&golden, "%s: %s", n, strings.ReplaceAll(errOut, dir+string(filepath.Separator), ""))
	}
	compareGolden(t, "testdata/broken_models.txt", golden.String())
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	require.Equal(t, string(read(t, path)), got)
}

func TestBadRequests(t *testing.T) {
	dir := t.TempDir()
	plan, out := filepath.Join(dir, "p.json"), filepath.Join(dir, "o.onnx")
	ok(t, "prune", fashion, "--speed-up", "1.2", "--dry-run", "--plan", plan, "-q")
	other := filepath.Join(dir, "other.onnx")
	data, err := small().Marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(other, data, 0o600))
	badPlan := filepath.Join(dir, "bad.json")
	require.NoError(t, os.WriteFile(badPlan, bytes.Replace(read(t, plan), []byte(fmt.Sprintf(`"version": %d`, planner.PlanVersion)), []byte(`"version": 9`), 1), 0o600))
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "the target speed-up 1000 cannot be reached; the most that can be removed gives", []string{"prune", fashion, "--speed-up", "1000", "-o", out}},
		{2, "want exactly one target", []string{"prune", fashion, "-o", out}},
		{2, "want exactly one target", []string{"prune", fashion, "--speed-up", "2", "--ratio", "0.5", "-o", out}},
		{2, "--speed-up 0.5: want a number such as 2 or 2x, at least 1", []string{"prune", fashion, "--speed-up", "0.5", "-o", out}},
		{2, `criterion "l9"`, []string{"prune", fashion, "--speed-up", "2", "--criterion", "l9", "-o", out}},
		{2, `--size "many"`, []string{"prune", fashion, "--size", "many", "-o", out}},
		{2, `ignore: "conv[" is neither a name in the model nor a valid pattern: syntax error in pattern`, []string{"prune", fashion, "--speed-up", "2", "--ignore", "conv[", "-o", out}},
		{2, `ignore: "conv[" is neither a name`, []string{"prune", fashion, "--pattern", "2:4", "--ignore", "conv[", "-o", out}},
		{2, `"conv[" is neither a name`, []string{"explain", fashion, "conv["}},
		{2, "name it with -o FILE", []string{"prune", "-", "--speed-up", "2"}},
		{2, "would be overwritten", []string{"prune", other, "--speed-up", "1.1", "-o", other}},
		{2, "no such file", []string{"prune", filepath.Join(dir, "none.onnx"), "--speed-up", "2", "-o", out}},
		{2, "does not exist", []string{"prune", fashion, "--speed-up", "2", "-o", filepath.Join(dir, "no", "folder", "o.onnx")}},
		{2, "is a folder", []string{"prune", fashion, "--speed-up", "2", "-o", dir}},
		{2, "it was made for another model", []string{"prune", other, "--from-plan", plan, "-o", out}},
		{2, "made by a newer metaprune (plan version 9)", []string{"prune", fashion, "--from-plan", badPlan, "-o", out}},
		{2, "not readable as JSON", []string{"prune", fashion, "--from-plan", fashion, "-o", out}},
		{2, "unknown command", []string{"frobnicate"}},
	} {
		code, _, errOut := run(t, c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, errOut)
		require.Contains(t, errOut, c.want)
		require.NoFileExists(t, out)
	}
	require.True(t, bytes.Equal(data, read(t, other)), "the model is as it was")
}

// A model of which nothing can be pruned reaches no target, whatever it is.
func TestNothingPrunable(t *testing.T) {
	m := small()
	m.Graph.Nodes, m.Graph.Initializers = m.Graph.Nodes[:1], m.Graph.Initializers[:1] // one layer from input to output
	m.Graph.Nodes[0].Outputs[0] = "y"
	m.Graph.Outputs[0].Type.Tensor.Shape.Dims[1].Value = 8
	data, err := m.Marshal()
	require.NoError(t, err)
	dir := t.TempDir()
	path, out := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "o.onnx")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	for _, target := range [][]string{{"--ratio", "0.2"}, {"--ratio", "20%"}, {"--speed-up", "1.5"}, {"--params", "50%"}, {"--size", "50%"}, {"--pattern", "3:5"}, {"--pattern", "unstructured", "--ignore", "w1"}} {
		code, _, said := run(t, append([]string{"prune", path, "-o", out}, target...)...)
		require.Equal(t, exitTarget, code, "%v: %s", target, said)
		require.Contains(t, said, "cannot be reached", target)
		require.NoFileExists(t, out)
	}
}
