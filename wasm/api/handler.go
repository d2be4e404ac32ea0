package api

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/prune"
)

// Config says what the handler may do. The zero value takes models of up to 1 GiB in memory, 64 requests at a time, and no token.
type Config struct {
	MaxBytes        int64           // of a model, 0 for 1 GiB
	MaxMetanetBytes int64           // of a model that is to be scored by the metanetwork, 0 for MaxBytes
	Stream          Streaming       // of models that are read tensor by tensor, see WithObject
	Memory          int64           // bytes for all requests under way together, 0 for 4 GiB
	Requests        int             // under way at a time, 0 for 64
	Timeout         time.Duration   // of a request, 0 for 5 minutes
	Token           string          // that requests have to bring as bearer token, empty for none
	Origins         []string        // that pages may come from (CORS); "*" for any
	Version         string          // of the program
	Store           Store           // nil for Memory
	Engine          Engine          // runs models for repairs; nil answers 501 where one is wanted
	Log             *slog.Logger    // nil for none
	Metanet         []byte          // metanetwork of criterion metanet (safetensors), nil for the program's
	MetanetOptions  metanet.Options // such as the memory for cached states
	Observe         func(Event)     // called after each request, may be nil
	Extra           []Route         // further operations, such as /metrics
}

// Streaming are sizes in bytes for models that are read tensor by tensor; where Tensor is 0, none are.
type Streaming struct {
	From   int64 // smaller models are read at once
	Tensor int64 // the most that one tensor may have
	Kept   int64 // the most that all of a model but its larger tensors may have
}

// Event is what a request came to.
type Event struct {
	Operation string // such as "POST /v1/masks", "none" where there is no such operation
	Status    int
	Received  int64 // bytes of the model
	Sent      int64
	Duration  time.Duration
}

// Route is an operation that takes no model.
type Route struct {
	Method, Path string
	Handler      http.Handler
}

// Handler answers requests.
type Handler struct{ *handler }

type handler struct {
	config   Config
	gate     *gate
	routes   map[string]map[string]operation // by path and method
	document []byte
	draining atomic.Bool
	running  sync.Map // *progress of requests with a model, by request ID
	metanet  func() (*prune.Metanet, error)
}

// operation does one thing.
type operation struct {
	open  bool // needs no token
	model bool // takes a model, and a place among the requests
	do    func(w http.ResponseWriter, r *http.Request, e *Event) error
}

// New makes a handler.
func New(c Config) (*Handler, error) {
	c.fill()
	h := &handler{config: c, gate: newGate(int64(c.Requests), c.Memory)}
	h.metanet = sync.OnceValues(func() (*prune.Metanet, error) { return prune.LoadMetanet(c.Metanet) })
	h.routes = map[string]map[string]operation{
		"/v1/inspect":   {http.MethodPost: {model: true, do: h.inspect}},
		"/v1/masks":     {http.MethodPost: {model: true, do: h.masks}},
		"/v1/prune":     {http.MethodPost: {model: true, do: h.prune}},
		"/v1/apply":     {http.MethodPost: {model: true, do: h.apply}},
		"/v1/ops":       {http.MethodGet: {do: h.ops}},
		"/v1/progress":  {http.MethodGet: {do: h.progressOf}},
		"/healthz":      {http.MethodGet: {open: true, do: h.health}},
		"/openapi.json": {http.MethodGet: {open: true, do: h.openapi}},
	}
	for _, x := range c.Extra {
		h.routes[x.Path] = map[string]operation{x.Method: {open: true, do: func(w http.ResponseWriter, r *http.Request, _ *Event) error { x.Handler.ServeHTTP(w, r); return nil }}}
	}
	var err error
	h.document, err = json.Marshal(h.describe())
	return &Handler{h}, err
}

func (c *Config) fill() {
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.MaxMetanetBytes == 0 {
		c.MaxMetanetBytes = c.MaxBytes
	}
	if c.Memory == 0 {
		c.Memory = 4 << 30
	}
	if c.Requests == 0 {
		c.Requests = 64
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.Store == nil {
		c.Store = Memory{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Drain makes /healthz say that no more requests are wanted; those that come are still answered.
func (h *Handler) Drain() { h.draining.Store(true) }

// Has reports whether there is an operation at a path.
func (h *Handler) Has(path string) bool { return h.routes[path] != nil }

// Authorized reports whether a request brings the token, where there is one.
func (h *Handler) Authorized(r *http.Request) bool { return h.authorized(r) }

// Refuse answers with a problem, for code that runs before the handler.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	id := requestID(r)
	w.Header().Set("X-Request-Id", id)
	p.send(w, id)
}

// recorder notes what was sent.
type recorder struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP answers a request.
func (h *handler) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	start, w, e := time.Now(), &recorder{ResponseWriter: out}, &Event{Operation: "none"}
	id := requestID(r)
	w.Header().Set("X-Request-Id", id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	err := h.guarded(w, r.WithContext(ctx), e)
	if err != nil {
		p := h.asProblem(ctx, err)
		if w.status != 0 { // what was sent cannot be taken back; the connection ends instead
			h.config.Log.Error("broken off", "request_id", id, "operation", e.Operation, "error", err.Error())
			panic(http.ErrAbortHandler)
		}
		p.send(w, id)
	}
	e.Status, e.Sent, e.Duration = w.status, w.sent, time.Since(start)
	if h.config.Observe != nil {
		h.config.Observe(*e)
	}
	attributes := []any{"request_id", id, "operation", e.Operation, "path", r.URL.Path, "status", e.Status, "received", e.Received, "sent", e.Sent, "ms", e.Duration.Milliseconds()}
	if err != nil {
		attributes = append(attributes, "error", err.Error())
	}
	h.config.Log.Info("request", attributes...)
}

// guarded turns panics into errors.
func (h *handler) guarded(w *recorder, r *http.Request, e *Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			h.config.Log.Error("panic", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = problem(http.StatusInternalServerError, "", "a fault of the program; it has been logged")
		}
	}()
	if h.cors(w, r) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	methods := h.routes[r.URL.Path]
	if methods == nil {
		return problem(http.StatusNotFound, "path "+r.URL.Path, "no such path; /openapi.json describes the API")
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok := methods[method]
	if !ok {
		w.Header().Set("Allow", strings.Join(allowed(methods), ", "))
		return problem(http.StatusMethodNotAllowed, "method "+r.Method, "want %s", strings.Join(allowed(methods), " or "))
	}
	e.Operation = method + " " + r.URL.Path
	if !op.open && !h.authorized(r) {
		return problem(http.StatusUnauthorized, "header Authorization", "want the bearer token of this service")
	}
	if op.model {
		leave, err := h.gate.enter()
		if err != nil {
			return err
		}
		defer leave()
		h.deadlines(w)
		id := w.Header().Get("X-Request-Id")
		p := &progress{}
		h.running.Store(id, p)
		defer h.running.CompareAndDelete(id, p)
		r = r.WithContext(context.WithValue(r.Context(), progressKey{}, p))
	}
	return op.do(w, r, e)
}

// grace is what an answer may take to be sent once the time for the request is over.
const grace = time.Minute

// deadlines bounds how long a client may take to send and to receive, where the server can.
func (h *handler) deadlines(w http.ResponseWriter) {
	c, end := http.NewResponseController(w), time.Now().Add(h.config.Timeout)
	_, _ = c.SetReadDeadline(end), c.SetWriteDeadline(end.Add(grace))
}

func allowed(methods map[string]operation) []string {
	out := []string{http.MethodOptions}
	for m := range methods {
		out = append(out, m)
		if m == http.MethodGet {
			out = append(out, http.MethodHead)
		}
	}
	slices.Sort(out)
	return out
}

// authorized compares the bearer token in constant time.
func (h *handler) authorized(r *http.Request) bool {
	if h.config.Token == "" {
		return true
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(h.config.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok
}

// cors sets the headers for pages of other origins and reports whether the request is a preflight.
func (h *handler) cors(w http.ResponseWriter, r *http.Request) bool {
	origin, head := r.Header.Get("Origin"), w.Header()
	if len(h.config.Origins) > 0 {
		head.Add("Vary", "Origin")
	}
	known := slices.Contains(h.config.Origins, "*") || slices.Contains(h.config.Origins, origin)
	if origin != "" && known {
		head.Set("Access-Control-Allow-Origin", origin)
		head.Set("Access-Control-Expose-Headers", "ETag, X-Request-Id, Metaprune-Model-Sha256, Metaprune-Speed-Up, Metaprune-Params, Metaprune-Warning, Metaprune-Repair, Content-Disposition")
	}
	if r.Method != http.MethodOptions || h.routes[r.URL.Path] == nil {
		return false
	}
	head.Set("Allow", strings.Join(allowed(h.routes[r.URL.Path]), ", "))
	if origin != "" && known {
		head.Set("Access-Control-Allow-Methods", strings.Join(allowed(h.routes[r.URL.Path]), ", "))
		head.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding, Content-Digest, If-None-Match, X-Request-Id")
		head.Set("Access-Control-Max-Age", "600")
	}
	return true
}

// requestID is the client's, where it is a plain word, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)
	}
	if id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool { return !plain(c) }) {
		return id
	}
	return rand.Text()
}

// writeJSON sends v, gzipped where the client takes that.
func writeJSON(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return writeBody(w, r, "application/json", append(b, '\n'))
}

func writeBody(w http.ResponseWriter, r *http.Request, kind string, b []byte) error {
	head := w.Header()
	head.Set("Content-Type", kind)
	head.Add("Vary", "Accept-Encoding")
	if len(b) < 1<<10 || !takesGzip(r) {
		head.Set("Content-Length", fmt.Sprint(len(b)))
		_, err := w.Write(b)
		return err
	}
	head.Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	if _, err := z.Write(b); err != nil {
		return err
	}
	return z.Close()
}

// takesGzip reads Accept-Encoding.
func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if (name == "gzip" || name == "*") && strings.TrimSpace(weight) != "q=0" {
			return true
		}
	}
	return false
}
