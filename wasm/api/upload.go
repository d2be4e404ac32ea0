package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/metaprune/metaprune/onnxio"
)

// Upload is a body that was received. Data stays as it is until Free is called.
type Upload struct {
	Data   []byte
	Model  *onnxio.Model // instead of Data, where it is read tensor by tensor
	Size   int64         // of Model's file, in bytes
	SHA256 func() string // in hexadecimal, where it was computed on the way; else nil
	Free   func()
}

func (u *Upload) sha256() string {
	if u.SHA256 == nil {
		sum := sha256.Sum256(u.Data)
		u.SHA256 = func() string { return hex.EncodeToString(sum[:]) }
	}
	return u.SHA256()
}

// Store keeps bodies while they are worked on.
type Store interface {
	// Keep reads r to its end. size is what the client says that it sends at most, -1 where it does not.
	Keep(r io.Reader, size int64) (*Upload, error)
}

// Memory is the Store that keeps bodies on the heap. Those that are not small are hashed while they come. A pool, where there is one, lends the room for them.
type Memory struct{ Pool *sync.Pool }

// room returns an empty slice for n bytes.
func (m Memory) room(n int64) []byte {
	if m.Pool != nil && n > trusted {
		if b, ok := m.Pool.Get().(*[]byte); ok && int64(cap(*b)) >= n && int64(cap(*b)) <= 2*n {
			return (*b)[:0]
		}
	}
	return make([]byte, 0, n)
}

func (m Memory) free(b []byte) {
	if m.Pool != nil && cap(b) > trusted {
		m.Pool.Put(&b)
	}
}

// trusted is how much room a length that a client names gets before that much has come.
const trusted = 1 << 20

// piece is what is read and hashed at a time.
const piece = 1 << 20

// Keep reads r into memory.
func (m Memory) Keep(r io.Reader, size int64) (*Upload, error) {
	b := make([]byte, 0, min(max(size, 0)+1, trusted))
	var h *hasher
	defer func() { h.end() }()
	for {
		if len(b) == cap(b) {
			room := int64(2 * cap(b))
			if size > int64(len(b)) {
				room = size + 1 // one more, to see the end
			}
			if h == nil && len(b) >= trusted {
				h = newHasher(b)
			}
			b = append(m.room(room), b...)
		}
		n, err := r.Read(b[len(b):min(cap(b), len(b)+piece)])
		h.write(b[len(b) : len(b)+n])
		b = b[:len(b)+n]
		if err == io.EOF {
			return m.upload(b, h.sum()), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (m Memory) upload(b []byte, sum func() string) *Upload {
	return &Upload{Data: b, SHA256: sum, Free: func() {
		if sum != nil {
			sum() // it reads b
		}
		m.free(b)
	}}
}

// hasher hashes bytes beside their arrival; nil does nothing. What is written to it must stay as it is.
type hasher struct {
	in    chan []byte
	out   chan string
	ended bool
}

func newHasher(first []byte) *hasher {
	h := &hasher{in: make(chan []byte, 1024), out: make(chan string, 1)}
	go func() {
		sum := sha256.New()
		for b := range h.in {
			sum.Write(b)
		}
		h.out <- hex.EncodeToString(sum.Sum(nil))
	}()
	h.in <- first
	return h
}

func (h *hasher) write(b []byte) {
	if h != nil {
		h.in <- b
	}
}

func (h *hasher) end() {
	if h != nil && !h.ended {
		close(h.in)
		h.ended = true
	}
}

// sum ends the input and returns what waits for the hash.
func (h *hasher) sum() func() string {
	if h == nil {
		return nil
	}
	h.end()
	return sync.OnceValue(func() string { return <-h.out })
}

// form is what a request brings.
type form struct {
	job                            *job
	model, plan, repaired, samples *Upload
	calibrated                     Calibrated // nil where no engine is wanted
	progress                       *progress
}

func (f *form) free() {
	if f.calibrated != nil {
		f.calibrated.Close()
	}
	for _, u := range []*Upload{f.model, f.plan, f.repaired, f.samples} {
		if u != nil {
			u.Free()
		}
	}
}

// Parts of a form.
const (
	partModel    = "model"
	partPlan     = "plan"
	partRepaired = "repaired"
	partSamples  = "samples"
)

// maxOption bounds an option's text, maxOptions that of all options of a form with their names, maxPlan the plan's, maxSamples that of calibration samples.
const (
	maxOption  = 4 << 10
	maxOptions = 1 << 20
	maxPlan    = 64 << 20
	maxSamples = 256 << 20
)

// modelTypes are the types of a body that is nothing but a model; the last one is what curl says when it is told nothing.
var modelTypes = []string{"application/octet-stream", "application/onnx", "application/x-onnx", "application/vnd.onnx", "application/protobuf", "application/x-protobuf", "application/x-www-form-urlencoded"}

// receive reads options and files of a request.
func (h *handler) receive(r *http.Request) (f *form, err error) {
	f = &form{job: newJob()}
	defer func() {
		if err != nil {
			f.free()
		}
	}()
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return f, problem(http.StatusBadRequest, "query", "it cannot be read: %v", err)
	}
	if err := f.job.parse(query, "query"); err != nil {
		return f, err
	}
	if o, ok := h.streams(r, f.job); ok {
		f.model, err = h.stream(r, o)
		return f, err
	}
	if limit := h.config.MaxMetanetBytes; f.job.Criterion.Kind == "metanet" && r.ContentLength > limit && !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return f, limited(http.StatusRequestEntityTooLarge, limit, "the model has %d bytes, more than the %d that may be for criterion metanet", r.ContentLength, limit)
	}
	body, err := h.body(r)
	if err != nil {
		return f, err
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Content-Type") == "":
	case err != nil:
		return f, problem(http.StatusUnsupportedMediaType, "header Content-Type", "it cannot be read: %v", err)
	case kind == "multipart/form-data":
		if err := h.parts(f, multipart.NewReader(body, params["boundary"]), length(r)); err != nil {
			return f, early(err)
		}
		return f, digest(r, f)
	case !slices.Contains(modelTypes, kind):
		return f, problem(http.StatusUnsupportedMediaType, "header Content-Type", "%s; want multipart/form-data or the model itself as %s", kind, modelTypes[0])
	}
	if f.model, err = h.config.Store.Keep(body, length(r)); err != nil {
		return f, early(err)
	}
	return f, digest(r, f)
}

// length is how long a body is or, in a form, can be at most; -1 where the client does not say.
func length(r *http.Request) int64 {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return -1
	}
	return r.ContentLength
}

// early says so where a body ended before its end.
func early(err error) error {
	var large *http.MaxBytesError
	var p *Problem
	if errors.As(err, &large) || errors.As(err, &p) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return context.DeadlineExceeded
	}
	return problem(http.StatusBadRequest, "body", "it broke off: %v", err)
}

// body is the request's body without its encoding, bounded.
func (h *handler) body(r *http.Request) (io.Reader, error) {
	if r.ContentLength > h.config.MaxBytes+maxPlan+maxSamples {
		return nil, &http.MaxBytesError{Limit: h.config.MaxBytes}
	}
	switch e := r.Header.Get("Content-Encoding"); e {
	case "", "identity":
		return &bounded{r.Body, h.config.MaxBytes + maxPlan, h.config.MaxBytes}, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, problem(http.StatusBadRequest, "body", "it is not gzip: %v", err)
		}
		return &bounded{z, h.config.MaxBytes + maxPlan, h.config.MaxBytes}, nil
	default:
		return nil, problem(http.StatusUnsupportedMediaType, "header Content-Encoding", "%q; want gzip or nothing", e)
	}
}

// bounded fails with a MaxBytesError, which names limit, when more than left bytes come.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, &http.MaxBytesError{Limit: b.limit}
	}
	return n, err
}

// parts reads a form of so many bytes: the files model, plan, repaired and samples, and options.
func (h *handler) parts(f *form, r *multipart.Reader, size int64) error {
	fields, left := url.Values{}, maxOptions
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return f.job.parse(fields, "field")
		}
		if err != nil {
			return err
		}
		name := part.FormName()
		to := map[string]**Upload{partModel: &f.model, partPlan: &f.plan, partRepaired: &f.repaired, partSamples: &f.samples}[name]
		switch {
		case to != nil && *to != nil:
			return problem(http.StatusBadRequest, "part "+name, "it is there twice")
		case name == partPlan:
			f.plan, err = h.config.Store.Keep(&bounded{part, maxPlan, maxPlan}, min(size, maxPlan))
		case name == partSamples:
			f.samples, err = h.config.Store.Keep(&bounded{part, maxSamples, maxSamples}, min(size, maxSamples))
		case to != nil:
			*to, err = h.config.Store.Keep(&bounded{part, h.config.MaxBytes, h.config.MaxBytes}, min(size, h.config.MaxBytes))
		default:
			var b []byte
			if b, err = io.ReadAll(&bounded{part, maxOption, maxOption}); err == nil {
				fields.Add(name, string(bytes.TrimSpace(b)))
			}
			if left -= len(name) + len(b); left < 0 {
				return limited(http.StatusRequestEntityTooLarge, maxOptions, "the options of the form have more than %d bytes", maxOptions)
			}
		}
		if err != nil {
			return fmt.Errorf("part %q: %w", name, err)
		}
	}
}

// digest compares the model with the header Content-Digest (RFC 9530), where there is one.
func digest(r *http.Request, f *form) error {
	head := r.Header.Get("Content-Digest")
	if head == "" || f.model == nil || r.Header.Get("Content-Encoding") != "" || strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return nil
	}
	for entry := range strings.SplitSeq(head, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(entry), "=")
		if name != "sha-256" {
			continue
		}
		want, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
		if err != nil {
			return problem(http.StatusBadRequest, "header Content-Digest", "it cannot be read: %v", err)
		}
		if got := f.model.sha256(); got != hex.EncodeToString(want) {
			return problem(http.StatusBadRequest, "body", "its SHA-256 is %s, the header Content-Digest says %s", got, hex.EncodeToString(want))
		}
	}
	return nil
}
