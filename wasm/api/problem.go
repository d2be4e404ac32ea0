package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/faults"
)

// Problem is an error as it is sent: problem details of RFC 9457 with the extensions kind, where (also place), want, got, limit and request_id.
type Problem struct {
	Type      string `json:"type"` // "about:blank": the status says it all
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Place     string `json:"place,omitempty"` // in the request or in the model, such as "query speed-up" or `graph.node[12] "conv1" (Conv)`
	Kind      string `json:"kind,omitempty"`  // as the command line's: usage, format, unsupported, target, cancelled or other; and limit
	Where     string `json:"where,omitempty"` // the same as place
	Want      string `json:"want,omitempty"`
	Got       string `json:"got,omitempty"`
	Limit     int64  `json:"limit,omitempty"` // bytes, milliseconds or requests that may be, with 413, 408 and 429
	RequestID string `json:"request_id,omitempty"`
}

func (p *Problem) Error() string {
	if p.Place != "" {
		return p.Place + ": " + p.Detail
	}
	return p.Detail
}

func problem(status int, place, format string, args ...any) *Problem {
	return &Problem{Status: status, Place: place, Detail: fmt.Sprintf(format, args...)}
}

func limited(status int, limit int64, format string, args ...any) *Problem {
	p := problem(status, "", format, args...)
	p.Limit, p.Kind = limit, "limit"
	return p
}

// asProblem finds the status that an error stands for. ctx tells whether time ran out.
func (h *handler) asProblem(ctx context.Context, err error) *Problem {
	var p *Problem
	var large *http.MaxBytesError
	var format *onnxio.FormatError
	var room *onnxio.TooLargeError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return limited(http.StatusRequestEntityTooLarge, large.Limit, "the request has more than %d bytes", large.Limit)
	case errors.As(err, &room):
		return limited(http.StatusRequestEntityTooLarge, room.Limit, "%v; run metaprune on a machine with more memory", room)
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return limited(http.StatusRequestTimeout, h.config.Timeout.Milliseconds(), "the request took longer than %s; send a smaller model, or run metaprune with a larger option \"timeout\"", h.config.Timeout)
	case ctx.Err() != nil:
		return problem(499, "", "the client went away")
	}
	p = problem(http.StatusUnprocessableEntity, "", "%v", err)
	known := faults.Of(err)
	p.Kind, p.Place, p.Want, p.Got = known.Kind, known.Where, known.Want, known.Got
	switch {
	case errors.As(err, &format):
		p.Detail = "the model cannot be read: " + p.Detail
	case known.Kind == faults.Usage:
		p.Status = http.StatusBadRequest
	}
	return p
}

// kindOf is the kind of a problem that names none: what is wrong with the request.
func (p *Problem) kindOf() string {
	switch {
	case p.Kind != "":
		return p.Kind
	case p.Status == 499:
		return "cancelled"
	case p.Status >= 500:
		return "other"
	}
	return "usage"
}

// send writes a problem.
func (p *Problem) send(w http.ResponseWriter, requestID string) {
	out := *p
	out.Type, out.Title, out.RequestID, out.Kind, out.Where = "about:blank", http.StatusText(p.Status), requestID, p.kindOf(), p.Place
	head := w.Header()
	for _, k := range []string{"Content-Length", "Content-Disposition", "Etag", "Content-Encoding", "Metaprune-Warning", "Metaprune-Repair"} {
		head.Del(k)
	}
	head.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusTooManyRequests:
		head.Set("Retry-After", "1")
	case http.StatusUnauthorized:
		head.Set("WWW-Authenticate", `Bearer realm="metaprune"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(&out)
}
