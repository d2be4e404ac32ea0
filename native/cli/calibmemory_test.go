package cli

import (
	"context"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
)

// A bound below what the largest layer's sums take is refused, with the number.
func TestRepairMemoryTooSmall(t *testing.T) {
	f, err := onnxio.Open("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	need := repair.LeastMemory(f.Model)
	require.EqualValues(t, 8*(64*9)*(64*9+64), need, "a convolution 3x3 of 64 channels to 64")
	_, err = calibrationMemory(context.Background(), "1MB", need)
	require.ErrorContains(t, err, "--memory 1MB: the least squares of the model's largest layer need at least 3.0 MB")
	require.Equal(t, exitInput, faultOf(err, nil).exitCode(nil))
}
