package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// asTyped are commands behind a prompt, with what they print below them.
var asTyped = regexp.MustCompile(`(?m)^\$ (.*)$`)

// Every command of the tutorials and those that the README shows run, as they stand, in a folder that has nothing but the testdata. In a short run the data sets there hold fewer images.
func TestTutorials(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil || runtime.GOOS == "windows" {
		require.Empty(t, os.Getenv("CI"), "bash has to be there in CI")
		return
	}
	bin := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "metaprune"), []byte("#!/bin/sh\nMETAPRUNE_TEST_MAIN=1 GOGC=400 exec '"+self+"' \"$@\"\n"), 0o700))
	testdata, err := filepath.Abs("../../testdata")
	require.NoError(t, err)
	if testing.Short() {
		testdata = fewImages(t, testdata)
	}
	pages, err := filepath.Glob("../../docs/tutorials/*.md")
	require.NoError(t, err)
	require.Len(t, pages, 4)
	for _, page := range append(pages, "../../docs/calibration.md", "../../README.md") {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.Symlink(testdata, filepath.Join(dir, "testdata")))
			blocks := shellBlock.FindAllStringSubmatch(string(read(t, page)), -1)
			if len(blocks) == 0 {
				blocks = asTyped.FindAllStringSubmatch(string(read(t, page)), -1)
			}
			require.NotEmpty(t, blocks)
			for _, b := range blocks {
				c := exec.Command("bash", "-euo", "pipefail", "-c", b[1])
				c.Dir, c.Env = dir, append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
				said, err := c.CombinedOutput()
				require.NoError(t, err, "%s\n%s", b[1], said)
			}
		})
	}
}

// fewImages is a folder like another one, in which the first images and labels stand for all.
func fewImages(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, e := range entries {
		n := 200
		if strings.HasPrefix(e.Name(), "fashion-train") {
			n = 40
		}
		path := filepath.Join(from, e.Name())
		if !strings.HasSuffix(e.Name(), "-ubyte.gz") {
			require.NoError(t, os.Symlink(path, filepath.Join(to, e.Name())))
			continue
		}
		require.NoError(t, os.WriteFile(filepath.Join(to, e.Name()), firstOf(t, read(t, path), n), 0o600))
	}
	return to
}

// firstOf keeps the first n elements of a packed IDX file.
func firstOf(t *testing.T, packed []byte, n int) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	head := 4 + 4*int(raw[3]) // type, and the lengths of the axes
	of := int(binary.BigEndian.Uint32(raw[4:]))
	require.Greater(t, of, n)
	binary.BigEndian.PutUint32(raw[4:], uint32(n))
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err = w.Write(raw[:head+(len(raw)-head)/of*n])
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

var (
	fenced   = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	inline   = regexp.MustCompile("`((?:metaprune|make) [^`]*)`")
	makeGoal = regexp.MustCompile(`(?m)^([a-z-]+):`)
)

// documented lists the commands that a page shows, in blocks and in running text.
func documented(page string) []string {
	var out []string
	for _, b := range fenced.FindAllStringSubmatch(page, -1) {
		joined := strings.ReplaceAll(b[1], "\\\n", " ")
		for line := range strings.Lines(joined) {
			line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "$ "), " #")
			if strings.HasPrefix(line, "metaprune ") || strings.HasPrefix(line, "make ") {
				out = append(out, line)
			}
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		out = append(out, m[1])
	}
	return out
}

// Every command that a page names exists, with the flags that it is given; those of the tutorials run in TestTutorials too.
func TestDocumentedCommandsExist(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	goals := map[string]bool{}
	for _, m := range makeGoal.FindAllStringSubmatch(string(read(t, "../../Makefile")), -1) {
		goals[m[1]] = true
	}
	seen := 0
	for _, page := range pages {
		for _, line := range documented(string(read(t, page))) {
			words := strings.Fields(line)
			seen++
			if words[0] == "make" {
				for _, w := range words[1:] {
					require.True(t, goals[w] || strings.Contains(w, "="), "%s: %q: there is no such target", page, line)
				}
				continue
			}
			require.NoError(t, exists(words[1:]), "%s: %q", page, line)
		}
	}
	require.Greater(t, seen, 60)
}

// exists reports a command or flag that the program does not have. What stands for a value, such as N or FILE, is one.
func exists(words []string) error {
	var flags []string
	for i, w := range words {
		if strings.ContainsAny(w, "|>&;") { // a shell's
			words = words[:i]
			break
		}
	}
	root := (&app{out: io.Discard, err: io.Discard}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	for _, w := range rest {
		if strings.HasPrefix(w, "-") {
			name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
			flags = append(flags, name)
		}
	}
	c.InheritedFlags() // joins the flags of its parents
	for _, name := range flags {
		if c.Flags().Lookup(name) == nil && (len(name) != 1 || c.Flags().ShorthandLookup(name) == nil) && name != "help" && name != "version" {
			return fmt.Errorf("%s has no flag %q", c.CommandPath(), name)
		}
	}
	return nil
}

// The README's row on exports holds what docs/results/rivals.jsonl holds, and no other page says another number.
func TestReadmeTellsRivalsAsMeasured(t *testing.T) {
	reached, of := map[string]int{}, 0
	for _, line := range strings.Split(strings.TrimSpace(string(read(t, "../../docs/results/rivals.jsonl"))), "\n") {
		var point map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(line), &point))
		var model string
		require.NoError(t, json.Unmarshal(point["model"], &model))
		if !strings.HasSuffix(model, ".ts") {
			continue // not there as a PyTorch model
		}
		of++
		for tool, said := range point {
			var got struct {
				SpeedUp float64 `json:"speed_up"`
			}
			if tool != "model" && json.Unmarshal(said, &got) == nil && got.SpeedUp >= 1.5*0.999 {
				reached[tool]++
			}
		}
	}
	row := fmt.Sprintf("| %d exports to 1.5x, nothing set per model ([each](docs/results/rivals.md)) | %d | %d | %d |", of, reached["metaprune"], reached["torch_pruning"], reached["onnxsim"])
	readme := string(read(t, "../../README.md"))
	require.True(t, strings.Contains(readme, row), "README.md has to hold the line\n%s", row)
	require.Equal(t, 1, strings.Count(readme, "docs/results/rivals.md"), "the numbers are told once")
}
