package graphcodec_test

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/stretchr/testify/require"
)

// A file of operators for one processor's memory layout says how to get one without.
func TestLayoutOperatorsAreNamedWithAdvice(t *testing.T) {
	a := load(t, "../testdata/field/nchwc/conv_all.onnx")
	require.Contains(t, a.Advice(), "save the model at ORT_ENABLE_EXTENDED")
	require.Empty(t, load(t, "../testdata/models/mlp_bn.ts.onnx").Advice())
}

// Weights in branches are kept whole, and it is said how to get them out; the file that has them outside needs no advice.
func TestWeightsInBranchesAreNamedWithAdvice(t *testing.T) {
	a := load(t, "../testdata/functions/if_in.onnx")
	require.Contains(t, a.Advice(), "`metaprune inline` moves them out")
	flat, err := coupling.Analyze(a.Flat())
	require.NoError(t, err)
	require.Empty(t, flat.Advice())
}
