package judge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// python is the interpreter that has ONNX Runtime: METAPRUNE_PYTHON, or the environment that `make venv` makes. Without one it is empty, and a test in CI fails.
func python(t testing.TB) string {
	t.Helper()
	path := os.Getenv("METAPRUNE_PYTHON")
	if path == "" {
		path = filepath.Join(Root(), ".venv/bin/python")
	}
	if _, err := os.Stat(path); err != nil {
		require.Empty(t, os.Getenv("CI"), "the judge has to run in CI: make venv")
		t.Logf("the judge is not installed (make venv): %v", err)
		return ""
	}
	return path
}

// Root is the repository's folder, as seen from that of a test.
func Root() string {
	dir := "."
	for range 9 {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Join(dir, "..")
	}
	return dir
}

// Judge is a running judge, asked from one goroutine at a time. A nil Judge, which Start returns where the judge is not installed, accepts everything.
type Judge struct {
	questions *json.Encoder
	answers   *bufio.Reader
	said      *bytes.Buffer // what Python wrote on standard error
}

// Start starts a judge that ends with the test.
func Start(t testing.TB) *Judge {
	t.Helper()
	interpreter := python(t)
	if interpreter == "" {
		return nil
	}
	c := exec.Command(interpreter, filepath.Join(Root(), "testdata/check_pruned.py"), "--serve")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	j := &Judge{questions: json.NewEncoder(in), answers: bufio.NewReader(out), said: &bytes.Buffer{}}
	c.Stderr = j.said
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("the judge ended with %v: %s", err, j.said)
		}
	})
	return j
}

// Accepts fails the test where the judge does not accept a pruned model. The arguments are those of check_pruned.py: the original, the pruned model, the plan, flags.
func (j *Judge) Accepts(t testing.TB, args ...string) {
	t.Helper()
	if j == nil {
		return
	}
	require.NoError(t, j.questions.Encode(args))
	answer, err := j.answers.ReadString('\n')
	require.NoError(t, err, "the judge gave no answer about %s", args)
	require.True(t, accepted(answer), "%s: %s", args, answer)
	t.Logf("%s", strings.TrimSpace(answer))
}

// accepted reads the verdict at the end of an answer, which may hold numbers that JSON does not have, such as Infinity.
func accepted(answer string) bool {
	return strings.HasSuffix(strings.TrimSpace(answer), `"ok": true}`)
}
