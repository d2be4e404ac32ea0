package xla

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the conformance list")

// backendUnderTest is the backend that METAPRUNE_BACKEND names, the pure-Go one by default.
func backendUnderTest(t testing.TB) *Backend {
	kind := os.Getenv("METAPRUNE_BACKEND")
	if kind == "" {
		kind = Go
	}
	b, err := Open(kind)
	require.NoError(t, err)
	return b
}

func readTensor(path string) (*onnxio.Tensor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return onnxio.DecodeTensor(data)
}

// readCase reads a model folder of ONNX's tests with the inputs of its first data set; integers are part of the program.
func readCase(dir string) (p *Program, in []Array, done func() error, err error) {
	file, err := onnxio.Open(filepath.Join(dir, "model.onnx"))
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	if p, err = Load(file.Model); err != nil {
		return nil, nil, nil, err
	}
	for i, input := range append([]Input(nil), p.Inputs...) {
		t, err := readTensor(filepath.Join(dir, "test_data_set_0", fmt.Sprintf("input_%d.pb", i)))
		if err != nil {
			return nil, nil, nil, err
		}
		if t.DataType != input.Type {
			return nil, nil, nil, fmt.Errorf("the data set holds %s, the model needs %s", t.DataType, input.Type)
		}
		if i > 0 && (t.DataType.IsInteger() || len(t.Dims) == 0 || strings.Contains(dir, "resize") || strings.Contains(dir, "upsample")) {
			p.Fix(input.Name, t)
			continue
		}
		a, err := readArray(t)
		if err != nil {
			return nil, nil, nil, err
		}
		in = append(in, a)
	}
	return p, in, file.Close, nil
}

// conforms runs a model folder of ONNX's tests and compares its first data set.
func conforms(b *Backend, dir string, tolerance float64) error {
	p, in, done, err := readCase(dir)
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	r, err := NewRunner(b, p)
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := r.Run(in...)
	if err != nil {
		return err
	}
	for i := range p.Outputs {
		t, err := readTensor(filepath.Join(dir, "test_data_set_0", fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			return err
		}
		want, err := readArray(t)
		if err != nil {
			return err
		}
		if err := same(want, out[i], tolerance); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// same compares two arrays, relative to the largest element.
func same(want, got Array, tolerance float64) error {
	if fmt.Sprint(want.Dims) != fmt.Sprint(got.Dims) {
		return fmt.Errorf("differs: shape %v, want %v", got.Dims, want.Dims)
	}
	for i := range want.Ints {
		if i >= len(got.Ints) || want.Ints[i] != got.Ints[i] {
			return fmt.Errorf("differs: element %d of integers", i)
		}
	}
	top := 1.0
	for _, v := range want.Floats {
		if !math.IsInf(float64(v), 0) {
			top = max(top, math.Abs(float64(v)))
		}
	}
	for i, v := range want.Floats {
		if i >= len(got.Floats) {
			return fmt.Errorf("differs: %d elements", len(got.Floats))
		}
		d := math.Abs(float64(v - got.Floats[i]))
		if v == got.Floats[i] || math.IsNaN(float64(v)) && math.IsNaN(float64(got.Floats[i])) {
			continue
		}
		if !(d <= tolerance*top) {
			return fmt.Errorf("differs: element %d is %g, want %g", i, got.Floats[i], v)
		}
	}
	return nil
}

// nodeTests are the folders of ONNX's own node tests: of METAPRUNE_NODE_TESTS, else of Debian's
// libonnx-testdata. Without them the test is skipped, which fails in CI.
func nodeTests(t *testing.T) []string {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(cmp.Or(os.Getenv("METAPRUNE_NODE_TESTS"), "/usr/share/libonnx-testdata/data/node"), "*"))
	if len(dirs) == 0 {
		require.Empty(t, os.Getenv("CI"), "ONNX's node tests have to run in CI: make testdata")
		t.Skip("ONNX's node tests are not installed: make testdata")
	}
	return dirs
}

// TestConformance runs ONNX's own node tests. testdata/conformance.txt lists those that do not run, with the reason; one that starts to run has to leave the list, and
// one that runs but gives something else is never listed.
func TestConformance(t *testing.T) {
	dirs := nodeTests(t)
	b := backendUnderTest(t)
	list := readList(t, "testdata/conformance.txt")
	found := map[string]string{}
	passed := 0
	for _, dir := range dirs {
		name := filepath.Base(dir)
		err := conforms(b, dir, 1e-3)
		if err == nil {
			passed++
			if !*update && b.Kind == Go {
				require.NotContains(t, list, name, "runs now: take it off the list")
			}
			continue
		}
		found[name] = strings.ReplaceAll(err.Error(), "\n", " ")
		if *update {
			continue
		}
		require.Contains(t, list, name, found[name])
	}
	t.Logf("%d of %d node tests run and agree", passed, len(dirs))
	if *update {
		writeList(t, "testdata/conformance.txt", found)
	}
}

// references is a folder that testdata/reference.py wrote: METAPRUNE_REFERENCES, or one made now of the repository's models.
func references(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("METAPRUNE_REFERENCES"); dir != "" {
		return dir
	}
	const python = "../.venv/bin/python"
	if _, err := os.Stat(python); err != nil {
		require.Empty(t, os.Getenv("CI"), "the models have to be compared with ONNX Runtime in CI: make venv")
		t.Skip("ONNX Runtime is not installed: make venv")
	}
	files, err := filepath.Glob("../testdata/models/*.onnx")
	require.NoError(t, err)
	dir := t.TempDir()
	said, err := exec.Command(python, append([]string{"testdata/reference.py", dir}, append(files, "../testdata/fashion-resnet20.onnx")...)...).CombinedOutput()
	require.NoError(t, err, "%s", said)
	return dir
}

// TestZoo compares models with ONNX Runtime. testdata/zoo.txt lists those that do not run, with the reason.
func TestZoo(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(references(t), "*/model.onnx"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	b := backendUnderTest(t)
	list, found := readList(t, "testdata/zoo.txt"), map[string]string{}
	for _, file := range dirs {
		name := filepath.Base(filepath.Dir(file))
		start := time.Now()
		err := conforms(b, filepath.Dir(file), 1e-3)
		t.Logf("%-40s %6.1f s %v", name, time.Since(start).Seconds(), err)
		if err != nil {
			found[name] = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if !*update {
			require.Equal(t, list[name] == "", err == nil, "%s: %v", name, err)
		}
	}
	if *update {
		writeList(t, "testdata/zoo.txt", found)
	}
}

func readList(t *testing.T, path string) map[string]string {
	out := map[string]string{}
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return out
	}
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, why, ok := strings.Cut(s.Text(), "\t"); ok && !strings.HasPrefix(name, "#") {
			out[name] = why
		}
	}
	return out
}

func writeList(t *testing.T, path string, found map[string]string) {
	var lines []string
	for name, why := range found {
		lines = append(lines, name+"\t"+why)
	}
	sort.Strings(lines)
	head := "# Cases that do not run, one a line, with the reason. Written by go test ./xla -run 'Conformance|Zoo' -update.\n"
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(head+strings.Join(lines, "\n")+"\n"), 0o644))
}
