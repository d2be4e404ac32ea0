package planner_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

func analysed(t *testing.T, path string) *coupling.Analysis {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	return a
}

// Patterns that cannot be read or fit nothing are errors, and both kinds of plans leave alone what fits.
func TestIgnore(t *testing.T) {
	a := analysed(t, "../../testdata/fashion-resnet20.onnx")
	for _, c := range []struct {
		pattern, wrong string
		unmatched      bool
		zeros          []string // prefixes of the weights that get none
		near           string
	}{
		{"conv1.weight", "", false, []string{"conv1.weight"}, ""},
		{"layers.0.*", "", false, []string{"layers.0.conv1.weight", "layers.0.conv2.weight"}, ""},
		{"fc.weight", "", false, []string{"fc.weight"}, ""},
		{"nothing.*", "", true, nil, ""},
		{"CONV1.weight", "", true, nil, "conv1.weight or bn1.weight"},
		{"conv[", "syntax error in pattern", false, nil, ""},
		{"conv1.weight[a-", "syntax error in pattern", false, nil, ""},
		{"*\\", "syntax error in pattern", false, nil, ""},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			channels, errPlan := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{Ratio: .1}, Ignore: []string{c.pattern}})
			zeros, errZeros := planner.PlanPattern(a, "2:4", c.pattern)
			share, errShare := planner.PlanUnstructured(a, .9, c.pattern)
			if c.unmatched {
				for _, err := range []error{errPlan, errZeros, errShare} {
					var wrong *planner.OptionError
					require.ErrorAs(t, err, &wrong)
					require.Equal(t, []string{"ignore", c.pattern, c.near}, []string{wrong.Where, wrong.Got, wrong.Near})
				}
				return
			}
			if c.wrong != "" {
				for _, err := range []error{errPlan, errZeros, errShare} {
					require.ErrorContains(t, err, c.wrong)
					require.ErrorContains(t, err, strconv.Quote(c.pattern))
				}
				return
			}
			for _, err := range []error{errPlan, errZeros, errShare} {
				require.NoError(t, err)
			}
			require.NotEmpty(t, channels.Removed)
			for _, p := range []*planner.Plan{zeros, share} {
				all := map[string]bool{}
				for _, z := range p.Zeroed {
					all[z.Tensor] = true
				}
				for _, name := range c.zeros {
					require.False(t, all[name], name)
				}
				require.True(t, all["layers.1.conv1.weight"], strings.Join(c.zeros, " "))
			}
		})
	}
}
