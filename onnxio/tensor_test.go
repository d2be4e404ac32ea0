package onnxio_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// naiveSlice is the plain definition of a cut.
func naiveSlice(src []byte, width int, dims []int64, keep [][]int) []byte {
	var out []byte
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(dims) {
			out = append(out, src[at*width:(at+1)*width]...)
			return
		}
		for i := range int(dims[axis]) {
			kept := keep[axis] == nil
			for _, k := range keep[axis] {
				kept = kept || k == i
			}
			if kept {
				walk(axis+1, at*int(dims[axis])+i)
			}
		}
	}
	walk(0, 0)
	return out
}

func TestSliceEqualsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		rank, width := r.IntN(5), []int{1, 2, 4, 8}[r.IntN(4)]
		dims, keep, n := make([]int64, rank), make([][]int, rank), 1
		for k := range dims {
			dims[k] = int64(1 + r.IntN(6))
			n *= int(dims[k])
			if r.IntN(2) == 0 {
				keep[k] = []int{}
				for i := range int(dims[k]) {
					if r.IntN(3) > 0 {
						keep[k] = append(keep[k], i)
					}
				}
			}
		}
		src := make([]byte, n*width)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		s, err := onnxio.NewSlice(src, width, dims, keep)
		require.NoError(t, err)
		var b bytes.Buffer
		_, err = s.WriteTo(&b)
		require.NoError(t, err)
		want := naiveSlice(src, width, dims, keep)
		require.EqualValues(t, len(want), s.Size(), "%v %v", dims, keep)
		require.True(t, bytes.Equal(want, b.Bytes()), "%v %v", dims, keep)
	}
}

func TestStorageForms(t *testing.T) {
	varints := func(v ...int64) []byte {
		var b []byte
		for _, i := range v {
			b = protowire.AppendVarint(b, uint64(i))
		}
		return b
	}
	for name, c := range map[string]struct {
		t    onnxio.Tensor
		want []int64
	}{
		"int32 typed":  {onnxio.Tensor{DataType: onnxio.Int32, Dims: []int64{2}, Int32Data: varints(-1, 7)}, []int64{-1, 7}},
		"int8 typed":   {onnxio.Tensor{DataType: onnxio.Int8, Dims: []int64{2}, Int32Data: varints(-128, 7)}, []int64{-128, 7}},
		"uint8 raw":    {onnxio.Tensor{DataType: onnxio.Uint8, Dims: []int64{2}, RawData: []byte{255, 1}}, []int64{255, 1}},
		"int64 typed":  {onnxio.Tensor{DataType: onnxio.Int64, Dims: []int64{1, 2}, Int64Data: varints(-5, 1<<40)}, []int64{-5, 1 << 40}},
		"uint32 typed": {onnxio.Tensor{DataType: onnxio.Uint32, Dims: []int64{1}, Uint64Data: varints(1 << 31)}, []int64{1 << 31}},
		"bool":         {onnxio.Tensor{DataType: onnxio.Bool, Dims: []int64{2}, Int32Data: varints(0, 1)}, []int64{0, 1}},
	} {
		got, err := c.t.Int64s()
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	half := onnxio.Tensor{DataType: onnxio.Float16, Dims: []int64{3}, Int32Data: varints(0x3c00, 0xc000, 0x0001)}
	f, err := half.Float64s()
	require.NoError(t, err)
	require.Equal(t, []float64{1, -2, math.Ldexp(1, -24)}, f)
	brain := onnxio.Tensor{DataType: onnxio.BFloat16, Dims: []int64{1}, RawData: []byte{0x80, 0x3f}}
	f, err = brain.Float64s()
	require.NoError(t, err)
	require.Equal(t, []float64{1}, f)
}

func TestHalfConversionsRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := onnxio.Float16To32(uint16(h))
		if f != f {
			continue
		}
		require.Equal(t, uint16(h), onnxio.Float32To16(f))
	}
}

func TestCutOfSubByteElements(t *testing.T) {
	x := onnxio.Tensor{Name: "w", DataType: 22, Dims: []int64{2, 3}, RawData: []byte{0x21, 0x43, 0x65}} // 1 2 3 / 4 5 6
	require.NoError(t, x.Cut([][]int{nil, {0, 2}}))
	b, err := x.Bytes()
	require.NoError(t, err)
	require.Equal(t, []byte{0x31, 0x64}, b) // 1 3 / 4 6
}

func TestTensorErrorsNameThePlace(t *testing.T) {
	for want, x := range map[string]onnxio.Tensor{
		`tensor "a": holds 3 bytes, but float32[1] takes 4`:           {Name: "a", DataType: onnxio.Float, Dims: []int64{1}, RawData: []byte{1, 2, 3}},
		`tensor "b": dims [-1]: negative dimension`:                   {Name: "b", DataType: onnxio.Float, Dims: []int64{-1}},
		`the number of elements overflows`:                            {Name: "c", DataType: onnxio.Float, Dims: []int64{1 << 40, 1 << 40}},
		`external data "w.bin": the model needs bytes 0 to 8`:         external(t, "w.bin", "0", "8"),
		`external data "../x"`:                                        external(t, "../x", "0", "4"),
		`offset "-1" is not a length`:                                 external(t, "w.bin", "-1", "4"),
		`unsupported: external data (w.bin): the model was read with`: {Name: "d", DataType: onnxio.Float, Dims: []int64{1}, DataLocation: 1, External: []*onnxio.KeyValue{{Key: "location", Value: "w.bin"}}},
	} {
		_, err := x.Bytes()
		require.ErrorContains(t, err, want)
	}
}

// external returns a tensor of two floats of a saved model whose external file holds only one.
func external(t *testing.T, location, offset, length string) onnxio.Tensor {
	t.Helper()
	dir := t.TempDir()
	x := &onnxio.Tensor{Name: "w", DataType: onnxio.Float, Dims: []int64{2}, DataLocation: 1,
		External: []*onnxio.KeyValue{{Key: "location", Value: location}, {Key: "offset", Value: offset}, {Key: "length", Value: length}}}
	m := &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "g", Initializers: []*onnxio.Tensor{x}}}
	path := filepath.Join(dir, "m.onnx")
	require.NoError(t, outfile.Write(path, m.Encode))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "w.bin"), make([]byte, 4), 0o600))
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return *f.Graph.Initializers[0]
}

func TestExternalDataBothWays(t *testing.T) {
	raw := make([]byte, 4096)
	for i := range raw {
		raw[i] = byte(i * 7)
	}
	small := onnxio.NewInt64s("small", []int64{3})
	m := &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}},
		Graph: &onnxio.Graph{Name: "g", Initializers: []*onnxio.Tensor{{Name: "w", DataType: onnxio.Float, Dims: []int64{1024}, RawData: raw}, small}}}
	path := filepath.Join(t.TempDir(), "m.onnx")
	require.NoError(t, m.SaveExternal(path, false))
	f, err := onnxio.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.True(t, f.HasExternal())
	b, err := f.Graph.Initializers[0].Bytes()
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw, b))
	require.False(t, f.Graph.Initializers[1].IsExternal())
}

func TestWriteFileLeavesTheTargetOnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.onnx")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	bad := &onnxio.Model{Graph: &onnxio.Graph{Initializers: []*onnxio.Tensor{{Name: "w", Lazy: broken{}}}}}
	require.Error(t, outfile.Write(path, bad.Encode))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// broken promises more than it writes.
type broken struct{}

func (broken) Size() int64 { return 100 }
func (broken) WriteTo(w io.Writer) (int64, error) {
	return 4, binary.Write(w, binary.LittleEndian, int32(1))
}
