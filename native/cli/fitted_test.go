package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/stretchr/testify/require"
)

func TestMiddleCut(t *testing.T) {
	require.Equal(t, "short", middleCut("short", 5))
	require.Equal(t, "/lay…Conv", middleCut("/layer1/0/conv1/Conv", 9))
	require.Equal(t, "größ…länge", middleCut("größer als die länge", 10))
	require.Equal(t, "several\nlines of text", middleCut("several\nlines of text", 5))
}

// In a terminal a table is no wider than it; names are cut in the middle, sentences wrapped, and numbers whole.
func TestTablesFitTheTerminal(t *testing.T) {
	draw := func(columns int) []string {
		var out bytes.Buffer
		a := &app{out: &out, columns: columns}
		w := a.table("id", "layer", "MACs", "reason")
		w.SetColumnConfigs(append(rightAligned(3), table.ColumnConfig{Number: 4, WidthMax: 70}))
		w.AppendRow(table.Row{"g1", "/model/" + strings.Repeat("block/", 20) + "conv1/Conv", "123456789012", strings.Repeat("why it cannot be pruned ", 8)})
		w.AppendRows([]table.Row{{"g2", "short", "7", ""}})
		w.Render()
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	for _, columns := range []int{70, 80, 100, 133} {
		for _, line := range draw(columns) {
			require.LessOrEqual(t, utf8.RuneCountInString(line), columns, line)
		}
		whole := strings.Join(draw(columns), "\n")
		require.Contains(t, whole, "123456789012")
		require.Contains(t, whole, "…")
		require.Contains(t, whole, "nv1/Conv ")
		require.Contains(t, whole, "/model/")
	}
	require.NotContains(t, strings.Join(draw(0), "\n"), "…", "what is no terminal gets everything")
	require.NotContains(t, strings.Join(draw(400), "\n"), "…")
}

// Pipes and JSON get whole names, whatever COLUMNS says.
func TestPipesGetWholeNames(t *testing.T) {
	t.Setenv("COLUMNS", "20")
	require.Equal(t, 0, (&app{out: &bytes.Buffer{}}).width())
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, 0, (&app{out: f}).width())
	require.Contains(t, ok(t, "inspect", fashion, "--groups"), "conv1.weight[0] output")
}

// Every table of the commands goes through the fitting one.
func TestCommandsFitTheirTables(t *testing.T) {
	for _, args := range [][]string{{"ops"}, {"inspect", fashion}, {"explain", fashion, "layers.0.conv1.weight"}, {"prune", fashion, "--ratio", "0.2", "--dry-run"}, {"task"}, {"metanet", "info"}} {
		var out bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &out, columns: 90}
		root := a.root()
		root.SetArgs(args)
		require.NoError(t, root.ExecuteContext(context.Background()), fmt.Sprint(args))
		for _, line := range strings.Split(out.String(), "\n") {
			if strings.ContainsAny(line, "│─") {
				require.LessOrEqual(t, utf8.RuneCountInString(line), 90, "%v: %s", args, line)
			}
		}
	}
}
