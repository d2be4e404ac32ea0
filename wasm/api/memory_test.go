package api

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// allocated returns the bytes that are allocated while do runs, all together.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// overlapping is a safetensors file of n tensors that are all the same bytes.
func overlapping(n, size int) []byte {
	var header strings.Builder
	for i := range n {
		fmt.Fprintf(&header, `,"layers.%d":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}`, i, size/4, size)
	}
	text := "{" + header.String()[1:] + "}"
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), make([]byte, size)...)
}

// A file of repaired tensors is compared with the plan's hash before it is read, and what it holds is expanded only where the model has room for it.
func TestApplyTakesNoMoreMemoryThanFiles(t *testing.T) {
	data := model(t)
	_, plan, _ := planned(t, data, 2)
	bomb := overlapping(1400, 150_000)
	huge := (&safetensors.File{Tensors: map[string]*safetensors.Tensor{"bn1.bias": safetensors.FloatTensor(make([]float32, 4<<20), 4<<20), "other": safetensors.FloatTensor(nil, 0)}}).Bytes()
	h := handlerOf(t, Config{})
	apply := func(repaired []byte, sum string) *httptest.ResponseRecorder {
		p := *plan
		p.Repair, p.Repaired = "data", &planner.RepairedFile{File: "x", SHA256: sum}
		raw, err := planner.MarshalPlan(&p)
		require.NoError(t, err)
		body, kind := multi(t, "model", data, "plan", raw, "repaired", repaired)
		return call(h, "POST", "/v1/apply", body, "Content-Type", kind)
	}
	hash := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
	small := (&safetensors.File{}).Bytes()
	apply(small, hash(small)) // what is made once
	plain := allocated(func() { apply(small, hash(small)) })
	for _, c := range []struct {
		name     string
		repaired []byte
		sum      string
		detail   string
	}{
		{"a file that the plan does not name", bomb, strings.Repeat("0", 64), "not the hash in the plan"},
		{"overlapping tensors", bomb, hash(bomb), "there may be no gap and no overlap"},
		{"a tensor that is longer than the model's", huge, hash(huge), "elements, the model's has"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w *httptest.ResponseRecorder
			took := allocated(func() { w = apply(c.repaired, c.sum) })
			checkProblem(t, w, 422, "", c.detail)
			// The form is made here, with doubling buffers, and received: about four times the file.
			bound := plain + uint64(8*len(c.repaired)) + 8<<20
			require.Less(t, took, bound, "bytes allocated for a file of %d", len(c.repaired))
		})
	}
}

// What decoding a plan takes counts among the memory of requests, before it is decoded.
func TestPlansTakeMemoryOfRequests(t *testing.T) {
	data := model(t)
	h := handlerOf(t, Config{Memory: 64 << 20})
	plan := []byte(fmt.Sprintf(`{"format":"metaprune-plan","version":1,"model_sha256":%q,"removed":[%s{}]}`, fmt.Sprintf("%x", sha256.Sum256(data)), strings.Repeat("{},", 1<<20)))
	body, kind := multi(t, "model", data, "plan", plan)
	var w *httptest.ResponseRecorder
	took := allocated(func() { w = call(h, "POST", "/v1/apply", body, "Content-Type", kind) })
	checkProblem(t, w, 413, "", "of memory, more than the")
	require.Less(t, took, uint64(8*(len(plan)+len(data))))
}
