package cli

import (
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

// Every command of the tutorials and those that the README shows run, as they stand, in a folder that has nothing but the testdata.
func TestTutorials(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil || runtime.GOOS == "windows" {
		require.Empty(t, os.Getenv("CI"), "bash has to be there in CI")
		return
	}
	bin := t.TempDir()
	built, err := exec.Command("go", "build", "-o", filepath.Join(bin, "metaprune"), "../metaprune").CombinedOutput()
	require.NoError(t, err, "%s", built)
	testdata, err := filepath.Abs("../../testdata")
	require.NoError(t, err)
	pages, err := filepath.Glob("../../docs/tutorials/*.md")
	require.NoError(t, err)
	require.Len(t, pages, 4)
	for _, page := range append(pages, "../../README.md") {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
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
