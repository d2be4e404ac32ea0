package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptionsOfLibrariesGetTheirFlags(t *testing.T) {
	require.Equal(t, "give --backend, or --repair noise", withFlags(`give option "backend", or option "repair noise"`))
	require.Equal(t, `no option "", adoption "x"`, withFlags(`no option "", adoption "x"`))
}

// TestLibrariesNameNoFlags looks for flags in the texts of packages that other front ends use too.
func TestLibrariesNameNoFlags(t *testing.T) {
	flag := regexp.MustCompile(`(^|[\s("'` + "`" + `])--[a-z]`)
	root := "../.."
	files := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if slices.Contains([]string{"native/cli", "native/internal", "bench", "site", "bin", "dist", "testdata"}, rel) || (strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && flag.MatchString(s) {
					t.Errorf("%s: a library names the flag of one front end; say option \"NAME\": %s", rel, l.Value)
				}
			}
			return true
		})
		return nil
	}))
	require.Greater(t, files, 200)
}
