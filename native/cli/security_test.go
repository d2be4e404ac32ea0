package cli

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// SECURITY.md says which parts of the program start other programs and which use the network: these packages, by what they import, and no others.
func TestWhatReachesOutside(t *testing.T) {
	allowed := map[string][]string{
		"os/exec":  {"native/engine/ort"},                                                      // Python, asked where ONNX Runtime lies
		"net":      {"native/server"},                                                          // serve
		"net/http": {"native/client", "native/data", "native/server", "wasm/api", "wasm/edge"}, // data sets; the HTTP API
		"plugin":   {},
	}
	found := map[string]map[string]bool{}
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (slices.Contains([]string{"bench", "node_modules", ".venv", "bin", "dist"}, e.Name()) || strings.HasPrefix(e.Name(), ".") && path != root) {
			if e != nil && e.IsDir() && err == nil {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(filepath.ToSlash(path), "native/internal/judge/") {
			return nil // the judge runs in tests alone, see below
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name := strings.Trim(i.Path.Value, `"`)
			if _, ok := allowed[name]; ok {
				folder, err := filepath.Rel(root, filepath.Dir(path))
				if err != nil {
					return err
				}
				if found[name] == nil {
					found[name] = map[string]bool{}
				}
				found[name][filepath.ToSlash(folder)] = true
			}
		}
		return nil
	}))
	for name, want := range allowed {
		got := []string{}
		for folder := range found[name] {
			got = append(got, folder)
		}
		slices.Sort(got)
		require.Equal(t, want, got, "packages that import %s; SECURITY.md says what the program does beyond its files", name)
	}
	program, err := exec.Command("go", "list", "-deps", "../metaprune").Output()
	require.NoError(t, err)
	require.NotContains(t, string(program), "native/internal/judge", "the judge, which starts Python, is for tests")
	page := string(read(t, filepath.Join(root, "SECURITY.md")))
	for _, said := range []string{"METAPRUNE_ORT", "METAPRUNE_PYTHON", "named data sets", "buckets"} {
		require.Contains(t, page, said)
	}
}

// A folder's name is no pattern: brackets in it are themselves.
func TestModelsInFoldersWithBrackets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nets[0-9]")
	for _, name := range []string{"model.onnx", filepath.Join("a", "model.onnx")} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	files, err := modelFiles([]string{dir})
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "model.onnx"), filepath.Join(dir, "a", "model.onnx")}, files)
}
