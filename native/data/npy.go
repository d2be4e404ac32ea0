package data

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
)

// Bounds of an NPZ file: an array's header, the bytes that all arrays unpack to, and how much larger than what is packed DEFLATE's contents can be at most.
const (
	maxNPYHeader = 64 << 10
	maxArrays    = 8 << 30
	mostDeflated = 1032
)

// npyHeader is the header of an NPY file (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
type npyHeader struct {
	kind    string // "f4" and the like, little-endian
	fortran bool
	shape   []int
	size    int64 // of the header and what stands before it, in bytes
}

// elements multiplies the shape; false where the product is larger than an array may be.
func (h *npyHeader) elements() (int64, bool) {
	n := int64(1)
	for _, d := range h.shape {
		if d < 0 || d > 0 && n > maxArrays/int64(d) {
			return 0, false
		}
		n *= int64(d)
	}
	return n, true
}

// unpacked is how many bytes a file of an archive says that it unpacks to, where it can hold so many.
func unpacked(f *zip.File) (int64, error) {
	size, packed := f.UncompressedSize64, f.CompressedSize64
	if size > maxArrays || size > mostDeflated*(packed+1) {
		return 0, fmt.Errorf("%d bytes are declared to unpack to %d bytes: this is impossible, or more than the limit of %d bytes", packed, size, int64(maxArrays))
	}
	return int64(size), nil
}

// readNPY reads an array of an archive. Its shape is compared with the size of the file before anything is taken for it.
func readNPY(f *zip.File) (Array, error) {
	size, err := unpacked(f)
	if err != nil {
		return Array{}, err
	}
	body, err := f.Open()
	if err != nil {
		return Array{}, err
	}
	defer body.Close()
	return readArray(body, size)
}

// ReadNPY reads an NPY file.
func ReadNPY(path string) (Array, error) {
	f, err := os.Open(path)
	if err != nil {
		return Array{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Array{}, err
	}
	a, err := readArray(f, info.Size())
	if err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// widths are the bytes of one element, by its type.
var widths = map[string]int64{"f2": 2, "f4": 4, "f8": 8, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "u2": 2, "u4": 4, "u8": 8, "b1": 1}

// readArray reads an array whose file has so many bytes.
func readArray(body io.Reader, size int64) (Array, error) {
	r := bufio.NewReaderSize(body, 1<<16)
	h, err := readNPYHeader(r)
	if err != nil {
		return Array{}, err
	}
	if h.fortran {
		return Array{}, errors.New("stored in Fortran order; save it in C order")
	}
	width := widths[h.kind]
	if width == 0 {
		return Array{}, fmt.Errorf("element type %.100s, want floats, integers or booleans in little-endian order", h.kind)
	}
	n, ok := h.elements()
	if !ok || n*width != size-h.size {
		return Array{}, fmt.Errorf("shape %v of %s does not fit its %d bytes of data", h.shape, h.kind, size-h.size)
	}
	a := Array{Dims: h.shape}
	return a, a.take(r, h.kind, int(n))
}

// take reads n elements.
func (a *Array) take(r io.Reader, kind string, n int) error {
	if kind == "u1" {
		a.Bytes = make([]byte, n)
		_, err := io.ReadFull(r, a.Bytes)
		return err
	}
	width := int(widths[kind])
	if kind[0] == 'f' {
		a.Floats = make([]float32, n)
		return elements(r, width, n, func(i int, b []byte) { a.Floats[i] = floatOf(b, width) })
	}
	a.Ints = make([]int64, n)
	return elements(r, width, n, func(i int, b []byte) { a.Ints[i] = intOf(b, width, kind[0] == 'i') })
}

// floatOf is the float of so many bytes that data begins with.
func floatOf(data []byte, width int) float32 {
	switch width {
	case 2:
		return onnxio.Float16To32(binary.LittleEndian.Uint16(data))
	case 4:
		return math.Float32frombits(binary.LittleEndian.Uint32(data))
	}
	return float32(math.Float64frombits(binary.LittleEndian.Uint64(data)))
}

// intOf is the integer of so many bytes that data begins with.
func intOf(data []byte, width int, signed bool) int64 {
	v := uint64(0)
	for i := range width {
		v |= uint64(data[i]) << (8 * i)
	}
	if unused := 64 - 8*width; signed {
		return int64(v<<unused) >> unused
	}
	return int64(v)
}

// elements calls do with the bytes of each of n elements.
func elements(r io.Reader, width, n int, do func(i int, b []byte)) error {
	buffer := make([]byte, 1<<16)
	for i := 0; i < n; {
		part := buffer[:min(len(buffer), (n-i)*width)]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		for ; len(part) > 0; i, part = i+1, part[width:] {
			do(i, part)
		}
	}
	return nil
}

func readNPYHeader(r io.Reader) (*npyHeader, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != "\x93NUMPY" {
		return nil, errors.New("not a NumPy array")
	}
	length, size := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	switch start[6] {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
		length, size = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return nil, fmt.Errorf("NumPy format version %d, want 1 to 3", start[6])
	}
	if length > maxNPYHeader {
		return nil, fmt.Errorf("header of %d bytes, want at most %d", length, maxNPYHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	h := &npyHeader{size: size + length}
	return h, h.parse(string(text))
}

// parse reads a header such as {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
func (h *npyHeader) parse(text string) error {
	value := func(key, end string) (string, bool) {
		_, rest, ok := strings.Cut(text, "'"+key+"':")
		v, _, closed := strings.Cut(strings.TrimSpace(rest), end)
		return strings.TrimSpace(v), ok && closed
	}
	descr, okDescr := value("descr", ",")
	order, okOrder := value("fortran_order", ",")
	shape, okShape := value("shape", ")")
	if !okDescr || !okOrder || !okShape || order != "True" && order != "False" || !strings.HasPrefix(shape, "(") {
		return fmt.Errorf("header %.100q, want descr, fortran_order and shape", text)
	}
	h.kind, h.fortran = strings.TrimLeft(strings.Trim(descr, "'"), "<|="), order == "True"
	h.shape = []int{}
	for part := range strings.SplitSeq(shape[1:], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		d, err := strconv.Atoi(part)
		if err != nil || d < 0 {
			return fmt.Errorf("shape (%.100s)", shape[1:])
		}
		h.shape = append(h.shape, d)
	}
	return nil
}
