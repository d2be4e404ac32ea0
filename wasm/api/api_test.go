package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

func model(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	return b
}

func handlerOf(t testing.TB, c Config) *Handler {
	t.Helper()
	h, err := New(c)
	require.NoError(t, err)
	return h
}

// call sends a request and returns the answer.
func call(h http.Handler, method, target string, body io.Reader, head ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// multi makes a form of name, content pairs.
func multi(t testing.TB, parts ...any) (io.Reader, string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		var w io.Writer
		var err error
		if data, ok := parts[i+1].([]byte); ok {
			w, err = m.CreateFormFile(parts[i].(string), "x")
			require.NoError(t, err)
			_, err = w.Write(data)
		} else {
			w, err = m.CreateFormField(parts[i].(string))
			require.NoError(t, err)
			_, err = io.WriteString(w, parts[i+1].(string))
		}
		require.NoError(t, err)
	}
	require.NoError(t, m.Close())
	return &b, m.FormDataContentType()
}

// planned is what the session makes of the same request.
func planned(t testing.TB, data []byte, speedUp float64) (*prune.Model, *planner.Plan, []byte) {
	t.Helper()
	s, err := prune.Read(data, nil)
	require.NoError(t, err)
	p, err := s.MakePlan(context.Background(), prune.Request{Options: planner.Options{Target: planner.Target{SpeedUp: speedUp}}})
	require.NoError(t, err)
	s.Sign(p)
	m, err := s.Apply(p)
	require.NoError(t, err)
	small, err := m.Marshal()
	require.NoError(t, err)
	return s, p, small
}

func TestAnswersAreTheSessions(t *testing.T) {
	h, data := handlerOf(t, Config{}), model(t)
	s, p, small := planned(t, data, 2)
	wantPlan, err := planner.MarshalPlan(p)
	require.NoError(t, err)

	w := call(h, "POST", "/v1/inspect", bytes.NewReader(data))
	require.Equal(t, 200, w.Code, w.Body)
	want, err := json.Marshal(s.Inspect())
	require.NoError(t, err)
	require.JSONEq(t, string(want), w.Body.String())

	for _, target := range []string{"/v1/masks?speed-up=2", "/v1/masks?speed_up=2"} {
		w = call(h, "POST", target, bytes.NewReader(data), "Content-Type", "application/octet-stream")
		require.Equal(t, 200, w.Code, w.Body)
		require.Equal(t, string(wantPlan), w.Body.String())
		require.Equal(t, p.ModelSHA256, w.Header().Get("Metaprune-Model-Sha256"))
	}
	w = call(h, "POST", "/v1/prune?speed-up=2", bytes.NewReader(data))
	require.Equal(t, 200, w.Code, w.Body)
	require.True(t, bytes.Equal(small, w.Body.Bytes()))
	require.Equal(t, fmt.Sprint(len(small)), w.Header().Get("Content-Length"))

	body, kind := multi(t, "speed-up", "2", "model", data)
	w = call(h, "POST", "/v1/prune", body, "Content-Type", kind)
	require.Equal(t, 200, w.Code, w.Body)
	require.True(t, bytes.Equal(small, w.Body.Bytes()))

	body, kind = multi(t, "plan", wantPlan, "model", data)
	w = call(h, "POST", "/v1/apply", body, "Content-Type", kind)
	require.Equal(t, 200, w.Code, w.Body)
	require.True(t, bytes.Equal(small, w.Body.Bytes()))

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(data)
	require.NoError(t, errors.Join(err, z.Close()))
	w = call(h, "POST", "/v1/masks?speed-up=2", &zipped, "Content-Encoding", "gzip", "Accept-Encoding", "br, gzip")
	require.Equal(t, 200, w.Code, w.Body)
	require.Equal(t, "gzip", w.Header().Get("Content-Encoding"))
	r, err := gzip.NewReader(w.Body)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, string(wantPlan), string(got))

	for _, target := range []string{"/v1/ops", "/healthz", "/openapi.json"} {
		w = call(h, "GET", target, nil)
		require.Equal(t, 200, w.Code, target)
		require.True(t, json.Valid(w.Body.Bytes()))
		require.Equal(t, 200, call(h, "HEAD", target, nil).Code)
	}
}

// Every option reaches the plan.
func TestOptions(t *testing.T) {
	h, data := handlerOf(t, Config{}), model(t)
	plan := func(query string) *planner.Plan {
		w := call(h, "POST", "/v1/masks?"+query, bytes.NewReader(data))
		require.Equal(t, 200, w.Code, "%s: %s", query, w.Body)
		p, err := planner.ParsePlan(w.Body.Bytes())
		require.NoError(t, err)
		return p
	}
	require.Equal(t, .5, plan("params=0.5").Target.Params)
	require.EqualValues(t, 600_000, plan("size=600kB").Target.Bytes)
	require.Equal(t, .25, plan("ratio=.25").Target.Ratio)
	p := plan("speed-up=1.5&criterion=random&seed=7&reduction=sum&normalizer=max&ranking=group")
	require.Equal(t, []any{"random", int64(7), "sum", "max", "group"}, []any{p.Criterion, p.Seed, p.Reduction, p.Normalizer, p.Ranking})
	require.NotEmpty(t, plan("pattern=2:4").Zeroed)
	require.NotEmpty(t, plan("pattern=unstructured&sparsity=.3").Zeroed)
	for _, g := range plan("speed-up=1.5&round-to=8").Groups {
		require.Zero(t, (g.Size-len(g.Removed))%8, g)
	}
	for _, r := range plan("speed-up=1.5&ignore=layers.0.conv1.weight&ignore=conv1.weight").Removed {
		require.False(t, r.Axis == 0 && (r.Tensor == "layers.0.conv1.weight" || r.Tensor == "conv1.weight"), r)
	}
	require.NotEqual(t, plan("speed-up=3&steps=5").Removed, plan("speed-up=3").Removed)
	require.NotEqual(t, plan("speed-up=3&max-ratio=.5").Removed, plan("speed-up=3").Removed)
	require.True(t, plan("speed-up=3&count-computed=true").Target.Computed)
	for query, want := range map[string]string{"ratio=.25&count-computed=true": "applies only to a speed-up", "speed-up=2&count-computed=1": "want true or false"} {
		w := call(h, "POST", "/v1/masks?"+query, bytes.NewReader(data))
		require.Equal(t, 400, w.Code)
		require.Contains(t, w.Body.String(), want)
	}
	p = plan("speed-up=2&criterion=metanet")
	require.Equal(t, "original", p.Weights)
	require.Len(t, p.Metanet, 64)
	w := call(h, "POST", "/v1/masks?speed-up=2&criterion=metanet&weights=metanet", bytes.NewReader(data))
	require.Equal(t, 422, w.Code)
	require.Contains(t, w.Body.String(), "trained for scores")
}

// slow gives its bytes when it is told to.
type slow struct {
	data io.Reader
	wait chan struct{}
}

func (s *slow) Read(p []byte) (int, error) { <-s.wait; return s.data.Read(p) }

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestProblems(t *testing.T) {
	data := model(t)
	other, err := os.ReadFile("../../testdata/torch-pruning/sparsity.onnx")
	require.NoError(t, err)
	_, p, _ := planned(t, data, 2)
	plan, err := planner.MarshalPlan(p)
	require.NoError(t, err)
	h, secret := handlerOf(t, Config{MaxBytes: 2 << 20}), handlerOf(t, Config{Token: "s3cret"})
	form := func(parts ...any) func() (io.Reader, string) {
		return func() (io.Reader, string) { return multi(t, parts...) }
	}
	raw := func(b []byte) func() (io.Reader, string) {
		return func() (io.Reader, string) { return bytes.NewReader(b), "application/octet-stream" }
	}
	digest := sha256.Sum256([]byte("another"))
	sent := call(h, "POST", "/v1/masks?speed-up=2", bytes.NewReader(data))
	for _, c := range []struct {
		name           string
		h              http.Handler
		method, target string
		body           func() (io.Reader, string)
		status         int
		place, detail  string
		head           []string
	}{
		{"unknown option", h, "POST", "/v1/masks?speedup=2", raw(data), 400, "query speedup", "no such option; did you mean speed-up; the options are speed-up,", nil},
		{"not a number", h, "POST", "/v1/masks?speed-up=fast", raw(data), 400, "query speed-up", `"fast": want a number such as 2 or 2x`, nil},
		{"infinite", h, "POST", "/v1/masks?speed-up=Inf", raw(data), 400, "query speed-up", "want a number such as 2 or 2x", nil},
		{"twice", h, "POST", "/v1/masks?speed-up=2&speed-up=3", raw(data), 400, "query speed-up", "2 times", nil},
		{"no target", h, "POST", "/v1/masks", raw(data), 400, "query", "0 targets are given", nil},
		{"two targets", h, "POST", "/v1/masks?speed-up=2&ratio=.5", raw(data), 400, "query", "2 targets are given", nil},
		{"below one", h, "POST", "/v1/prune?speed-up=.5", raw(data), 400, "query speed-up", "want a number such as 2 or 2x, at least 1", nil},
		{"bad field", h, "POST", "/v1/prune", form("criterion", "best", "speed-up", "2", "model", data), 400, "field criterion", `"best": want l2, l1`, nil},
		{"bad steps", h, "POST", "/v1/prune?speed-up=2&steps=0", raw(data), 400, "query steps", "want a whole number from 1", nil},
		{"bad size", h, "POST", "/v1/prune?size=much", raw(data), 400, "query size", "want a size such as 10MB", nil},
		{"bad query", h, "POST", "/v1/prune?speed-up=%zz", raw(data), 400, "query", "cannot be read", nil},
		{"weights without metanet", h, "POST", "/v1/prune?speed-up=2&weights=metanet", raw(data), 400, "query weights", "wants criterion metanet", nil},
		{"broken pattern", h, "POST", "/v1/prune?speed-up=2&ignore=conv%5B", raw(data), 422, "", `ignore: "conv[" is neither a name in the model nor a valid pattern`, nil},
		{"no body", h, "POST", "/v1/inspect", raw(nil), 400, "body", "the request has no model", nil},
		{"form without model", h, "POST", "/v1/inspect", form("plan", plan), 400, "body", "the request has no model", nil},
		{"model twice", h, "POST", "/v1/inspect", form("model", data, "model", data), 400, "part model", "it is there twice", nil},
		{"apply without plan", h, "POST", "/v1/apply", form("model", data), 400, "body", "the request has no plan", nil},
		{"broken body", h, "POST", "/v1/inspect", func() (io.Reader, string) { return brokenReader{}, "" }, 400, "body", "it broke off", nil},
		{"broken form", h, "POST", "/v1/inspect", func() (io.Reader, string) { return strings.NewReader("--x"), "multipart/form-data; boundary=x" }, 400, "body", "it broke off", nil},
		{"not gzip", h, "POST", "/v1/inspect", raw(data), 400, "body", "it is not gzip", []string{"Content-Encoding", "gzip"}},
		{"other digest", h, "POST", "/v1/inspect", raw(data), 400, "body", "Content-Digest says", []string{"Content-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(digest[:]) + ":"}},
		{"bad digest", h, "POST", "/v1/inspect", raw(data), 400, "header Content-Digest", "cannot be read", []string{"Content-Digest", "sha-256=:?:"}},
		{"no token", secret, "POST", "/v1/inspect", raw(data), 401, "header Authorization", "want the bearer token", nil},
		{"another token", secret, "GET", "/v1/ops", raw(nil), 401, "header Authorization", "want the bearer token", []string{"Authorization", "Bearer s3creT"}},
		{"nowhere", h, "GET", "/v2", raw(nil), 404, "path /v2", "no such path", nil},
		{"wrong method", h, "GET", "/v1/masks", raw(nil), 405, "method GET", "want OPTIONS or POST", nil},
		{"plan of another model", h, "POST", "/v1/apply", form("model", other, "plan", plan), 409, "part plan", "it was made for a model with SHA-256", nil},
		{"known", h, "POST", "/v1/masks?speed-up=2", raw(data), 412, "header If-None-Match", "has not changed", []string{"If-None-Match", sent.Header().Get("Etag")}},
		{"too large", h, "POST", "/v1/inspect", raw(make([]byte, 2<<20+1)), 413, "", "more than the 2097152 that may be", nil},
		{"far too large", h, "POST", "/v1/inspect", raw(make([]byte, 80<<20)), 413, "", "more than 2097152 bytes", nil},
		{"too large in a form", h, "POST", "/v1/inspect", form("model", make([]byte, 2<<20+1)), 413, "", "more than 2097152 bytes", nil},
		{"long option", h, "POST", "/v1/masks", form("ignore", strings.Repeat("x", 5000), "model", data), 413, "", "more than 4096 bytes", nil},
		{"no memory", handlerOf(t, Config{Memory: 4 << 20}), "POST", "/v1/inspect", raw(data), 413, "", "bytes of memory", nil},
		{"metanet too large", handlerOf(t, Config{MaxMetanetBytes: 1000}), "POST", "/v1/masks?speed-up=2&criterion=metanet", raw(data), 413, "", "more than the 1000", nil},
		{"text", h, "POST", "/v1/inspect", func() (io.Reader, string) { return bytes.NewReader(data), "text/plain" }, 415, "header Content-Type", "text/plain; want", nil},
		{"bad type", h, "POST", "/v1/inspect", func() (io.Reader, string) { return bytes.NewReader(data), "a b; c" }, 415, "header Content-Type", "cannot be read", nil},
		{"brotli", h, "POST", "/v1/inspect", raw(data), 415, "header Content-Encoding", `"br"; want gzip`, []string{"Content-Encoding", "br"}},
		{"no model", h, "POST", "/v1/inspect", raw([]byte("hello")), 422, "", "", nil},
		{"cut off", h, "POST", "/v1/inspect", raw(data[:len(data)/2]), 422, "", "the model cannot be read", nil},
		{"out of reach", h, "POST", "/v1/masks?speed-up=100000", raw(data), 422, "", "cannot be reached", nil},
		{"broken plan", h, "POST", "/v1/apply", form("model", data, "plan", []byte("{")), 422, "plan", "not readable as JSON", nil},
		{"foreign repair", h, "POST", "/v1/apply", form("model", data, "plan", plan, "repaired", []byte("12345678{}")), 422, "part repaired", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, kind := c.body()
			w := call(c.h, c.method, c.target, body, append([]string{"Content-Type", kind}, c.head...)...)
			checkProblem(t, w, c.status, c.place, c.detail)
		})
	}
}

func checkProblem(t *testing.T, w *httptest.ResponseRecorder, status int, place, detail string) {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	var p Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, status, p.Status)
	require.Equal(t, http.StatusText(status), p.Title)
	require.NotEmpty(t, p.RequestID)
	require.NotEmpty(t, p.Kind)
	require.Equal(t, p.Place, p.Where)
	require.Equal(t, p.RequestID, w.Header().Get("X-Request-Id"))
	if place != "" {
		require.Equal(t, place, p.Place)
	}
	require.Contains(t, p.Detail, detail)
	if status == 413 || status == 408 || status == 429 {
		require.Positive(t, p.Limit)
	}
}

func TestTooMany(t *testing.T) {
	h, data := handlerOf(t, Config{Requests: 1}), model(t)
	held := &slow{bytes.NewReader(data), make(chan struct{})}
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- call(h, "POST", "/v1/inspect", held) }()
	held.wait <- struct{}{} // the first request is under way
	w := call(h, "POST", "/v1/inspect", bytes.NewReader(data))
	checkProblem(t, w, 429, "", "1 requests are running")
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.Equal(t, 200, call(h, "GET", "/healthz", nil).Code)
	close(held.wait)
	require.Equal(t, 200, (<-first).Code)
	require.Equal(t, 200, call(h, "POST", "/v1/inspect", bytes.NewReader(data)).Code)
}

func TestTimeout(t *testing.T) {
	h, data := handlerOf(t, Config{Timeout: time.Millisecond}), model(t)
	for _, target := range []string{"/v1/masks?speed-up=2", "/v1/inspect"} {
		late := &slow{bytes.NewReader(data), make(chan struct{})}
		time.AfterFunc(10*time.Millisecond, func() { close(late.wait) })
		checkProblem(t, call(h, "POST", target, late), 408, "", "took longer than 1ms")
	}
}

func TestDraining(t *testing.T) {
	h := handlerOf(t, Config{})
	h.Drain()
	checkProblem(t, call(h, "GET", "/healthz", nil), 503, "", "shutting down")
	require.Equal(t, 200, call(h, "POST", "/v1/inspect", bytes.NewReader(model(t))).Code)
}

type faulty struct{}

func (faulty) Keep(io.Reader, int64) (*Upload, error) { panic("oh") }

func TestPanicIsAProblem(t *testing.T) {
	var log bytes.Buffer
	var events []Event
	h := handlerOf(t, Config{Store: faulty{}, Log: slog.New(slog.NewJSONHandler(&log, nil)), Observe: func(e Event) { events = append(events, e) }})
	checkProblem(t, call(h, "POST", "/v1/inspect", bytes.NewReader(model(t)), "X-Request-Id", "abc-1"), 500, "", "a fault of the program")
	require.Contains(t, log.String(), `"panic":"oh"`)
	require.Contains(t, log.String(), `"request_id":"abc-1"`)
	require.Equal(t, []any{"POST /v1/inspect", 500}, []any{events[0].Operation, events[0].Status})
}

func TestRequestIDs(t *testing.T) {
	h := handlerOf(t, Config{})
	require.Equal(t, "a.b-C_1", call(h, "GET", "/healthz", nil, "X-Request-Id", "a.b-C_1").Header().Get("X-Request-Id"))
	for _, bad := range []string{"a b", "x\ty", strings.Repeat("a", 65), "ü"} {
		require.NotEqual(t, bad, call(h, "GET", "/healthz", nil, "X-Request-Id", bad).Header().Get("X-Request-Id"))
	}
}

func TestCORS(t *testing.T) {
	h := handlerOf(t, Config{Origins: []string{"https://a.example"}})
	w := call(h, "OPTIONS", "/v1/masks", nil, "Origin", "https://a.example", "Access-Control-Request-Method", "POST")
	require.Equal(t, 204, w.Code)
	require.Equal(t, "https://a.example", w.Header().Get("Access-Control-Allow-Origin"))
	require.Contains(t, w.Header().Get("Access-Control-Allow-Methods"), "POST")
	w = call(h, "OPTIONS", "/v1/masks", nil, "Origin", "https://b.example")
	require.Equal(t, 204, w.Code)
	require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
	require.Equal(t, "https://a.example", call(h, "GET", "/healthz", nil, "Origin", "https://a.example").Header().Get("Access-Control-Allow-Origin"))
	checkProblem(t, call(h, "OPTIONS", "/nowhere", nil), 404, "path /nowhere", "")
}

func TestToken(t *testing.T) {
	h := handlerOf(t, Config{Token: "s3cret"})
	require.Equal(t, 200, call(h, "GET", "/v1/ops", nil, "Authorization", "Bearer s3cret").Code)
	require.Equal(t, 200, call(h, "GET", "/healthz", nil).Code)
	require.NotEmpty(t, call(h, "GET", "/v1/ops", nil).Header().Get("WWW-Authenticate"))
}

// Small requests are not held up by large ones.
func TestLanes(t *testing.T) {
	g, ctx := newGate(10, 1<<20), context.Background()
	large, err := g.work(ctx, 700<<10)
	require.NoError(t, err)
	waiting := make(chan struct{})
	go func() {
		done, err := g.work(ctx, 700<<10)
		require.NoError(t, err)
		done()
		close(waiting)
	}()
	small, err := g.work(ctx, 10<<10)
	require.NoError(t, err)
	small()
	select {
	case <-waiting:
		require.Fail(t, "there is no room for two")
	default:
	}
	large()
	<-waiting
	_, err = g.work(ctx, 800<<10)
	require.ErrorContains(t, err, "more than the limit of 786432")
	late, cancel := context.WithCancel(ctx)
	cancel()
	first, err := g.work(ctx, 700<<10)
	require.NoError(t, err)
	defer first()
	_, err = g.work(late, 700<<10)
	require.ErrorIs(t, err, context.Canceled)
}

func TestConcurrent(t *testing.T) {
	h, data := handlerOf(t, Config{}), model(t)
	_, _, small := planned(t, data, 2)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			w := call(h, "POST", "/v1/prune?speed-up=2", bytes.NewReader(data))
			require.True(t, bytes.Equal(small, w.Body.Bytes()))
		})
	}
	wg.Wait()
}

func TestMemoryStore(t *testing.T) {
	for _, n := range []int{0, 1, 100, trusted - 1, trusted, trusted + 1, 3*trusted + 7} {
		data := bytes.Repeat([]byte{7}, n)
		for _, size := range []int64{-1, 0, int64(n), int64(n) - 1, int64(n) + 5, 1 << 50} {
			if size == 1<<50 && n >= trusted {
				continue // a client that has sent as much as is trusted is believed
			}
			u, err := Memory{}.Keep(bytes.NewReader(data), max(size, -1))
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, u.Data), "%d %d", n, size)
		}
	}
}

func FuzzHandler(f *testing.F) {
	h, err := New(Config{MaxBytes: 1 << 20, Timeout: 10 * time.Second})
	require.NoError(f, err)
	small, err := os.ReadFile("../../testdata/torch-pruning/sparsity.onnx")
	require.NoError(f, err)
	f.Add("/v1/masks", "speed-up=2", "application/octet-stream", small)
	f.Add("/v1/prune", "ratio=.3&criterion=metanet", "", small)
	f.Add("/v1/apply", "", "multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"plan\"\r\n\r\n{}\r\n--x--"))
	f.Add("/v1/inspect", "", "", []byte{8, 1})
	f.Fuzz(func(t *testing.T, path, query, kind string, body []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.NotEqual(t, 500, w.Code, w.Body)
		if w.Code != 200 {
			require.True(t, json.Valid(w.Body.Bytes()), w.Body)
		}
	})
}
