package engine

import (
	"context"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// runs counts the runs of each model.
type runs map[*onnxio.Model]int

func (r runs) Run(_ context.Context, m *onnxio.Model, feeds map[string]Array) ([]Array, error) {
	r[m]++
	return []Array{feeds["x"]}, nil
}

// An engine that does not compile runs the model that the session was made of.
func TestCompileFallsBackToRun(t *testing.T) {
	r, m := runs{}, &onnxio.Model{}
	s, err := Compile(t.Context(), r, m)
	require.NoError(t, err)
	defer s.Close()
	for range 2 {
		out, err := s.Run(t.Context(), map[string]Array{"x": counting(3)})
		require.NoError(t, err)
		require.Equal(t, counting(3), out[0])
	}
	require.Equal(t, runs{m: 2}, r)
}
