//go:build js && wasm

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"syscall/js"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/wasm/gorgo"
)

// engines by their number.
var engines []*gorgo.Engine

func main() {
	api := js.Global().Get("Object").New()
	for name, do := range map[string]func([]js.Value) (any, error){"open": open, "run": run} {
		api.Set(name, js.FuncOf(func(_ js.Value, args []js.Value) any {
			v, err := do(args)
			if err != nil {
				return map[string]any{"error": err.Error()}
			}
			return map[string]any{"value": v}
		}))
	}
	js.Global().Call("metapruneEngineReady", api)
	select {}
}

func open(args []js.Value) (any, error) {
	if len(args) < 1 {
		return nil, errors.New("open: no file")
	}
	m, err := onnxio.Decode(given(args[0]), nil)
	if err != nil {
		return nil, err
	}
	e, err := gorgo.New(m, 1)
	if err != nil {
		return nil, err
	}
	engines = append(engines, e)
	input, output := e.Names()
	return map[string]any{"id": len(engines) - 1, "input": input, "output": output, "shape": numbers(e.Shape())}, nil
}

func run(args []js.Value) (any, error) {
	if len(args) < 2 || args[0].Int() < 0 || args[0].Int() >= len(engines) {
		return nil, errors.New("run: no such model")
	}
	e := engines[args[0].Int()]
	in := floats(given(args[1]))
	want := 1
	for _, d := range e.Shape() {
		want *= d
	}
	if len(in) != want {
		return nil, fmt.Errorf("the model needs %d numbers, got %d", want, len(in))
	}
	out, dims, err := e.Run(in)
	if err != nil {
		return nil, err
	}
	data := js.Global().Get("Uint8Array").New(4 * len(out))
	js.CopyBytesToJS(data, bytesOf(out))
	return map[string]any{"data": data, "dims": numbers(dims)}, nil
}

func given(v js.Value) []byte {
	b := make([]byte, v.Get("byteLength").Int())
	js.CopyBytesToGo(b, v)
	return b
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func bytesOf(x []float32) []byte {
	out := make([]byte, 0, 4*len(x))
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func numbers(dims []int) []any {
	out := make([]any, len(dims))
	for i, d := range dims {
		out[i] = d
	}
	return out
}
