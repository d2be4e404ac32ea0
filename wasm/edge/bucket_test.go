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
	"github.com/metaprune/metaprune/prune/session"
	"github.com/metaprune/metaprune/wasm/api"
	"github.com/stretchr/testify/require"
)

// shelf is a bucket in memory.
type shelf struct {
	objects map[string][]byte
	broken  error
}

func (s *shelf) get(_ context.Context, key string) (io.ReadCloser, int64, error) {
	b, ok := s.objects[key]
	if !ok {
		return nil, 0, errors.Join(errNoKey, s.broken)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
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
	own, err := session.Open(data, nil)
	require.NoError(t, err)
	p, err := own.Plan(context.Background(), session.Request{Options: prune.Options{Target: prune.Target{SpeedUp: 2}}})
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
