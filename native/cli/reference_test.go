package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/stretchr/testify/require"
)

// docs/commands.md is what the program says about itself; -update writes it anew.
func TestCommandReference(t *testing.T) {
	root := (&app{out: io.Discard, err: io.Discard}).root()
	root.InitDefaultCompletionCmd()
	var b strings.Builder
	b.WriteString("# Commands\nMade from the program by `go test ./native/cli -run Reference -update`. Exit codes: 0 fine, 1 a target that cannot be reached or a check that failed, 2 bad input, 130 and 143 stopped by Ctrl-C and by SIGTERM. With `--json` the last line of standard error is the error as JSON ([docs/json.md](json.md)).\n\n")
	page(t, &b, root)
	compareGolden(t, "../../docs/commands.md", b.String())
}

// README says how many operators have a rule.
func TestReadmeCountsOperators(t *testing.T) {
	require.Contains(t, string(read(t, "../../README.md")), fmt.Sprintf("(%d operators, `metaprune ops`)", len(op.Operators())))
}

// page writes a command and those below it, headings one level down.
func page(t *testing.T, b *strings.Builder, c *cobra.Command) {
	if !c.IsAvailableCommand() && c.HasParent() || c.Name() == "completion" && c.HasParent() {
		return
	}
	c.DisableAutoGenTag = true
	var text bytes.Buffer
	require.NoError(t, doc.GenMarkdownCustom(c, &text, func(link string) string {
		return "#" + strings.ReplaceAll(strings.TrimSuffix(link, ".md"), "_", "-")
	}))
	own, _, _ := strings.Cut(text.String(), "### SEE ALSO")
	b.WriteString(strings.TrimRight(own, "\n") + "\n\n")
	for _, sub := range c.Commands() {
		page(t, b, sub)
	}
}
