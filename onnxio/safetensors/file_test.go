package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// safetensors is a file with a header and a buffer of so many bytes.
func safetensors(header string, buffer int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, buffer)...)
}

func TestSafetensorsHeaders(t *testing.T) {
	entry := func(name, dtype, shape string, from, to int) string {
		return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, from, to)
	}
	two := func(x, y string) string { return "{" + x + "," + y + "}" }
	a, b := entry("a", "F32", "[2]", 0, 8), entry("b", "I32", "[1]", 8, 12)
	for _, c := range []struct {
		name, header string
		buffer       int
		want         string
	}{
		{"in order", two(a, b), 12, ""},
		{"in another order", two(b, a), 12, ""},
		{"padded", two(a, b) + "      ", 12, ""},
		{"nothing", "{}", 0, ""},
		{"metadata", `{"__metadata__":{"x":"y"},` + a + "}", 8, ""},
		{"empty tensors", two(entry("a", "F32", "[0,3]", 0, 0), entry("b", "F32", "[0]", 0, 0)), 0, ""},
		{"an empty one between", "{" + a + "," + entry("e", "F64", "[0]", 8, 8) + "," + b + "}", 12, ""},
		{"a scalar", "{" + entry("a", "F64", "[]", 0, 8) + "}", 8, ""},
		{"the same bytes twice", two(a, entry("b", "F32", "[2]", 0, 8)), 8, `tensor "b" starts at byte 0, tensor "a" ends at byte 8`},
		{"overlap", two(a, entry("b", "I32", "[1]", 4, 8)), 8, "this is an overlap"},
		{"gap", two(a, entry("b", "I32", "[1]", 12, 16)), 16, "this is a gap"},
		{"gap at the start", "{" + entry("b", "I32", "[1]", 4, 8) + "}", 8, `tensor "b" starts at byte 4, the start of the buffer ends at byte 0`},
		{"bytes that are no one's", "{" + a + "}", 9, "cover 8 of the 9 bytes"},
		{"a buffer without tensors", "{}", 1, "cover 0 of the 1 bytes"},
		{"an empty one inside another", two(a, entry("e", "F32", "[0]", 4, 4)), 8, "this is an overlap"},
		{"a name twice", two(a, entry("a", "I32", "[1]", 8, 12)), 12, `"a" is there twice`},
		{"metadata twice", `{"__metadata__":{},"__metadata__":{}}`, 0, `"__metadata__" is there twice`},
		{"a key of metadata twice", `{"__metadata__":{"x":"y","x":"z"}}`, 0, `"x" is there twice`},
		{"metadata of numbers", `{"__metadata__":{"x":1}}`, 0, "cannot unmarshal number"},
		{"metadata null", `{"__metadata__":null}`, 0, "want an object"},
		{"a field twice", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"dtype":"F64"}}`, 0, `"dtype" is there twice`},
		{"an unknown field", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"order":"C"}}`, 0, `"order": want dtype, shape and data_offsets and nothing else`},
		{"a field in capitals", `{"a":{"DTYPE":"F32","shape":[0],"data_offsets":[0,0]}}`, 0, `"DTYPE"`},
		{"no shape", `{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4, "want a shape and two data_offsets"},
		{"shape null", `{"a":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}`, 4, "null"},
		{"one offset", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0]}}`, 0, "want a shape and two data_offsets"},
		{"three offsets", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0,9]}}`, 0, "want a shape and two data_offsets"},
		{"size of another shape", "{" + entry("a", "F32", "[3]", 0, 8) + "}", 8, "do not fit shape [3] of F32"},
		{"beyond the end", "{" + a + "}", 4, "do not fit"},
		{"backwards", "{" + entry("a", "F32", "[0]", 8, 0) + "}", 8, "do not fit"},
		{"a negative size", "{" + entry("a", "F32", "[-1,-2]", 0, 8) + "}", 8, "shape [-1 -2]"},
		{"a product that overflows", "{" + entry("a", "F32", "[4294967296,4294967296]", 0, 0) + "}", 0, "shape [4294967296 4294967296]"},
		{"unknown type", "{" + entry("a", "BF16", "[4]", 0, 8) + "}", 8, `element type "BF16" is not supported`},
		{"many dimensions", "{" + entry("a", "F32", "["+strings.Repeat("1,", 256)+"1]", 0, 4) + "}", 4, "257 dimensions"},
		{"a space in front", " {}", 0, "want an object that starts with {"},
		{"a list", "[]", 0, "want an object"},
		{"no header", "", 0, "want an object"},
		{"more behind it", "{}{}", 0, "2 bytes after the JSON object"},
		{"cut off", `{"a":`, 0, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(safetensors(c.header, c.buffer))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			var f *FormatError
			require.ErrorAs(t, err, &f)
		})
	}
	_, err := Parse(safetensors("{}", 0)[:7])
	require.ErrorContains(t, err, "shorter than 8 bytes")
	long := safetensors("{}", 0)
	long[0] = 3
	_, err = Parse(long)
	require.ErrorContains(t, err, "a header of 3 bytes in a file of 10 bytes; want at most 2")
}

// What is written is read again, whatever the sizes.
func TestSafetensorsRoundTrip(t *testing.T) {
	f := &File{Metadata: map[string]string{"a": "b"}, Tensors: map[string]*Tensor{"x": FloatTensor([]float32{1, 2}, 2), "y": IntTensor(nil, 0), "z": FloatTensor([]float32{3})}}
	got, err := Parse(f.Bytes())
	require.NoError(t, err)
	require.Equal(t, f.Metadata, got.Metadata)
	require.Len(t, got.Tensors, 3)
	require.Equal(t, f.Tensors["x"], got.Tensors["x"])
	require.Equal(t, 1, got.Tensors["z"].Len())
}

// Headers of the worst kinds take a small multiple of their size.
func TestSafetensorsMemory(t *testing.T) {
	many := func(n int, entry func(i int) string) []byte {
		var b bytes.Buffer
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(entry(i))
		}
		return safetensors("{"+b.String()+"}", 1<<18)
	}
	for name, data := range map[string][]byte{
		"the same bytes": many(2000, func(i int) string {
			return fmt.Sprintf(`"%d":{"dtype":"F32","shape":[65536],"data_offsets":[0,262144]}`, i)
		}),
		"empty tensors": many(10000, func(i int) string { return fmt.Sprintf(`"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i) }),
		"a long shape":  safetensors(`{"a":{"dtype":"F32","shape":[`+strings.Repeat("1,", 1<<18)+`1],"data_offsets":[0,4]}}`, 4),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := Parse(data)
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			require.Nil(t, f)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(50*len(data)), "bytes that were allocated, all together, for a file of %d", len(data))
		})
	}
}
