package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/wasm/api"
	"github.com/stretchr/testify/require"
)

// shelf is a bucket in memory.
type shelf struct {
	objects map[string][]byte
	broken  error
	reads   int
	gone    bool // for parts
}

func (s *shelf) get(_ context.Context, key string) (io.ReadCloser, int64, error) {
	b, ok := s.objects[key]
	if !ok {
		return nil, 0, errors.Join(errNoKey, s.broken)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

func (s *shelf) read(_ context.Context, key string, offset, length int64) ([]byte, error) {
	s.reads++
	if s.gone {
		return nil, errors.New("the bucket is gone")
	}
	return bytes.Clone(s.objects[key][offset : offset+length]), nil
}

func (s *shelf) put(_ context.Context, key string, size int64, r io.Reader) error {
	if s.broken != nil {
		return s.broken
	}
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) == size {
		s.objects[key] = b
	}
	return err
}

func TestBucket(t *testing.T) {
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	own, err := prune.Read(data, nil)
	require.NoError(t, err)
	p, err := own.MakePlan(context.Background(), prune.Request{Options: planner.Options{Target: planner.Target{SpeedUp: 2}}})
	require.NoError(t, err)
	m, err := own.Apply(p)
	require.NoError(t, err)
	small, err := m.Marshal()
	require.NoError(t, err)
	s := &shelf{objects: map[string][]byte{"a.onnx": data, "text": []byte("hello")}}
	h, err := api.New(api.Config{Token: "word"})
	require.NoError(t, err)
	call := func(target string, body []byte, token string, open func() (bucket, error)) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, target, bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		withBucket(h, open).ServeHTTP(w, r)
		return w
	}
	open := func() (bucket, error) { return s, nil }

	w := call("/v1/prune?key=a.onnx&to=b.onnx&speed-up=2", nil, "word", open)
	require.Equal(t, 200, w.Code, w.Body)
	require.True(t, bytes.Equal(small, s.objects["b.onnx"]))
	var got map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.Equal(t, "b.onnx", got["key"])
	require.EqualValues(t, len(small), got["bytes"])
	require.InDelta(t, 2, got["speed_up"], .05)

	w = call("/v1/prune?key=a.onnx&speed-up=2", nil, "word", open)
	require.True(t, bytes.Equal(small, w.Body.Bytes()))
	w = call("/v1/prune?to=c.onnx&speed-up=2", data, "word", open)
	require.Equal(t, 200, w.Code, w.Body)
	require.True(t, bytes.Equal(small, s.objects["c.onnx"]))
	require.Equal(t, 200, call("/v1/inspect", data, "word", open).Code)

	require.Equal(t, 404, call("/v1/prune?key=none&to=d&speed-up=2", nil, "word", open).Code)
	require.Equal(t, 422, call("/v1/prune?key=text&to=d&speed-up=2", nil, "word", open).Code)
	require.Equal(t, 400, call("/v1/prune?key=a.onnx&to=d", nil, "word", open).Code)
	require.Equal(t, 401, call("/v1/prune?key=a.onnx&to=d&speed-up=2", nil, "", open).Code)
	require.Equal(t, 501, call("/v1/prune?key=a.onnx&to=d&speed-up=2", nil, "word", openBucket).Code)
	require.NotContains(t, s.objects, "d")
	s.broken = errors.New("the bucket is full")
	w = call("/v1/prune?key=a.onnx&to=d&speed-up=2", nil, "word", open)
	require.Equal(t, 502, w.Code, w.Body)
	require.Contains(t, w.Body.String(), "the bucket is full")
}

// TestStreamedFromTheBucket: a model that is larger than a request may be is read tensor by tensor, with the same plan and the same bytes.
func TestStreamedFromTheBucket(t *testing.T) {
	data, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	s := &shelf{objects: map[string][]byte{"a.onnx": data}}
	open := func() (bucket, error) { return s, nil }
	call := func(h *api.Handler, target string, body []byte) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		withBucket(h, open).ServeHTTP(w, httptest.NewRequest(http.MethodPost, target, bytes.NewReader(body)))
		return w
	}
	whole, err := api.New(api.Config{})
	require.NoError(t, err)
	small, err := api.New(api.Config{MaxBytes: 100_000, Stream: api.Streaming{From: 1, Tensor: 1 << 20, Kept: 1 << 20}})
	require.NoError(t, err)
	for _, criterion := range []string{"l2", "l1", "bn", "fpgm", "random"} {
		query := "?speed-up=2&criterion=" + criterion
		want, got := call(whole, "/v1/masks"+query, data), call(small, "/v1/masks"+query+"&key=a.onnx", nil)
		require.Equal(t, 200, got.Code, got.Body)
		require.Equal(t, want.Body.String(), got.Body.String(), criterion)
		require.Equal(t, want.Header().Get("Etag"), got.Header().Get("Etag"))
		want, got = call(whole, "/v1/prune"+query, data), call(small, "/v1/prune"+query+"&key=a.onnx&to=b.onnx", nil)
		require.Equal(t, 200, got.Code, got.Body)
		require.True(t, bytes.Equal(want.Body.Bytes(), s.objects["b.onnx"]), criterion)
	}
	require.Equal(t, call(whole, "/v1/inspect", data).Body.String(), call(small, "/v1/inspect?key=a.onnx", nil).Body.String())
	require.Positive(t, s.reads)
	require.Equal(t, 413, call(small, "/v1/masks?speed-up=2&criterion=metanet&key=a.onnx", nil).Code, "all weights at once")
	require.Equal(t, 413, call(small, "/v1/prune?pattern=unstructured&key=a.onnx", nil).Code, "all weights at once")
	tight, err := api.New(api.Config{Stream: api.Streaming{From: 1, Tensor: 70_000, Kept: 1 << 20}})
	require.NoError(t, err)
	w := call(tight, "/v1/masks?speed-up=2&key=a.onnx", nil)
	require.Equal(t, 413, w.Code)
	var p api.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.EqualValues(t, 70_000, p.Limit)
	s.gone = true
	w = call(small, "/v1/masks?speed-up=2&key=a.onnx", nil)
	require.Equal(t, 502, w.Code, w.Body)
}
