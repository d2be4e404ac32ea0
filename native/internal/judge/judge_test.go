package judge

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// One judge answers several questions, and a model that is not what was asked for is refused.
func TestJudgeRefuses(t *testing.T) {
	j := Start(t)
	if j == nil {
		t.Skip("the judge is not installed")
	}
	model, other := filepath.Join(Root(), "testdata/fashion-resnet20.onnx"), filepath.Join(Root(), "testdata/models/attention.onnx")
	j.Accepts(t, model, model)
	for _, args := range [][]string{{model, other}, {model, "none.onnx"}} {
		require.NoError(t, j.questions.Encode(args))
		answer, err := j.answers.ReadString('\n')
		require.NoError(t, err)
		require.False(t, accepted(answer), answer)
	}
	j.Accepts(t, other, other)
}
