package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaprune/metaprune/prune/planner"
)

// Data models that were pruned and not finetuned come with the warning that any such model has.
func TestDatamodelsWarn(t *testing.T) {
	args := func(epochs string, more ...string) []string {
		a := []string{"datamodels", "mlp", "--widths", "0.1", "--epochs", "1", "--finetune-epochs", epochs, "--batch", "32", "--limit", "64", "--backend", "go", "-o", t.TempDir()}
		return append(append(a, fashionData...), more...)
	}
	codes := func(epochs string) (out []string) {
		for _, m := range decode[[]dataModel](t, ok(t, args(epochs, "--json", "-q")...)) {
			for _, w := range m.Warnings {
				out = append(out, w.Code)
			}
		}
		return out
	}
	require.Equal(t, []string{planner.Unrepaired}, codes("0"))
	require.Empty(t, codes("1"))

	code, _, said := run(t, args("0")...)
	require.Zero(t, code)
	require.Contains(t, said, "WARNING: expect a much lower accuracy")
}
