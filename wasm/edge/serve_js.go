//go:build js && wasm

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall/js"

	"github.com/syumai/workers"
	"github.com/syumai/workers/cloudflare"
	"github.com/syumai/workers/cloudflare/r2"
)

// serve answers for ever: the instance outlives its first request.
func serve(h http.Handler) {
	workers.ServeNonBlock(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, ok := r.Body.(interface{ GetRawJSBody() js.Value }); ok {
			r.Body = &body{stream: b.GetRawJSBody()}
		}
		if r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
			r.ContentLength = -1 // the runtime's 0 is also that of a chunked body
		}
		out := &answer{raw: w.(raw)}
		defer func() {
			out.finish(recover())
			js.Global().Get("context").Call("done")
		}()
		h.ServeHTTP(out, r)
	}))
	workers.Ready()
	select {}
}

func getenv(name string) string {
	v := cloudflare.GetBinding(name)
	if v.Type() != js.TypeString {
		return ""
	}
	return v.String()
}

// bucketName is the bucket's binding.
const bucketName = "MODELS"

type r2Bucket struct{ *r2.Bucket }

func openBucket() (bucket, error) {
	b, err := r2.NewBucket(bucketName)
	if err != nil {
		return nil, fmt.Errorf("this worker has no bucket with the binding %s", bucketName)
	}
	return r2Bucket{b}, nil
}

func (b r2Bucket) get(_ context.Context, key string) (io.ReadCloser, int64, error) {
	o, err := b.Get(key)
	if err != nil {
		return nil, 0, err
	}
	if o == nil {
		return nil, 0, errNoKey
	}
	if s, ok := o.Body.(interface{ GetRawJSBody() js.Value }); ok {
		return &body{stream: s.GetRawJSBody()}, int64(o.Size), nil
	}
	return nil, 0, errors.New("the object has no body")
}

// read fetches a part of an object.
func (b r2Bucket) read(_ context.Context, key string, offset, length int64) ([]byte, error) {
	object := js.Global().Get("Object")
	span, options := object.New(), object.New()
	span.Set("offset", float64(offset))
	span.Set("length", float64(length))
	options.Set("range", span)
	got := <-promise(cloudflare.GetBinding(bucketName).Call("get", key, options))
	if got.err != nil {
		return nil, got.err
	}
	if got.value.IsNull() {
		return nil, errNoKey
	}
	got = <-promise(got.value.Call("arrayBuffer"))
	if got.err != nil {
		return nil, got.err
	}
	part := js.Global().Get("Uint8Array").New(got.value)
	out := make([]byte, part.Get("byteLength").Int())
	js.CopyBytesToGo(out, part)
	return out, nil
}

// put streams into the bucket, which takes a stream of known length.
func (b r2Bucket) put(_ context.Context, key string, size int64, r io.Reader) error {
	s := js.Global().Get("FixedLengthStream").New(float64(size))
	stored := promise(cloudflare.GetBinding(bucketName).Call("put", key, s.Get("readable")))
	w := &sink{writer: s.Get("writable").Call("getWriter")}
	_, err := io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, chunk))
	if err != nil {
		w.abort(err)
		<-stored
		return err
	}
	w.close()
	return (<-stored).err
}
