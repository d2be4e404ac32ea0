package ort_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// tensorType is a tensor's type; dims below 0 are free.
func tensorType(kind onnxio.DataType, dims ...int64) *onnxio.Type {
	shape := &onnxio.Shape{}
	for _, d := range dims {
		shape.Dims = append(shape.Dims, &onnxio.Dim{Value: d, HasValue: d >= 0})
	}
	return &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: kind, Shape: shape}}
}

// model is one with an input x, an output y and nodes between them.
func model(in, out *onnxio.Type, nodes ...*onnxio.Node) *onnxio.Model {
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{
		Name: "test", Nodes: nodes,
		Inputs: []*onnxio.ValueInfo{{Name: "x", Type: in}}, Outputs: []*onnxio.ValueInfo{{Name: "y", Type: out}},
	}}
}

func node(op, out string, in ...string) *onnxio.Node {
	return &onnxio.Node{OpType: op, Inputs: in, Outputs: []string{out}}
}

func encoded(t testing.TB, m *onnxio.Model) []byte {
	t.Helper()
	data, err := m.Marshal()
	require.NoError(t, err)
	return data
}

func session(t testing.TB, m *onnxio.Model) *ort.Session {
	t.Helper()
	s, err := orttest.Library(t).NewSession(encoded(t, m), ort.Options{})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// Every element type goes in and comes out with the same bytes.
func TestElementTypes(t *testing.T) {
	for _, kind := range []onnxio.DataType{onnxio.Float, onnxio.Double, onnxio.Float16, onnxio.BFloat16, onnxio.Bool,
		onnxio.Int8, onnxio.Int16, onnxio.Int32, onnxio.Int64, onnxio.Uint8, onnxio.Uint16, onnxio.Uint32, onnxio.Uint64} {
		s := session(t, model(tensorType(kind, -1, 3), tensorType(kind, -1, 3), node("Identity", "y", "x")))
		require.Equal(t, []ort.Info{{Name: "x", Type: kind, Dims: []int64{-1, 3}}}, s.Inputs, kind)
		require.Equal(t, "y", s.Outputs[0].Name)
		x := ort.Tensor{Type: kind, Dims: []int64{2, 3}}
		for i := range 6 * kind.Bits() / 8 {
			x.Data = append(x.Data, byte(i%2)) // booleans are 0 or 1
		}
		out, err := s.Run(context.Background(), map[string]ort.Tensor{"x": x})
		require.NoError(t, err, kind)
		require.Equal(t, []ort.Tensor{x}, out, kind)
	}
}

// Four-bit elements are two a byte, on the way in and on the way out.
func TestPackedElements(t *testing.T) {
	packed := ort.Tensor{Type: onnxio.Int4, Dims: []int64{3}, Data: []byte{0x21, 0x03}}
	real := floats([]int64{3}, 1, 2, 3)
	for op, want := range map[string][2]ort.Tensor{"DequantizeLinear": {packed, real}, "QuantizeLinear": {real, packed}} {
		m := model(tensorType(want[0].Type, 3), tensorType(want[1].Type, 3), node(op, "y", "x", "scale", "zero"))
		m.IRVersion, m.OpsetImport[0].Version = 10, 21
		scale, zero := &onnxio.Tensor{Name: "scale", DataType: onnxio.Float}, &onnxio.Tensor{Name: "zero", DataType: onnxio.Int4}
		scale.SetRaw([]byte{0, 0, 0x80, 0x3f}) // 1
		zero.SetRaw([]byte{0})
		m.Graph.Initializers = []*onnxio.Tensor{scale, zero}
		out, err := session(t, m).Run(context.Background(), map[string]ort.Tensor{"x": want[0]})
		require.NoError(t, err, op)
		require.Equal(t, want[1], out[0], op)
	}
}

func floats(dims []int64, v ...float32) ort.Tensor {
	data, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return ort.Tensor{Type: onnxio.Float, Dims: dims, Data: data}
}

// Scalars and tensors without elements are tensors too.
func TestSmallestTensors(t *testing.T) {
	s := session(t, model(tensorType(onnxio.Float), tensorType(onnxio.Float), node("Neg", "y", "x")))
	out, err := s.Run(context.Background(), map[string]ort.Tensor{"x": floats(nil, 2)})
	require.NoError(t, err)
	require.Equal(t, floats([]int64{}, -2), out[0])
	s = session(t, model(tensorType(onnxio.Float, -1, 4), tensorType(onnxio.Float, -1, 4), node("Neg", "y", "x")))
	out, err = s.Run(context.Background(), map[string]ort.Tensor{"x": floats([]int64{0, 4})})
	require.NoError(t, err)
	require.Equal(t, []int64{0, 4}, out[0].Dims)
	require.Empty(t, out[0].Data)
}

func TestRunRefuses(t *testing.T) {
	s := session(t, model(tensorType(onnxio.Float, -1, 2), tensorType(onnxio.Float, -1, 2), node("Neg", "y", "x")))
	ctx, good := context.Background(), floats([]int64{1, 2}, 1, 2)
	for want, feeds := range map[string]map[string]ort.Tensor{
		`input "x" has no value`: {"z": good},
		"2 values for 1 inputs":  {"x": good, "z": good},
		"takes 24 bytes, got 8":  {"x": floats([]int64{3, 2}, 1, 2)},
		"negative dimension":     {"x": floats([]int64{-1, -2}, 1, 2)},
		"invalid dimensions":     {"x": floats([]int64{1, 3}, 1, 2, 3)},
		"Unexpected input data":  {"x": {Type: onnxio.Int32, Dims: []int64{1, 2}, Data: make([]byte, 8)}},
		"raw bytes of element":   {"x": {Type: onnxio.String, Dims: []int64{1, 2}}},
	} {
		_, err := s.Run(ctx, feeds)
		require.ErrorContains(t, err, want)
	}
	_, err := s.Run(ctx, map[string]ort.Tensor{"x": good}, "x")
	require.ErrorContains(t, err, `no output "x"`)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.Run(cancelled, map[string]ort.Tensor{"x": good})
	require.ErrorIs(t, err, context.Canceled)

	s = session(t, model(tensorType(onnxio.Float, 4), &onnxio.Type{}, node("SplitToSequence", "y", "x")))
	require.Equal(t, onnxio.Undefined, s.Outputs[0].Type)
	_, err = s.Run(ctx, map[string]ort.Tensor{"x": floats([]int64{4}, 1, 2, 3, 4)})
	require.ErrorAs(t, err, new(*onnxio.UnsupportedError))
}

func TestBadModels(t *testing.T) {
	l := orttest.Library(t)
	unknown := model(tensorType(onnxio.Float, 2), tensorType(onnxio.Float, 2), node("Abracadabra", "y", "x"))
	for _, data := range [][]byte{[]byte("no model"), {8, 8}, encoded(t, unknown)} {
		_, err := l.NewSession(data, ort.Options{})
		var failed *ort.RunError
		require.ErrorAs(t, err, &failed)
		require.NotZero(t, failed.Code)
	}
	_, err := l.NewSession(nil, ort.Options{})
	require.ErrorAs(t, err, new(*onnxio.FormatError))
	_, err = l.OpenSession(filepath.Join(t.TempDir(), "none.onnx"), ort.Options{})
	require.ErrorContains(t, err, "none.onnx")
}

// External data is found in the folder that is named, and beside a model that is opened.
func TestExternalData(t *testing.T) {
	l := orttest.Library(t)
	w := &onnxio.Tensor{Name: "w", Dims: []int64{512}, DataType: onnxio.Float}
	w.SetRaw(make([]byte, 4*512))
	ones := make([]float32, 512)
	for i := range ones {
		ones[i] = 1
	}
	require.NoError(t, w.SetFloat32s(ones))
	m := model(tensorType(onnxio.Float, 512), tensorType(onnxio.Float, 512), node("Add", "y", "x", "w"))
	m.Graph.Initializers = []*onnxio.Tensor{w}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	require.NoError(t, m.SaveExternal(path, false))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Less(t, len(data), 2048)
	for _, open := range []func() (*ort.Session, error){
		func() (*ort.Session, error) { return l.NewSession(data, ort.Options{Folder: dir}) },
		func() (*ort.Session, error) { return l.OpenSession(path, ort.Options{}) },
	} {
		s, err := open()
		require.NoError(t, err)
		out, err := s.Run(context.Background(), map[string]ort.Tensor{"x": floats([]int64{512}, ones...)})
		require.NoError(t, err)
		require.Equal(t, math.Float32bits(2), binary.LittleEndian.Uint32(out[0].Data))
		s.Close()
	}
}

// long takes many seconds: a chain of matrix products.
func long() *onnxio.Model {
	const products = 400
	var nodes []*onnxio.Node
	last := "x"
	for i := range products {
		next := fmt.Sprint("h", i)
		if i == products-1 {
			next = "y"
		}
		nodes = append(nodes, node("MatMul", next, last, "x"))
		last = next
	}
	return model(tensorType(onnxio.Float, -1, -1), tensorType(onnxio.Float, -1, -1), nodes...)
}

func TestCancelledRunEnds(t *testing.T) {
	s := session(t, long())
	const n = 1024
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	_, err := s.Run(ctx, map[string]ort.Tensor{"x": {Type: onnxio.Float, Dims: []int64{n, n}, Data: make([]byte, 4*n*n)}})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), time.Second)
}

// One session runs in several goroutines at a time, and each gets its own outputs.
func TestConcurrentRuns(t *testing.T) {
	s := session(t, model(tensorType(onnxio.Float, -1), tensorType(onnxio.Float, -1), node("Neg", "y", "x")))
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				v := make([]float32, 1+i)
				for k := range v {
					v[k] = float32(g)
				}
				out, err := s.Run(context.Background(), map[string]ort.Tensor{"x": floats([]int64{int64(len(v))}, v...)})
				if err != nil || math.Float32frombits(binary.LittleEndian.Uint32(out[0].Data[4*i:])) != -float32(g) {
					t.Errorf("goroutine %d, run %d: %v", g, i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// What is returned as an error is not printed too.
func TestErrorsAreNotPrinted(t *testing.T) {
	orttest.Library(t)
	c := exec.Command(os.Args[0], "-test.run=^(TestBadModels|TestRunRefuses)$")
	var printed bytes.Buffer
	c.Stderr = &printed
	out, err := c.Output()
	require.NoError(t, err, "%s", out)
	require.Empty(t, printed.String())
}
