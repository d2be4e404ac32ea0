package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"

	"github.com/metaprune/metaprune/onnxio"
)

// Object is a stored model that can be read again in parts.
type Object struct {
	Size int64
	Read onnxio.ReadRange
}

// streamPart is the size of raw elements that stay in an Object.
const streamPart = 64 << 10

type objectKey struct{}

// WithObject tells the handler that the request's body is o. If its criterion reads one tensor at a time, larger tensors are not loaded, and the model may be larger than Config.MaxBytes: see Config.Stream.
func WithObject(r *http.Request, o *Object) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), objectKey{}, o))
}

// streams reports whether a request's model is read tensor by tensor.
func (h *handler) streams(r *http.Request, j *job) (*Object, bool) {
	o, ok := r.Context().Value(objectKey{}).(*Object)
	return o, ok && h.config.Stream.Tensor > 0 && o.Size >= h.config.Stream.From && j.Criterion.Kind != "metanet" && (j.Pattern == "" || j.Pattern == "channels")
}

// stream reads an Object once.
func (h *handler) stream(r *http.Request, o *Object) (*Upload, error) {
	sum := sha256.New()
	m, err := onnxio.DecodeStream(io.TeeReader(r.Body, sum), o.Size, o.Read, onnxio.StreamLimits{Part: streamPart, Tensor: h.config.Stream.Tensor, Kept: h.config.Stream.Kept})
	if err != nil {
		return nil, err
	}
	hash := hex.EncodeToString(sum.Sum(nil))
	return &Upload{Model: m, Size: o.Size, SHA256: func() string { return hash }, Free: func() {}}, nil
}
