//go:build js && wasm

package main

import (
	"errors"
	"io"
	"net/http"
	"syscall/js"
)

// chunk is how much goes between JavaScript and Go at a time.
const chunk = 1 << 20

type settled struct {
	value js.Value
	err   error
}

// promise returns a channel with what a promise comes to.
func promise(p js.Value) <-chan settled {
	out := make(chan settled, 1)
	var then, catch js.Func
	release := func() { then.Release(); catch.Release() }
	then = js.FuncOf(func(_ js.Value, args []js.Value) any {
		defer release()
		v := js.Undefined()
		if len(args) > 0 {
			v = args[0]
		}
		out <- settled{value: v}
		return nil
	})
	catch = js.FuncOf(func(_ js.Value, args []js.Value) any {
		defer release()
		out <- settled{err: errors.New(args[0].Call("toString").String())}
		return nil
	})
	p.Call("then", then, catch)
	return out
}

// body reads a ReadableStream of bytes in large pieces.
type body struct {
	stream js.Value
	reader js.Value
	buffer js.Value // ArrayBuffer that goes back and forth
	rest   js.Value // of the last piece
	ended  bool
}

func (b *body) start() {
	if b.reader.IsUndefined() {
		options := js.Global().Get("Object").New()
		options.Set("mode", "byob")
		b.reader = b.stream.Call("getReader", options)
		b.buffer = js.Global().Get("ArrayBuffer").New(chunk)
		b.rest = js.Global().Get("Uint8Array").New(0)
	}
}

func (b *body) Read(p []byte) (int, error) {
	if b.stream.IsNull() || b.stream.IsUndefined() {
		return 0, io.EOF
	}
	b.start()
	for b.rest.Get("byteLength").Int() == 0 {
		if b.ended {
			return 0, io.EOF
		}
		view := js.Global().Get("Uint8Array").New(b.buffer)
		got := <-promise(b.reader.Call("readAtLeast", chunk, view))
		if got.err != nil {
			return 0, errors.Join(io.ErrUnexpectedEOF, got.err)
		}
		b.ended = got.value.Get("done").Bool()
		if v := got.value.Get("value"); v.Type() == js.TypeObject {
			b.rest, b.buffer = v, v.Get("buffer")
		}
	}
	n := js.CopyBytesToGo(p, b.rest)
	b.rest = b.rest.Call("subarray", n)
	return n, nil
}

func (b *body) Close() error {
	if !b.reader.IsUndefined() && !b.ended {
		<-promise(b.reader.Call("cancel"))
	}
	return nil
}

// sink writes to a WritableStreamDefaultWriter, as fast as it takes it.
type sink struct {
	writer js.Value
	err    error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	b := js.Global().Get("Uint8Array").New(len(p))
	js.CopyBytesToJS(b, p)
	if got := <-promise(s.writer.Call("write", b)); got.err != nil {
		s.err = got.err
		return 0, s.err
	}
	return len(p), nil
}

func (s *sink) close() { <-promise(s.writer.Call("close")) }

func (s *sink) abort(err error) { <-promise(s.writer.Call("abort", err.Error())) }

// raw is what the library's ResponseWriter can besides.
type raw interface {
	http.ResponseWriter
	WriteRawJSBody(body js.Value)
	Ready()
}

// answer is a ResponseWriter whose body is a stream that waits for its reader, in large pieces.
type answer struct {
	raw    raw
	status int
	buffer []byte
	out    *sink
	failed bool
}

func (a *answer) Header() http.Header { return a.raw.Header() }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		a.raw.WriteHeader(status)
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	n := len(p)
	if a.buffer == nil {
		a.buffer = make([]byte, 0, chunk)
	}
	for len(p) > 0 {
		k := min(len(p), cap(a.buffer)-len(a.buffer))
		a.buffer, p = append(a.buffer, p[:k]...), p[k:]
		if len(a.buffer) == cap(a.buffer) {
			if err := a.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (a *answer) flush() error {
	if a.out == nil {
		stream := js.Global().Get("TransformStream").New()
		if size := a.raw.Header().Get("Content-Length"); size != "" {
			stream = js.Global().Get("FixedLengthStream").New(js.Global().Call("Number", size))
		}
		a.out = &sink{writer: stream.Get("writable").Call("getWriter")}
		a.raw.WriteRawJSBody(stream.Get("readable"))
		a.raw.Ready()
	}
	_, err := a.out.Write(a.buffer)
	a.buffer = a.buffer[:0]
	return err
}

// finish sends the rest; after a panic, which is p, the stream is broken off.
func (a *answer) finish(p any) {
	if p != nil {
		if a.out != nil {
			a.out.abort(errors.New("broken off"))
			return
		}
		a.raw.WriteHeader(http.StatusInternalServerError)
		a.raw.WriteRawJSBody(js.Null())
		a.raw.Ready()
		return
	}
	if a.out == nil && len(a.buffer) == 0 {
		a.raw.WriteRawJSBody(js.Null())
		a.raw.Ready()
		return
	}
	if len(a.buffer) > 0 || a.out == nil {
		if a.flush() != nil {
			return
		}
	}
	a.out.close()
}
