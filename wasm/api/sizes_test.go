package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// Work is counted at the sizes of inputs that a request gives, which are told back; an answer at other sizes is another one.
func TestInputSizes(t *testing.T) {
	data, err := os.ReadFile("../../testdata/models/gnfree.ts.onnx")
	require.NoError(t, err)
	h := handlerOf(t, Config{})
	inspect := func(query string) (macs int64, sizes []int64, assumed bool, tag string) {
		w := call(h, "POST", "/v1/inspect"+query, bytes.NewReader(data))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		var r struct {
			MACs      int64
			CountedAt struct {
				Inputs  map[string][]int64
				Assumed bool
			} `json:"counted_at"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r))
		for _, sizes = range r.CountedAt.Inputs {
		}
		return r.MACs, sizes, r.CountedAt.Assumed, w.Header().Get("Etag")
	}
	large, sizes, assumed, tag := inspect("")
	require.True(t, assumed)
	require.Equal(t, []int64{224, 224}, sizes[2:])
	small, sizes, assumed, other := inspect("?input=1x3x64x96")
	require.False(t, assumed)
	require.Equal(t, []int64{1, 3, 64, 96}, sizes)
	require.Less(t, small, large)
	require.NotEqual(t, tag, other)

	w := call(h, "POST", "/v1/masks?speed-up=1.5&input=1x3x64x96", bytes.NewReader(data))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	p, err := planner.ParsePlan(w.Body.Bytes())
	require.NoError(t, err)
	require.Equal(t, small, p.Achieved.MACs[0])
	require.False(t, p.CountedAt.Assumed)

	for query, detail := range map[string]string{"1x4x64x96": "dimension 1 is fixed at 3", "z=1x3x64x96": `the model has no input "z"`, "1x3": "want 4 sizes, got 2", "axb": "want sizes from 1"} {
		w := call(h, "POST", "/v1/inspect?input="+query, bytes.NewReader(data))
		checkProblem(t, w, http.StatusBadRequest, "query input", detail)
	}
}
