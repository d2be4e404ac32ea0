package data

import (
	"archive/zip"
	"fmt"
	"strings"
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
	f, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	return ArraysOf(path, &f.Reader)
}

// ArraysOf reads every array of an archive by its name; path is for errors.
func ArraysOf(path string, f *zip.Reader) (map[string]Array, error) {
	out, total := map[string]Array{}, int64(0)
	for _, file := range f.File {
		name := strings.TrimSuffix(file.Name, ".npy")
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("%s: %s is there twice", path, name)
		}
		size, err := unpacked(file)
		if total += size; err == nil && total > maxArrays {
			err = fmt.Errorf("the arrays have more than %d bytes together", int64(maxArrays))
		}
		if err == nil {
			out[name], err = readNPY(file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	return out, nil
}

func converted[From uint8, To int64](v []From) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out
}
