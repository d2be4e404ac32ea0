package api

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// fakeEngine repairs nothing, and notes what it is asked.
type fakeEngine struct {
	asked   []Calibration
	closed  int
	waiting chan struct{} // a repair sends to it and then receives from it; nil for none
}

func (e *fakeEngine) Calibrate(_ context.Context, _ *prune.Model, c Calibration) (Calibrated, error) {
	c.Samples = bytes.Clone(c.Samples)
	e.asked = append(e.asked, c)
	return &fakeCalibrated{e}, nil
}

type fakeCalibrated struct {
	e *fakeEngine
}

func (c *fakeCalibrated) Scores(context.Context, string) (planner.Scores, error) {
	return nil, nil
}

func (c *fakeCalibrated) Repair(_ context.Context, _ *planner.Plan, m *onnxio.Model, progress func(done, total int)) (*Repaired, error) {
	progress(3, 20)
	if c.e.waiting != nil {
		c.e.waiting <- struct{}{}
		<-c.e.waiting
	}
	t := m.Graph.Initializers[0]
	v, err := t.Float32s()
	return &Repaired{Method: "solve", Tensors: map[string][]float32{t.Name: v}, Before: .5, After: .25, Held: 7, Skipped: 1}, err
}

func (c *fakeCalibrated) Close() { c.e.closed++ }

func TestRepairOverHTTP(t *testing.T) {
	e := &fakeEngine{}
	h, data := handlerOf(t, Config{Engine: e}), model(t)
	w := call(h, "POST", "/v1/prune?speed-up=2", bytes.NewReader(data))
	require.Equal(t, "none", w.Header().Get("Metaprune-Repair"))
	require.Contains(t, w.Header().Get("Metaprune-Warning"), "unrepaired")
	require.Empty(t, e.asked)

	body, kind := multi(t, "samples", []byte("PK..."), "model", data)
	w = call(h, "POST", "/v1/prune?speed-up=2&seed=3&input=1x1x28x28", body, "Content-Type", kind)
	require.Equal(t, 200, w.Code, w.Body)
	require.Equal(t, "data;method=solve;cosine-before=0.5000;cosine=0.2500;held=7;skipped=1", w.Header().Get("Metaprune-Repair"))
	require.Empty(t, w.Header().Get("Metaprune-Warning"))
	require.Equal(t, Calibration{[]byte("PK..."), []string{"1x1x28x28"}, 3}, e.asked[0])
	first := w.Header().Get("Etag")

	body, kind = multi(t, "samples", []byte("other"), "model", data, "repair", "data")
	w = call(h, "POST", "/v1/prune?speed-up=2&seed=3&input=1x1x28x28", body, "Content-Type", kind)
	require.Equal(t, 200, w.Code, w.Body)
	require.NotEqual(t, first, w.Header().Get("Etag"))
	w = call(h, "POST", "/v1/prune?speed-up=2&repair=noise", bytes.NewReader(data))
	require.Equal(t, 200, w.Code, w.Body)
	require.Nil(t, e.asked[2].Samples)
	require.Equal(t, 3, e.closed)
}

// Without an engine, what wants one is refused with what to do; what makes no sense is refused with it.
func TestRepairsThatAreRefused(t *testing.T) {
	data := model(t)
	for _, c := range []struct {
		query   string
		samples bool
		status  int // with an engine; without one it is 501 where this is 0
		says    string
	}{
		{"prune?speed-up=2&repair=noise", false, 0, "query repair: this service has no engine"},
		{"prune?speed-up=2", true, 0, "part samples: this service has no engine that runs models; send the request to `metaprune serve`"},
		{"masks?speed-up=2&criterion=obs&repair=noise", false, 0, "query repair"},
		{"prune?speed-up=2&repair=data", false, 400, "send the part \"samples\" of a form"},
		{"prune?speed-up=2&repair=noise", true, 400, "repair noise takes no samples"},
		{"prune?speed-up=2&repair=none", true, 400, "nothing reads the samples"},
		{"prune?speed-up=2&criterion=obs", false, 400, "criterion obs wants samples"},
		{"prune?speed-up=2&criterion=obs&steps=2", true, 400, "omit steps"},
		{"prune?pattern=2:4&repair=noise", false, 400, "would fill the zeros"},
		{"masks?speed-up=2", true, 400, "a plan of /v1/masks holds no repaired weights"},
		{"prune?speed-up=2&criterion=taylor", false, 400, "want l2"},
		{"prune?speed-up=2&repair=some", false, 400, "want none, noise or data"},
	} {
		for _, e := range []Engine{nil, &fakeEngine{}} {
			if e != nil && c.status == 0 {
				continue
			}
			want := c.status
			if want == 0 {
				want = 501
			}
			parts := []any{"model", data}
			if c.samples {
				parts = append(parts, "samples", []byte("x"))
			}
			body, kind := multi(t, parts...)
			w := call(handlerOf(t, Config{Engine: e}), "POST", "/v1/"+c.query, body, "Content-Type", kind)
			require.Equal(t, want, w.Code, "%s: %s", c.query, w.Body)
			var p Problem
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
			require.Contains(t, p.Error(), c.says, c.query)
		}
	}
}

func TestProgress(t *testing.T) {
	e := &fakeEngine{waiting: make(chan struct{})}
	h := handlerOf(t, Config{Engine: e})
	require.Equal(t, 404, call(h, "GET", "/v1/progress?id=mine", nil).Code)
	done := make(chan int)
	go func() {
		done <- call(h, "POST", "/v1/prune?speed-up=2&repair=noise", bytes.NewReader(model(t)), "X-Request-Id", "mine").Code
	}()
	<-e.waiting
	w := call(h, "GET", "/v1/progress?id=mine", nil)
	require.Equal(t, 200, w.Code)
	require.JSONEq(t, `{"stage": "repair", "done": 3, "total": 20}`, w.Body.String())
	e.waiting <- struct{}{}
	require.Equal(t, 200, <-done)
	require.Equal(t, 404, call(h, "GET", "/v1/progress?id=mine", nil).Code)
}
