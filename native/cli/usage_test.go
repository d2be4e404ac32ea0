package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/prune/faults"
	"github.com/stretchr/testify/require"
)

// What is mistyped is named with what was meant, in one line of text or JSON, and nothing is on standard output.
func TestUsageErrors(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.onnx")
	for _, c := range []struct {
		args string
		code int
		want fault
	}{
		{"frobnicate", 2, fault{faults.Usage, "metaprune", "", "frobnicate", `unknown command "frobnicate" for "metaprune"; metaprune --help lists the commands`}},
		{"prun x", 2, fault{faults.Usage, "metaprune", "", "prun", `unknown command "prun" for "metaprune"; did you mean prune?`}},
		{"metanet inf", 2, fault{faults.Usage, "metaprune metanet", "", "inf", `unknown command "inf" for "metaprune metanet"; did you mean info?`}},
		{"prune", 2, fault{faults.Usage, "metaprune prune", "MODEL", "nothing", "prune: want MODEL, got nothing; metaprune prune --help says more"}},
		{"verify a", 2, fault{faults.Usage, "metaprune verify", "ORIGINAL PRUNED", "a", `verify: want ORIGINAL PRUNED, got "a"; metaprune verify --help says more`}},
		{"version x", 2, fault{faults.Usage, "metaprune version", "no arguments", "x", `version: want no arguments, got "x"; metaprune version --help says more`}},
		{"prune MODEL --speedup 2", 2, fault{faults.Usage, "--speedup", "a flag of metaprune prune", "--speedup", "unknown flag --speedup; did you mean --speed-up?"}},
		{"prune MODEL --frobnicate", 2, fault{faults.Usage, "--frobnicate", "a flag of metaprune prune", "--frobnicate", "unknown flag --frobnicate; metaprune prune --help lists the flags"}},
		{"prune MODEL -qz", 2, fault{faults.Usage, "-z", "a flag of metaprune prune", "-z", "unknown flag -z in -z; metaprune prune --help lists the flags"}},
		{"prune MODEL --steps many", 2, fault{faults.Usage, "--steps", "a whole number, at least 1", "many", `--steps "many": want a whole number`}},
		{"prune MODEL --heads=perhaps", 2, fault{faults.Usage, "--heads", "true or false", "perhaps", `--heads "perhaps": want true or false`}},
		{"serve --timeout 5", 2, fault{faults.Usage, "--timeout", "a time above 0, such as 30s or 5m", "5", "--timeout 5: want a time above 0, such as 30s or 5m"}},
		{"prune MODEL --steps", 2, fault{faults.Usage, "--steps", "a whole number, at least 1", "nothing", "--steps: want a whole number, at least 1, got nothing"}},
		{"metanet new", 2, fault{faults.Usage, "--output", "file for the metanetwork (safetensors)", "nothing", "--output is missing: file for the metanetwork (safetensors)"}},
		{"inspect " + none, 2, fault{faults.IO, none, "", "no such file or directory", "open " + none + ": no such file or directory"}},
		{"prune MODEL --speed-up 1000 --dry-run", 1, fault{faults.Target, "", "speed-up 1000", "", "the target speed-up 1000 cannot be reached"}},
		{"inspect errors.go", 2, fault{faults.Format, "", "", "", "errors.go: "}},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "MODEL", fashion))
		code, out, said := run(t, args...)
		require.Equal(t, c.code, code, "%v: %s", args, said)
		require.Empty(t, out, args)
		require.True(t, strings.HasPrefix(said, "metaprune: "+c.want.Message), "%v: %s", args, said)
		require.Equal(t, 1, strings.Count(said, "\n"), args)

		code, out, said = run(t, append([]string{"--json"}, args...)...)
		require.Equal(t, c.code, code, args)
		require.Empty(t, out, args)
		var got faultReport
		require.NoError(t, json.Unmarshal([]byte(said), &got), said)
		require.Equal(t, 1, strings.Count(said, "\n"), args)
		e := got.Error
		require.Equal(t, c.want.Kind, e.Kind, args)
		if e.Kind != faults.Format {
			require.Equal(t, c.want.Where, e.Where, args)
		}
		require.True(t, strings.HasPrefix(e.Message, c.want.Message), e.Message)
		if c.want.Want != "" {
			require.Equal(t, c.want.Want, e.Want, args)
		}
		if c.want.Got != "" {
			require.Equal(t, c.want.Got, e.Got, args)
		}
		require.NotEmpty(t, e.Got, args)
	}
}

func TestJSONIsAskedForBeforeFlagsAreRead(t *testing.T) {
	for args, want := range map[string]bool{"prune --json": true, "prune --json=true x": true, "prune": false, "prune --json=false": false, "inspect -- --json": false} {
		require.Equal(t, want, wantsJSON(strings.Fields(args)), args)
	}
}

// What was asked of a file that is not there, or may not be written, is an error of io.
func TestErrorsOfFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for _, out := range []string{filepath.Join(dir, "no", "folder.onnx"), filepath.Join(dir, "file", "x.onnx")} {
		code, _, said := run(t, "prune", fashion, "--speed-up", "2", "-o", out, "--json")
		require.Equal(t, 2, code)
		var got faultReport
		require.NoError(t, json.Unmarshal([]byte(said), &got), said)
		require.Equal(t, faults.IO, got.Error.Kind, said)
		require.Contains(t, got.Error.Message, out)
	}
}
