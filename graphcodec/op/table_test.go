package op

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nodes that only store or pass values on, and branches, belong to the file format; any code may name them.
var structural = []string{"Constant", "Identity", "If"}

// Where single operators may be named outside the table, and why.
var namedElsewhere = map[string]struct {
	names []string
	why   string
}{
	"graphcodec/net_layers.go":          {[]string{"Gemm"}, "the bias of a Gemm may be a matrix, which the parameter graph has no place for"},
	"graphcodec/net_joins.go":           {[]string{"Div", "Split", "Sub"}, "which operand of a difference or quotient is the channels', and which output of a Split"},
	"graphcodec/coupling/branches.go":   {[]string{"Reshape"}, "a Reshape to a computed shape takes any input"},
	"graphcodec/coupling/sizes.go":      {[]string{"Conv"}, "a free input that a Conv reads is assumed to be a picture"},
	"prune/repair/layer.go":             {[]string{"Add"}, "the error of the other operand of a sum is part of a layer's target"},
	"native/cli/values.go":              {[]string{"Slice"}, "the end of a flag's type, not an operator"},
	"prune/gram/products.go":            {nil, "it builds the graphs that accumulate moments"},
	"native/samples/guess.go":           {nil, "it recognises what a model's first nodes do with pictures"},
	"native/samples/tokenizer/split.go": {[]string{"Split"}, "a step of a tokenizer, not an operator"},
	"xla/trainer.go":                    {[]string{"LogSoftmax", "Softmax"}, "a loss on probabilities takes the logits before them"},
	"wasm/gorgo/lower.go":               {nil, "kernels of the second engine"},
}

// named lists the operators that a file names, in order, but for those that it registers or makes nodes of.
func named(t *testing.T, path string, known map[string]bool) []string {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	var out []string
	skip := map[ast.Node]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl: // init registers
			if n.Name.Name == "init" {
				return false
			}
		case *ast.KeyValueExpr: // OpType: "Conv" of a node that is made
			if id, ok := n.Key.(*ast.Ident); ok && id.Name == "OpType" {
				skip[n.Value] = true
			}
		case *ast.BasicLit:
			if name, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && known[name] && !skip[n] {
				out = append(out, name)
			}
		}
		return true
	})
	return out
}

// What the program knows of an operator by its name stands in the table and nowhere else.
func TestOperatorsAreNamedInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, ops := range registry {
		for _, o := range ops {
			known[o.Name] = true
		}
	}
	root := "../.."
	found := map[string][]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (slices.Contains([]string{"node_modules", "testdata", "bench", "randnet", "hostile", "models", "judge"}, d.Name()) || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if names := named(t, path, known); len(names) > 0 {
			found[filepath.ToSlash(rel)] = names
		}
		return err
	}))
	for file, names := range found {
		slices.Sort(names)
		names = slices.Compact(slices.DeleteFunc(names, func(n string) bool { return slices.Contains(structural, n) }))
		listed, ok := namedElsewhere[file]
		switch {
		case len(names) == 0, strings.HasPrefix(file, "xla/op_"), strings.HasPrefix(file, "xla/plan_"), ok && listed.names == nil: // kernels of the engine
		case strings.HasPrefix(file, "graphcodec/op/"): // rules may ask for their own operators; tables are looked for below
		case !slices.Equal(names, listed.names):
			t.Errorf("%s names %s: make it a fact of the operator's entry in graphcodec/op", file, strings.Join(names, ", "))
		}
	}
	for file := range namedElsewhere {
		require.NotEmpty(t, found[file], "%s names no operator any more: take it off the list", file)
	}
}

// Among the rules, too, no map or list is keyed by operators: that would be a second table.
func TestRulesHaveNoTables(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			if d, ok := n.(*ast.FuncDecl); ok && d.Name.Name == "init" {
				return false
			}
			list, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			var names []string
			for _, e := range list.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					e = kv.Key
				}
				if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if name, err := strconv.Unquote(lit.Value); err == nil && isOperator(name) {
						names = append(names, name)
					}
				}
			}
			require.Less(t, len(names), 2, "%s has a table of %v", path, names)
			return true
		})
	}
}

func isOperator(name string) bool {
	for _, ops := range registry {
		for _, o := range ops {
			if o.Name == name {
				return true
			}
		}
	}
	return false
}
