//go:build js && wasm

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall/js"
	"time"
)

// progressEvery is the least time between two reports.
const progressEvery = 40 * time.Millisecond

func main() {
	debug.SetGCPercent(50)
	t := &tool{}
	api := js.Global().Get("Object").New()
	for name, do := range map[string]func([]js.Value) (any, error){
		"open":     t.jsOpen,
		"openFile": t.jsOpenFile,
		"estimate": func(a []js.Value) (any, error) { return float64(estimate(int64(a[0].Float()))), nil },
		"score":    t.jsScore,
		"inspect":  t.jsInspect,
		"plan":     t.jsPlan,
		"apply":    t.jsApply,
		"give":     t.jsGive,
		"noise":    t.jsNoise,
	} {
		api.Set(name, js.FuncOf(func(_ js.Value, args []js.Value) any { return answered(func() (any, error) { return do(args) }) }))
	}
	api.Set("repair", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return promised(func() (any, error) { return t.jsRepair(args) })
	}))
	api.Set("observe", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return promised(func() (any, error) { return nil, t.observe(context.Background(), outside(args[0])) })
	}))
	js.Global().Call("metapruneReady", api)
	select {}
}

// answered runs a call and returns {value} or {error, place}.
func answered(do func() (any, error)) (out any) {
	defer func() {
		if p := recover(); p != nil {
			out = map[string]any{"error": fmt.Sprintf("a fault of the program: %v", p)}
		}
	}()
	v, err := do()
	if err != nil {
		return map[string]any{"error": err.Error(), "place": place(err)}
	}
	return map[string]any{"value": v}
}

// text sends v as JSON, which is one copy instead of one call for each field.
func text(v any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func (t *tool) jsOpen(args []js.Value) (any, error) {
	n := args[0].Get("byteLength").Int()
	if n > maxBytes {
		return nil, fmt.Errorf("the file has %d MB; a page reads up to %d MB; use the command line for larger files", n>>20, maxBytes>>20)
	}
	if n == 0 {
		return nil, errors.New("the file is empty")
	}
	data := make([]byte, n)
	js.CopyBytesToGo(data, args[0])
	return text(t.open(data))
}

// jsOpenFile opens a Blob without reading it as a whole; a worker's FileReaderSync reads its parts.
func (t *tool) jsOpenFile(args []js.Value) (any, error) {
	blob := args[0]
	reader := js.Global().Get("FileReaderSync").New()
	size := int64(blob.Get("size").Float())
	if size > maxBytes {
		return nil, fmt.Errorf("the file has %d MB; a page reads up to %d MB; use the command line for larger files", size>>20, maxBytes>>20)
	}
	read := func(offset, length int64) (out []byte, err error) {
		defer func() {
			if p := recover(); p != nil {
				out, err = nil, fmt.Errorf("the file can no longer be read (%v); open it again", p)
			}
		}()
		part := js.Global().Get("Uint8Array").New(reader.Call("readAsArrayBuffer", blob.Call("slice", float64(offset), float64(offset+length))))
		out = make([]byte, part.Get("byteLength").Int())
		js.CopyBytesToGo(out, part)
		return out, nil
	}
	return text(t.openFile(size, read))
}

// watch sends progress to a function.
func (t *tool) watch(f js.Value) {
	last := time.Time{}
	t.progress = func(what string, done, total int) {
		if f.Type() == js.TypeFunction && (done == total || time.Since(last) > progressEvery) {
			last = time.Now()
			f.Invoke(what, done, total)
		}
	}
}

func (t *tool) jsScore(args []js.Value) (any, error) {
	r, err := parse(args[0].String())
	if err != nil {
		return nil, err
	}
	t.watch(args[1])
	_, _, err = t.score(context.Background(), r)
	return nil, err
}

func (t *tool) jsInspect(args []js.Value) (any, error) {
	r, err := parse(args[0].String())
	if err != nil {
		return nil, err
	}
	return text(t.inspect(r.Inputs))
}

func (t *tool) jsPlan(args []js.Value) (any, error) {
	r, err := parse(args[0].String())
	if err != nil {
		return nil, err
	}
	t.watch(args[1])
	return text(t.plan(context.Background(), r))
}

func (t *tool) jsApply(args []js.Value) (any, error) {
	t.watch(args[1])
	var fitted []byte
	if args[2].Truthy() {
		fitted = make([]byte, args[2].Get("byteLength").Int())
		js.CopyBytesToGo(fitted, args[2])
	}
	m, err := t.apply([]byte(args[0].String()), fitted)
	if err != nil {
		return nil, err
	}
	size := m.EncodedSize()
	w := &filler{to: js.Global().Get("Uint8Array").New(float64(size)), size: size, report: t.progress}
	return w.to, m.Encode(w)
}

// filler writes into a Uint8Array.
type filler struct {
	to       js.Value
	at, size int64
	report   func(what string, done, total int)
}

func (f *filler) Write(p []byte) (int, error) {
	if f.at+int64(len(p)) > f.size {
		return 0, errors.New("the model is larger than was computed")
	}
	js.CopyBytesToJS(f.to.Call("subarray", float64(f.at)), p)
	f.at += int64(len(p))
	f.report("writing", int(f.at>>10), int(f.size>>10))
	return len(p), nil
}
