package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/onnxio/hostile"
	"github.com/stretchr/testify/require"
)

// Whatever is posted, the answer is a result or a problem that says what is wrong.
func TestAttacks(t *testing.T) {
	h := handlerOf(t, Config{})
	refused := map[int]int{}
	for _, f := range hostile.Files() {
		for _, target := range []string{"/v1/inspect", "/v1/prune?ratio=0.2"} {
			w := call(h, "POST", target, bytes.NewReader(f.Data))
			refused[w.Code]++
			require.Contains(t, []int{200, 400, 413, 422}, w.Code, "%s: %.300s", f.Name, w.Body)
			require.NotContains(t, w.Body.String(), "please report", f.Name)
			if w.Code != 200 {
				require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), f.Name)
				require.True(t, json.Valid(w.Body.Bytes()), f.Name)
				require.Less(t, w.Body.Len(), 4000, "%s: a problem is a sentence", f.Name)
			}
		}
	}
	t.Logf("answers by status: %v", refused)
	data := model(t)
	for _, f := range hostile.Plans(fmt.Sprintf("%x", sha256.Sum256(data)), "layers.0.conv1.weight", 16) {
		body, kind := multi(t, "model", data, "plan", f.Data)
		w := call(h, "POST", "/v1/apply", body, "Content-Type", kind)
		require.Contains(t, []int{400, 409, 422}, w.Code, "%s: %.300s", f.Name, w.Body)
		require.True(t, strings.Contains(w.Body.String(), "detail"), f.Name)
	}
}
