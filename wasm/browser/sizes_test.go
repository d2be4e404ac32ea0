package main

import (
	"context"
	"os"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// The page counts at the sizes that it was given last, and a plan says at which.
func TestCountedAtSizes(t *testing.T) {
	data, err := os.ReadFile("../../testdata/models/gnfree.ts.onnx")
	require.NoError(t, err)
	tl := &tool{}
	_, err = tl.inspect(nil)
	require.ErrorIs(t, err, errNoModel)
	r, err := tl.open(data)
	require.NoError(t, err)
	require.True(t, r.CountedAt.Assumed)
	assumed := r.MACs
	r, err = tl.inspect([]string{"1x3x64x96"})
	require.NoError(t, err)
	require.False(t, r.CountedAt.Assumed)
	require.Less(t, r.MACs, assumed)
	small := r.MACs
	plan := func(inputs []string) *view {
		t.Helper()
		v, err := tl.plan(context.Background(), &request{Criterion: "l2", Target: planner.Target{SpeedUp: 1.5}, Inputs: inputs})
		require.NoError(t, err)
		return v
	}
	require.Equal(t, small, plan(nil).MACs[0], "as it was given last")
	v := plan([]string{})
	require.Equal(t, assumed, v.MACs[0])
	require.True(t, v.CountedAt.Assumed)
	require.Equal(t, small, plan([]string{"3x64x96"}).MACs[0])
	_, err = tl.inspect([]string{"1x4x64x96"})
	require.ErrorContains(t, err, "dimension 1 is fixed at 3")
	require.Equal(t, small, plan(nil).MACs[0], "a wrong size changes nothing")
	r, err = tl.open(data)
	require.NoError(t, err)
	require.Equal(t, assumed, r.MACs, "another model, other sizes")
}
