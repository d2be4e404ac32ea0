package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/metaprune/metaprune/wasm/api"
)

// bucket holds models by key.
type bucket interface {
	// get opens an object; errNoKey where there is none.
	get(ctx context.Context, key string) (r io.ReadCloser, size int64, err error)
	// read returns a part of an object.
	read(ctx context.Context, key string, offset, length int64) ([]byte, error)
	// put writes an object of so many bytes from r; it must not be there in part after an error.
	put(ctx context.Context, key string, size int64, r io.Reader) error
}

var errNoKey = errors.New("there is no such key")

// withBucket takes the model of a request with the option key from a bucket, and with the option to puts what is made of it there.
func withBucket(h *api.Handler, open func() (bucket, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		key, to := query.Get("key"), query.Get("to")
		if (key == "" && to == "") || r.Method != http.MethodPost {
			h.ServeHTTP(w, r)
			return
		}
		if !h.Authorized(r) {
			h.Refuse(w, r, &api.Problem{Status: http.StatusUnauthorized, Place: "header Authorization", Detail: "want the bearer token of this service"})
			return
		}
		b, err := open()
		if err != nil {
			h.Refuse(w, r, &api.Problem{Status: http.StatusNotImplemented, Place: "query key", Detail: err.Error()})
			return
		}
		s := &stored{h: h, b: b, w: w}
		if p := s.answer(r, query, key, to); p != nil {
			h.Refuse(w, r, p)
		}
	})
}

// stored answers a request whose model, or whose result, is in a bucket.
type stored struct {
	h *api.Handler
	b bucket
	w http.ResponseWriter
}

func failed(place string, err error) *api.Problem {
	status := http.StatusBadGateway
	if errors.Is(err, errNoKey) {
		status = http.StatusNotFound
	}
	return &api.Problem{Status: status, Place: place, Detail: err.Error()}
}

func (s *stored) answer(r *http.Request, query url.Values, key, to string) *api.Problem {
	query.Del("key")
	query.Del("to")
	inner := r.Clone(r.Context())
	inner.URL.RawQuery = query.Encode()
	if key != "" {
		body, size, err := s.b.get(r.Context(), key)
		if err != nil {
			return failed("query key", fmt.Errorf("%q: %w", key, err))
		}
		defer body.Close()
		inner.Body, inner.ContentLength = body, size
		inner.Header.Set("Content-Type", "application/octet-stream")
		inner.Header.Del("Content-Encoding")
		inner = api.WithObject(inner, &api.Object{Size: size, Read: func(offset, length int64) ([]byte, error) {
			b, err := s.b.read(r.Context(), key, offset, length)
			if err != nil {
				return nil, failed("query key", fmt.Errorf("%q: %w", key, err))
			}
			return b, nil
		}})
	}
	if to == "" {
		s.h.ServeHTTP(s.w, inner)
		return nil
	}
	out := &putter{ctx: r.Context(), b: s.b, key: to, w: s.w, head: http.Header{}}
	s.into(out, inner)
	size, err := out.finish()
	switch {
	case err != nil:
		return failed("query to", fmt.Errorf("%q: %w", to, err))
	case out.passed:
		return nil
	}
	for k, v := range out.head {
		if k != "Content-Length" && k != "Content-Disposition" && k != "Content-Type" {
			s.w.Header()[k] = v
		}
	}
	s.w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"key": to, "bytes": size, "speed_up": number(out.head.Get("Metaprune-Speed-Up")), "params": number(out.head.Get("Metaprune-Params"))}
	if w := out.head.Values("Metaprune-Warning"); len(w) > 0 {
		answer["warnings"] = w
	}
	_ = json.NewEncoder(s.w).Encode(answer)
	return nil
}

// into lets the handler write to a bucket; that it broke off shows in the number of bytes.
func (s *stored) into(out *putter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value itself is thrown
			panic(p)
		}
	}()
	s.h.ServeHTTP(out, r)
}

func number(s string) float64 {
	v, _ := strconv.ParseFloat(s, 64)
	return v
}

// putter is a ResponseWriter that streams a successful answer into a bucket and passes any other on.
type putter struct {
	ctx    context.Context
	b      bucket
	key    string
	w      http.ResponseWriter
	head   http.Header
	passed bool // the answer is not for the bucket
	pipe   *io.PipeWriter
	done   chan error
	size   int64
	sent   int64
}

func (p *putter) Header() http.Header { return p.head }

func (p *putter) WriteHeader(status int) {
	if p.passed || p.pipe != nil {
		return
	}
	var err error
	p.size, err = strconv.ParseInt(p.head.Get("Content-Length"), 10, 64)
	if status != http.StatusOK || err != nil {
		p.passed = true
		for k, v := range p.head {
			p.w.Header()[k] = v
		}
		p.w.WriteHeader(status)
		return
	}
	r, w := io.Pipe()
	p.pipe, p.done = w, make(chan error, 1)
	go func() {
		err := p.b.put(p.ctx, p.key, p.size, r)
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		p.done <- err
	}()
}

func (p *putter) Write(data []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if p.passed {
		return p.w.Write(data)
	}
	n, err := p.pipe.Write(data)
	p.sent += int64(n)
	return n, err
}

// finish waits for the bucket.
func (p *putter) finish() (int64, error) {
	if p.pipe == nil {
		return 0, nil
	}
	if p.sent != p.size {
		_ = p.pipe.CloseWithError(fmt.Errorf("%d of %d bytes were made", p.sent, p.size))
	} else {
		_ = p.pipe.Close()
	}
	return p.size, <-p.done
}
