//go:build js && wasm

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"syscall/js"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/repair"
)

// outside is the page's runtime: run(file, feeds, samples) promises [{type, dims, data, stacked}].
func outside(run js.Value) runtime {
	return func(ctx context.Context, file []byte, feeds map[string]repair.Array, samples int) ([]repair.Array, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list := js.Global().Get("Array").New()
		for name, a := range feeds {
			list.Call("push", map[string]any{"name": name, "dims": ints(a.Dims), "data": bytesOf(a), "stacked": a.Stack > 0})
		}
		v, err := awaited(run.Invoke(toJS(file), list, samples))
		if err != nil {
			return nil, err
		}
		out := make([]repair.Array, v.Length())
		for i := range out {
			if out[i], err = arrayOf(v.Index(i), samples); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}

func ints(v []int) []any {
	out := make([]any, len(v))
	for i, x := range v {
		out[i] = x
	}
	return out
}

func toJS(b []byte) js.Value {
	a := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(a, b)
	return a
}

func bytesOf(a repair.Array) js.Value {
	raw := make([]byte, 4*len(a.Floats))
	for i, x := range a.Floats {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
	}
	return toJS(raw)
}

// awaited waits for a promise, in a goroutine of its own only: the caller of a function must not wait.
func awaited(promise js.Value) (js.Value, error) {
	type answer struct {
		v   js.Value
		err error
	}
	done := make(chan answer, 1)
	ok := js.FuncOf(func(_ js.Value, args []js.Value) any { done <- answer{v: args[0]}; return nil })
	failed := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- answer{err: errors.New(js.Global().Get("String").Invoke(args[0]).String())}
		return nil
	})
	defer ok.Release()
	defer failed.Release()
	promise.Call("then", ok, failed)
	a := <-done
	return a.v, a.err
}

// kinds of numbers that a runtime returns, by the names it gives them.
var kinds = map[string]onnxio.DataType{"float32": onnxio.Float, "int64": onnxio.Int64, "int32": onnxio.Int32, "bool": onnxio.Bool, "uint8": onnxio.Uint8}

// arrayOf reads one output.
func arrayOf(v js.Value, samples int) (repair.Array, error) {
	name := v.Get("type").String()
	a := repair.Array{Type: kinds[name]}
	if _, ok := kinds[name]; !ok {
		return a, fmt.Errorf("a value of type %s, which the page does not repair with; the command line does", name)
	}
	if a.Type == onnxio.Float {
		f, err := floatsOf(v)
		f.Stack = stackOf(v, samples)
		return f, err
	}
	n := dimsOf(v, &a)
	a.Stack = stackOf(v, samples)
	raw := rawOf(v)
	if len(raw) != n*a.Type.Bits()/8 {
		return a, fmt.Errorf("the runtime returned %d bytes for %d numbers of %s", len(raw), n, name)
	}
	t := &onnxio.Tensor{DataType: a.Type, Dims: []int64{int64(n)}}
	t.SetRaw(raw)
	var err error
	a.Ints, err = t.Int64s()
	return a, err
}

func stackOf(v js.Value, samples int) int {
	if v.Get("stacked").Bool() {
		return samples
	}
	return 0
}

// dimsOf reads the dimensions and returns their product.
func dimsOf(v js.Value, a *repair.Array) int {
	n := 1
	for i := range v.Get("dims").Length() {
		d := v.Get("dims").Index(i).Int()
		a.Dims, n = append(a.Dims, d), n*d
	}
	return n
}

func rawOf(v js.Value) []byte {
	raw := make([]byte, v.Get("data").Get("byteLength").Int())
	js.CopyBytesToGo(raw, v.Get("data"))
	return raw
}

// floatsOf reads {dims, data} with data the bytes of float32.
func floatsOf(v js.Value) (repair.Array, error) {
	a := repair.Array{Type: onnxio.Float}
	n := dimsOf(v, &a)
	raw := rawOf(v)
	if len(raw) != 4*n {
		return a, fmt.Errorf("%d bytes for %d numbers of 4", len(raw), n)
	}
	a.Floats = make([]float32, n)
	for i := range a.Floats {
		a.Floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return a, nil
}

// promised runs a call that waits for the page in a goroutine and returns a promise of its answer.
func promised(do func() (any, error)) js.Value {
	var start js.Func
	start = js.FuncOf(func(_ js.Value, args []js.Value) any {
		resolve := args[0]
		go func() {
			defer start.Release()
			resolve.Invoke(answered(do))
		}()
		return nil
	})
	return js.Global().Get("Promise").New(start)
}

// jsGive takes [{name, dims, data}] with data as bytes.
func (t *tool) jsGive(args []js.Value) (any, error) {
	feeds := map[string]repair.Array{}
	for i := range args[0].Length() {
		v := args[0].Index(i)
		a, err := floatsOf(v)
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", v.Get("name").String(), err)
		}
		feeds[v.Get("name").String()] = a
	}
	return t.give(feeds)
}

func (t *tool) jsNoise(args []js.Value) (any, error) {
	return t.noise(args[0].Int(), uint64(args[1].Int()))
}

func (t *tool) jsRepair(args []js.Value) (any, error) {
	t.watch(args[1])
	r, err := t.repair(context.Background(), []byte(args[0].String()), outside(args[2]))
	if err != nil {
		return nil, err
	}
	said, err := text(r, nil)
	if err != nil || r.file == nil {
		return map[string]any{"said": said}, err
	}
	return map[string]any{"said": said, "file": toJS(r.file)}, nil
}
