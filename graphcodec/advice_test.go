package graphcodec_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A file of operators for one processor's memory layout says how to get one without.
func TestLayoutOperatorsAreNamedWithAdvice(t *testing.T) {
	a := load(t, "../testdata/field/nchwc/conv_all.onnx")
	require.Contains(t, a.Advice(), "save the model at ORT_ENABLE_EXTENDED")
	require.Empty(t, load(t, "../testdata/models/mlp_bn.ts.onnx").Advice())
}
