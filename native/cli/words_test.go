package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoWordTwice finds words that are written twice in a row in the documents, among them what every
// command says about itself (docs/commands.md, which TestCommandReference holds to the program).
func TestNoWordTwice(t *testing.T) {
	word := regexp.MustCompile(`^[A-Za-z]{2,}$`)
	files, err := filepath.Glob("../../*.md")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir("../../docs", func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	}))
	require.Greater(t, len(files), 20)
	for _, path := range files {
		for i, line := range strings.Split(string(read(t, path)), "\n") {
			words := strings.Fields(line)
			for k := 1; k < len(words); k++ {
				twice := words[k] == words[k-1] && word.MatchString(words[k])
				require.False(t, twice && !allowedTwice(words[k]), "%s:%d: %q twice", path, i+1, words[k])
			}
		}
	}
}

// allowedTwice are words that follow themselves in good sentences ("what that that is").
func allowedTwice(word string) bool { return word == "that" || word == "had" }
