package engines

import (
	"context"
	"testing"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/stretchr/testify/require"
)

func TestDoctorOfONNXRuntime(t *testing.T) {
	orttest.Library(t)
	d := doctorORT(context.Background())
	require.True(t, d.Works, d.Detail)
	require.Positive(t, d.GFLOPS)
	t.Setenv(ort.Variable, "/nowhere")
	d = doctorORT(context.Background())
	require.False(t, d.Works)
	require.Contains(t, d.Detail, "/nowhere")
	require.NotEmpty(t, d.Install)
}
