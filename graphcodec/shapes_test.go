//go:build !js

package graphcodec_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the list of node tests whose shapes are not inferred")

const shapeList = "testdata/shapes.txt"

// nodeTests is a folder of ONNX's own node tests with their recorded inputs and outputs, made by the onnx package of the judge's Python environment.
func nodeTests(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("METAPRUNE_NODE_TESTS"); dir != "" {
		return dir
	}
	const python = "../.venv/bin/python"
	if _, err := os.Stat(python); err != nil {
		require.Empty(t, os.Getenv("CI"), "ONNX's node tests have to run in CI: make venv")
		t.Skip("the onnx package is not installed: make venv")
	}
	dir := t.TempDir()
	said, err := exec.Command(python, "../testdata/node_tests.py", dir).CombinedOutput()
	require.NoError(t, err, "%s", said)
	return dir
}

// TestShapesOfNodeTests (not on js, which cannot start Python) holds the shapes that rules infer against the recorded outputs of ONNX's node tests. Every input but the first is a constant, as it is in exported models. testdata/shapes.txt lists the cases whose shapes stay
// unknown or symbolic, with the reason; a shape that is known and wrong is never listed, and a case whose shapes are inferred has to leave the list.
func TestShapesOfNodeTests(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(nodeTests(t), "*"))
	require.NoError(t, err)
	require.Greater(t, len(dirs), 1500)
	list, found, wrong := readShapeList(t), map[string]string{}, 0
	for _, dir := range dirs {
		name := filepath.Base(dir)
		open, bad := shapesOfCase(t, dir)
		if bad != "" {
			t.Errorf("%s: %s", name, bad)
			wrong++
		}
		if open != "" {
			found[name] = open
		}
		if !*update && bad == "" {
			require.Equal(t, list[name] == "", open == "", "%s: %s: not what %s says", name, open, shapeList)
		}
	}
	t.Logf("%d of %d node tests: every output's shape is inferred and is the recorded one", len(dirs)-len(found)-wrong, len(dirs))
	if *update {
		writeShapeList(t, found)
	}
}

// shapesOfCase says of one node test which shape is not inferred, and which is wrong.
func shapesOfCase(t *testing.T, dir string) (open, wrong string) {
	data, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	g := *m.Graph
	g.ValueInfos = nil
	for i, in := range m.Graph.Inputs {
		tensor := readPB(t, filepath.Join(dir, fmt.Sprintf("input_%d.pb", i)))
		if tensor == nil || i == 0 {
			continue
		}
		tensor.Name = in.Name
		g.Initializers = append(g.Initializers, tensor)
	}
	g.Outputs = nil
	for _, o := range m.Graph.Outputs {
		g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: o.Name})
	}
	m.Graph = &g
	a, err := coupling.Analyze(m)
	if err != nil {
		return "", err.Error()
	}
	for i, o := range g.Outputs {
		want := readPB(t, filepath.Join(dir, fmt.Sprintf("output_%d.pb", i)))
		if want == nil {
			continue
		}
		v := a.Value(o.Name)
		if !v.Ranked {
			return "rank unknown: " + unknownOp(m), ""
		}
		if len(v.Shape) != len(want.Dims) {
			return "", fmt.Sprintf("output %d: %v, want %v", i, v.Shape, want.Dims)
		}
		for k, d := range v.Shape {
			if !d.IsNum() {
				open = fmt.Sprintf("output %d: %v, ran as %v", i, v.Shape, want.Dims)
			} else if d.N != want.Dims[k] {
				return "", fmt.Sprintf("output %d: %v, want %v", i, v.Shape, want.Dims)
			}
		}
	}
	return open, ""
}

// unknownOp names the operators of the model that have no rule.
func unknownOp(m *onnxio.Model) string {
	known := map[string]bool{}
	for _, o := range op.Operators() {
		known[o.Domain+":"+o.Op] = true
	}
	var out []string
	for _, n := range m.Graph.Nodes {
		if !known[n.Domain+":"+n.OpType] {
			out = append(out, n.OpType)
		}
	}
	if len(out) > 0 {
		return "no rule for " + strings.Join(out, ", ")
	}
	return "the shape depends on data"
}

// readPB reads a recorded tensor, nil where the case has none (sequences, optionals) .
func readPB(t *testing.T, path string) *onnxio.Tensor {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	tensor, err := onnxio.DecodeTensor(data)
	require.NoError(t, err)
	return tensor
}

func readShapeList(t *testing.T) map[string]string {
	f, err := os.Open(shapeList)
	require.NoError(t, err)
	defer f.Close()
	out := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, why, ok := strings.Cut(s.Text(), "\t"); ok {
			out[name] = why
		}
	}
	return out
}

func writeShapeList(t *testing.T, found map[string]string) {
	lines := []string{"# ONNX's node tests whose output shapes no rule infers, with the reason. Written by go test ./graphcodec -run ShapesOfNodeTests -update."}
	for name, why := range found {
		lines = append(lines, name+"\t"+why)
	}
	sort.Strings(lines[1:])
	require.NoError(t, os.MkdirAll(filepath.Dir(shapeList), 0o755))
	require.NoError(t, os.WriteFile(shapeList, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}
