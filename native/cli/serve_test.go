package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/client"
	"github.com/stretchr/testify/require"
)

// serving starts the service in a process of its own and returns its URL.
func serving(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	c := program(append([]string{"serve", "--addr", "127.0.0.1:0", "--json", "--log", "json"}, args...)...)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill() })
	var at struct{ URL string }
	require.NoError(t, json.NewDecoder(out).Decode(&at))
	return c, at.URL
}

func TestServe(t *testing.T) {
	const model = "../../testdata/fashion-resnet20.onnx"
	spool, ctx := t.TempDir(), context.Background()
	data := read(t, model)
	c, url := serving(t, "--spool", spool, "--memory", "100MB")
	out := filepath.Join(t.TempDir(), "cli.onnx")
	ok(t, "prune", model, "--speed-up", "2", "-o", out)
	prune := func(url string) []byte {
		var b bytes.Buffer
		require.NoError(t, (&client.Client{URL: url}).Prune(ctx, bytes.NewReader(data), client.Options{SpeedUp: 2}, &b))
		return b.Bytes()
	}
	require.True(t, bytes.Equal(read(t, out), prune(url)))

	// Killed in the middle of an upload: nothing is left, and it starts again.
	defer fill(t, url)()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1/prune?speed-up=2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(data), data[:len(data)/2])
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, c.Process.Signal(syscall.SIGKILL))
	require.Error(t, c.Wait())
	list, err := os.ReadDir(spool)
	require.NoError(t, err)
	require.Empty(t, list)
	c, url = serving(t, "--spool", spool)
	require.True(t, bytes.Equal(read(t, out), prune(url)))
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.NoError(t, c.Wait())
}

// The commands of the page on serving run as they stand, against a server of this test's.
func TestServingPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		require.Empty(t, os.Getenv("CI"), "curl has to be there in CI")
		return
	}
	_, url := serving(t)
	dir := t.TempDir()
	data := read(t, "../../testdata/fashion-resnet20.onnx")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "photos.zip"), read(t, "../../testdata/calibration/photos.zip"), 0o644))
	block := fenced.FindStringSubmatch(string(read(t, "../../docs/serving.md")))[1]
	require.Contains(t, block, "localhost:8080/v1/apply")
	host := strings.TrimPrefix(url, "http://")
	for line := range strings.Lines(strings.ReplaceAll(block, "localhost:8080", host)) {
		c := exec.Command("bash", "-c", strings.Replace(line, "curl ", "curl -sSf ", 1))
		c.Dir = dir
		said, err := c.CombinedOutput()
		require.NoError(t, err, "%s%s", line, said)
	}
	out := filepath.Join(dir, "cli.onnx")
	ok(t, "prune", filepath.Join(dir, "model.onnx"), "--from-plan", filepath.Join(dir, "plan.json"), "-o", out)
	require.True(t, bytes.Equal(read(t, out), read(t, filepath.Join(dir, "smaller.onnx"))))
}

func TestServeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"size":    {[]string{"--max-size", "big"}, `--max-size "big": want a size`},
		"count":   {[]string{"--max-requests", "0"}, "--max-requests 0"},
		"timeout": {[]string{"--timeout", "0s"}, "want a time above 0"},
		"log":     {[]string{"--log", "xml"}, "want text, json or none"},
		"tls":     {[]string{"--tls-cert", "x"}, "a certificate and its key"},
		"metanet": {[]string{"--metanet", "none.safetensors"}, "none.safetensors"},
		"address": {[]string{"--addr", "nowhere:99999"}, "99999"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, message := run(t, append([]string{"serve"}, c.args...)...)
			require.Equal(t, exitInput, code)
			require.Contains(t, message, c.want)
		})
	}
}

// fill takes the room for models in memory by an upload that does not end, until it is told to.
func fill(t *testing.T, url string) func() {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nx", 25_000_000)
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond)
	return func() { _ = conn.Close() }
}
