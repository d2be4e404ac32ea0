package prune_test

import (
	"testing"

	"github.com/metaprune/metaprune/prune"
	"github.com/stretchr/testify/require"
)

// At sizes that are given both counts reach the target, and neither is far beyond it where scores leave a choice; at assumed sizes the plan is the one by scores alone.
func TestBothCountsReachTheTarget(t *testing.T) {
	for _, name := range []string{"opset12.ts.dynb", "windows.ts.dynb", "yoloish.ts.dynb", "gnfree.ts"} {
		path := "../testdata/models/" + name + ".onnx"
		a := analysisOf(t, path)
		require.NoError(t, a.CountAt(a.CountedAt().Inputs))
		p, err := prune.MakePlan(t.Context(), a, prune.Options{Target: prune.Target{SpeedUp: 1.5}})
		require.NoError(t, err)
		evaluated := float64(p.Achieved.MACs[0]) / float64(p.Achieved.MACs[1])
		static := evaluated
		if s := p.Achieved.Seen; s[1] > 0 {
			static = float64(s[0]) / float64(s[1])
		}
		t.Logf("%s: %.3f evaluated, %.3f static", name, evaluated, static)
		require.GreaterOrEqual(t, min(evaluated, static), 1.5, name)
	}
}
