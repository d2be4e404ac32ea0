package data

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sbinet/npyio/npz"
)

// Array is an array of an NPZ file: Floats, Ints or, for uint8, Bytes.
type Array struct {
	Dims   []int
	Floats []float32
	Ints   []int64
	Bytes  []uint8
}

// Arrays reads every array of an NPZ file by its name.
func Arrays(path string) (map[string]Array, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	out := map[string]Array{}
	for _, key := range f.Keys() {
		a, err := readArray(f, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, key, err)
		}
		out[strings.TrimSuffix(key, ".npy")] = a
	}
	return out, nil
}

func readArray(f *npz.Reader, key string) (Array, error) {
	h := f.Header(key)
	a := Array{Dims: h.Descr.Shape}
	if h.Descr.Fortran {
		return a, errors.New("stored in Fortran order; save it in C order")
	}
	var err error
	switch strings.TrimLeft(h.Descr.Type, "<|=") {
	case "f4":
		err = f.Read(key, &a.Floats)
	case "f8":
		var v []float64
		err = f.Read(key, &v)
		a.Floats = converted[float64, float32](v)
	case "i8":
		err = f.Read(key, &a.Ints)
	case "i4":
		var v []int32
		err = f.Read(key, &v)
		a.Ints = converted[int32, int64](v)
	case "u1":
		err = f.Read(key, &a.Bytes)
	default:
		err = fmt.Errorf("element type %s, want float32, float64, int64, int32 or uint8", h.Descr.Type)
	}
	return a, err
}

func converted[From float64 | int32 | uint8, To float32 | int64](v []From) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out
}
