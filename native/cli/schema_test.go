package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/native/analyse"
	"github.com/metaprune/metaprune/native/experiment"
	"github.com/metaprune/metaprune/native/metatrain"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/verify"
	"github.com/metaprune/metaprune/xla"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

const schemas = "../../docs/schemas/"

// printed is what each command prints with --json.
var printed = map[string]reflect.Type{
	"allocate":        reflect.TypeFor[[]*metatrain.Allocation](),
	"analyse":         reflect.TypeFor[[]analyse.Version](),
	"curve":           reflect.TypeFor[[]experiment.Point](),
	"datamodels":      reflect.TypeFor[[]dataModel](),
	"doctor":          reflect.TypeFor[[]xla.Diagnosis](),
	"error":           reflect.TypeFor[faultReport](),
	"eval":            reflect.TypeFor[evaluation](),
	"explain":         reflect.TypeFor[[]explanation](),
	"finetune":        reflect.TypeFor[trainReport](),
	"graph":           reflect.TypeFor[graphReport](),
	"inline":          reflect.TypeFor[inlined](),
	"inspect":         reflect.TypeFor[prune.Report](),
	"metanet-convert": reflect.TypeFor[fileReport](),
	"metanet-forward": reflect.TypeFor[forwardReport](),
	"metanet-info":    reflect.TypeFor[metanetInfo](),
	"metanet-new":     reflect.TypeFor[fileReport](),
	"metatrain":       reflect.TypeFor[metatrainReport](),
	"new":             reflect.TypeFor[newReport](),
	"ops":             reflect.TypeFor[[]op.OpInfo](),
	"pipeline":        reflect.TypeFor[pipelineReport](),
	"prune":           reflect.TypeFor[result](),
	"serve":           reflect.TypeFor[serveReport](),
	"task":            reflect.TypeFor[map[string]task](),
	"train":           reflect.TypeFor[trainReport](),
	"verify":          reflect.TypeFor[verify.Verdict](),
	"version":         reflect.TypeFor[versionReport](),
}

// Every command has a schema, which is made from the type that it prints: a field cannot come or go without the schema, and with it the version, changing. -update writes them anew.
func TestSchemas(t *testing.T) {
	var names []string
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.HasParent() && !c.HasSubCommands() && c.Name() != "help" {
			names = append(names, strings.ReplaceAll(strings.TrimPrefix(c.CommandPath(), "metaprune "), " ", "-"))
		}
	}
	visit((&app{}).root())
	for _, name := range append(names, "error") {
		kind, ok := printed[name]
		require.True(t, ok, "%s has no schema", name)
		compareSchema(t, name, schemaOf(kind))
	}
	files, err := filepath.Glob(schemas + "*.json")
	require.NoError(t, err)
	require.Len(t, files, len(printed))
	require.Len(t, names, len(printed)-1)
}

// compareSchema compares a schema with the file of docs. A change adds one to its version.
func compareSchema(t *testing.T, name string, s object) {
	t.Helper()
	path := schemas + name + ".json"
	version := 1
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", "metaprune "+strings.ReplaceAll(name, "-", " ")+" --json"
	text := func() string {
		s["schema_version"] = version
		b, err := json.MarshalIndent(s, "", " ")
		require.NoError(t, err)
		return string(b) + "\n"
	}
	had, err := os.ReadFile(path)
	if err == nil {
		var old struct {
			Version int `json:"schema_version"`
		}
		require.NoError(t, json.Unmarshal(had, &old))
		version = old.Version
	}
	if string(had) == text() {
		return
	}
	if *update {
		if err == nil {
			version++
		}
		require.NoError(t, os.MkdirAll(schemas, 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text()), 0o644))
		return
	}
	require.Equal(t, string(had), text(), "go test ./native/cli -run TestSchemas -update")
}

// valid checks a command's output by its schema.
func valid(t *testing.T, name, out string) {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemas + name + ".json")
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
	require.NoError(t, err, "%s: %s", name, out)
	require.NoError(t, s.Validate(v), "%s: %s", name, out)
}

// What each command prints is what its schema says; commands that train run with next to nothing.
func TestOutputsFitTheirSchemas(t *testing.T) {
	dir := t.TempDir()
	net := tinyNet(t, dir)
	data := "--images " + fashionData[1] + " --labels " + fashionData[3]
	words := strings.NewReplacer("NET", net, "MODEL", fashion, "DIR/", dir+"/", "DATA", data, "REFERENCE/", reference, "FEW", "--backend go --limit 48 --batch 16")
	seen := map[string]bool{"serve": true} // TestServe
	for _, line := range []string{
		"version", "ops", "doctor", "inspect MODEL", "inspect NET", "explain MODEL layers.0.conv1.weight", "task", "metanet info",
		"new mlp -o DIR/mlp.onnx --widths 8",
		"graph MODEL -o DIR/g.svg", "graph REFERENCE/tiny_net.onnx --scheme reference-cnn -o DIR/graph.safetensors",
		"metanet new -o DIR/mn.safetensors --hidden 4 --layers 1",
		"metanet convert REFERENCE/tiny_metanet.safetensors -o DIR/tiny.safetensors",
		"metanet forward DIR/graph.safetensors --metanet DIR/tiny.safetensors -o DIR/out.safetensors",
		"inline MODEL -o DIR/inlined.onnx",
		"prune MODEL --speed-up 2 -o DIR/cut.onnx --plan DIR/cut.json",
		"prune MODEL --pattern 2:4 -o DIR/zeros.onnx",
		"prune NET --speed-up 1.5 --repair noise --samples 20 --backend go -o DIR/repaired.onnx",
		"prune NET --accuracy 0.01 --dry-run=false DATA FEW -o DIR/least.onnx",
		"verify MODEL DIR/cut.onnx --plan DIR/cut.json", "verify MODEL MODEL --allow-uncompared",
		"eval NET DATA FEW", "analyse NET DATA FEW",
		"curve NET DATA FEW --speed-up 1.5",
		"allocate NET DATA --backend go --samples 10 --judge 5 --rounds 0 --speed-up 2",
		"train NET DATA FEW --epochs 1 -o DIR/trained.onnx", "finetune NET DATA FEW --epochs 1 -o DIR/tuned.onnx",
		"datamodels mlp --widths 0.1 --epochs 1 --finetune-epochs 1 DATA FEW -o DIR/datamodels",
		"metatrain NET DATA FEW --images-per-step 16 --hidden 4 --layers 1 --steps 1 -o DIR/meta.safetensors",
		"pipeline NET DATA FEW --own-weights --speed-up 1.5 --last-epochs 1 -o DIR/done.onnx",
	} {
		args := strings.Fields(words.Replace(line))
		name := args[0]
		if name == "metanet" {
			name += "-" + args[1]
		}
		out := ok(t, append(args, "--json", "-q")...)
		require.NotEmpty(t, out, line)
		valid(t, name, out)
		seen[name] = true
	}
	_, _, said := run(t, "prune", fashion, "--steps", "0", "--json")
	valid(t, "error", said)
	for name := range printed {
		require.True(t, seen[name] || name == "error", "%s was not run", name)
	}
	s, err := jsonschema.NewCompiler().Compile(schemas + "version.json")
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"metaprune": "1", "go": "1", "more": 1}`))
	require.NoError(t, err)
	require.Error(t, s.Validate(v), "a field that the schema does not know is refused")
}
