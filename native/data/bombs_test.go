package data

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// allocated returns the bytes that are allocated while do runs, all together.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// npyFile is an NPY file of version 1 with a header as it stands.
func npyFile(header string, body int) []byte {
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
	return append(append(b, header...), make([]byte, body)...)
}

// archive writes files, by name, into a ZIP archive; names of equal files may be there twice.
func archive(t *testing.T, path string, files ...any) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i].(string))
		require.NoError(t, err)
		_, err = w.Write(files[i+1].([]byte))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
}

// Arrays that say that they are larger than their file can be are refused before memory is taken for them, and headers that are none end in an error.
func TestArraysThatLie(t *testing.T) {
	header := func(kind, order, shape string) string {
		return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", kind, order, shape)
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	for _, c := range []struct {
		name, want string
		files      []any
	}{
		{"good", "", []any{"x.npy", npyFile(header("<f4", "False", "(2, 3)"), 24)}},
		{"a number", "", []any{"x.npy", npyFile(header("<i8", "False", "()"), 8)}},
		{"no elements", "", []any{"x.npy", npyFile(header("|u1", "False", "(0, 5)"), 0)}},
		{"no spaces", "", []any{"x.npy", npyFile("{'descr':'<f4','fortran_order':False,'shape':(1,),}", 4)}},
		{"a huge shape", "does not fit its 4 bytes", []any{"x.npy", npyFile(header("<f4", "False", "(1099511627776,)"), 4)}},
		{"a product that overflows", "does not fit its 4 bytes", []any{"x.npy", npyFile(header("<f4", "False", "(4294967296, 4294967296, 4294967296)"), 4)}},
		{"half of it", "does not fit its 12 bytes", []any{"x.npy", npyFile(header("<f4", "False", "(2, 3)"), 12)}},
		{"more than it", "does not fit its 25 bytes", []any{"x.npy", npyFile(header("<f4", "False", "(2, 3)"), 25)}},
		{"a negative size", "shape (-1,", []any{"x.npy", npyFile(header("<f4", "False", "(-1,)"), 4)}},
		{"Fortran order", "save it in C order", []any{"x.npy", npyFile(header("<f4", "True", "(1,)"), 4)}},
		{"big-endian", "element type >f4", []any{"x.npy", npyFile(header(">f4", "False", "(1,)"), 4)}},
		{"objects", "element type O", []any{"x.npy", npyFile(header("|O", "False", "(1,)"), 4)}},
		{"no keys", "want descr, fortran_order and shape", []any{"x.npy", npyFile("{}\n", 4)}},
		{"keys in another order", "", []any{"x.npy", npyFile("{'shape': (1,), 'fortran_order': False, 'descr': '<f4', }\n", 4)}},
		{"an empty header", "want descr", []any{"x.npy", npyFile("", 4)}},
		{"no array", "not a NumPy array", []any{"x.npy", []byte("hello")}},
		{"nothing", "not a NumPy array", []any{"x.npy", []byte{}}},
		{"a header of 4 GiB", "header of 4294967295 bytes, want at most 65536", []any{"x.npy", []byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{}")}},
		{"version 9", "NumPy format version 9", []any{"x.npy", []byte("\x93NUMPY\x09\x00\x00\x00{}")}},
		{"a name twice", "x is there twice", []any{"x.npy", npyFile(header("<f4", "False", "(1,)"), 4), "x", npyFile(header("<f4", "False", "(1,)"), 4)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			archive(t, path, c.files...)
			var err error
			took := allocated(func() { _, err = Arrays(path) })
			require.Less(t, took, uint64(1<<20))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "a.npz")
		})
	}
}

// An archive that says of a file that it unpacks to what it cannot is refused.
func TestArchiveThatLies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	archive(t, path, "x.npy", npyFile("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000,), }", 100))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(raw, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(raw[at+24:], 1_000_000_000+76) // the unpacked size in the directory
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	took := allocated(func() { _, err = Arrays(path) })
	require.ErrorContains(t, err, "this is impossible")
	require.Less(t, took, uint64(1<<20))
}

// No more of a gzipped IDX file is unpacked than its dimensions say.
func TestPackedIDXFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gz")
	idx := func(n uint32, body int) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		head := binary.BigEndian.AppendUint32([]byte{0, 0, 8, 3}, n)
		head = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(head, 2), 2)
		_, err := z.Write(append(head, make([]byte, body)...))
		require.NoError(t, err)
		require.NoError(t, z.Close())
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	}
	idx(3, 12)
	_, dims, err := readIDX(path, 3)
	require.NoError(t, err)
	require.Equal(t, []int{3, 2, 2}, dims)
	idx(3, 64<<20)
	took := allocated(func() { _, _, err = readIDX(path, 3) })
	require.ErrorContains(t, err, "more data than the 12 bytes")
	require.Less(t, took, uint64(1<<20))
	idx(1<<24, 12)
	took = allocated(func() { _, _, err = readIDX(path, 3) })
	require.ErrorContains(t, err, "12 bytes of data, dimensions [16777216 2 2] want 67108864")
	require.Less(t, took, uint64(1<<20))
	idx(1<<31, 0)
	_, _, err = readIDX(path, 3)
	require.ErrorContains(t, err, "are too large")
}

// A picture's size is looked at before it is decoded.
func TestPicturesThatAreTooLarge(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4))))
	raw := b.Bytes()
	binary.BigEndian.PutUint32(raw[16:], 100_000)
	binary.BigEndian.PutUint32(raw[20:], 100_000)
	binary.BigEndian.PutUint32(raw[29:], crc32.ChecksumIEEE(raw[12:29]))
	path := filepath.Join(t.TempDir(), "x.png")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	var err error
	took := allocated(func() { err = readPicture(path, Geometry{C: 1, H: 2, W: 2}, make([]float32, 4)) })
	require.ErrorContains(t, err, "100000 x 100000 pixels, want at most")
	require.Less(t, took, uint64(1<<20))
	require.True(t, strings.HasPrefix(err.Error(), path))
}

// A folder's name is no pattern: brackets in it are themselves.
func TestFoldersWithBrackets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cifar[1]")
	require.NoError(t, os.Mkdir(dir, 0o755))
	record := make([]byte, 1+3*32*32)
	for _, name := range []string{"data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), record, 0o600))
	}
	s, err := openCIFAR(dir)
	require.NoError(t, err)
	require.Equal(t, 2, s.Train.N)
	require.Equal(t, 1, s.Test.N)
}
