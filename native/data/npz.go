package data

import (
	"fmt"

	"github.com/sbinet/npyio/npz"
)

// openNPZ reads images x_train, x_test (or x, images) [N, C, H, W] or [N, H, W] and labels y_train, y_test (or y, labels). Bytes are pixels; floats are taken as they are.
func openNPZ(path string) (*Splits, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	have := map[string]string{}
	for _, k := range f.Keys() {
		name := k
		if len(k) > 4 && k[len(k)-4:] == ".npy" {
			name = k[:len(k)-4]
		}
		have[name] = k
	}
	s := &Splits{}
	for _, pair := range [][2]string{{"x_train", "y_train"}, {"x", "y"}, {"images", "labels"}, {"x_test", "y_test"}} {
		key, ok := have[pair[0]]
		if !ok {
			continue
		}
		set, err := npzSet(f, path, key, have[pair[1]])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if pair[0] == "x_test" {
			s.Test = set
		} else if s.Train == nil {
			s.Train = set
		}
	}
	if s.Train == nil && s.Test == nil {
		return nil, fmt.Errorf("%s: want an array x, images, x_train or x_test, got %v", path, f.Keys())
	}
	return s, nil
}

func npzSet(f *npz.Reader, path, images, labels string) (*Set, error) {
	h := f.Header(images)
	d := h.Descr.Shape
	if h.Descr.Fortran {
		return nil, fmt.Errorf("%s: Fortran order", images)
	}
	s := &Set{Name: path}
	switch len(d) {
	case 3:
		s.N, s.C, s.H, s.W = d[0], 1, d[1], d[2]
	case 4:
		s.N, s.C, s.H, s.W = d[0], d[1], d[2], d[3]
	default:
		return nil, fmt.Errorf("%s: shape %v, want [N, C, H, W] or [N, H, W]", images, d)
	}
	size := s.Size()
	switch h.Descr.Type {
	case "|u1", "u1":
		var px []uint8
		if err := f.Read(images, &px); err != nil {
			return nil, fmt.Errorf("%s: %w", images, err)
		}
		s.fill = func(i int, dst []float32) error { return bytesTo(dst, px[i*size:(i+1)*size]) }
	case "<f4":
		var v []float32
		if err := f.Read(images, &v); err != nil {
			return nil, fmt.Errorf("%s: %w", images, err)
		}
		s.fill = func(i int, dst []float32) error { copy(dst, v[i*size:(i+1)*size]); return nil }
	case "<f8":
		var v []float64
		if err := f.Read(images, &v); err != nil {
			return nil, fmt.Errorf("%s: %w", images, err)
		}
		s.fill = func(i int, dst []float32) error {
			for k, x := range v[i*size : (i+1)*size] {
				dst[k] = float32(x)
			}
			return nil
		}
	default:
		return nil, fmt.Errorf("%s: element type %s, want uint8, float32 or float64", images, h.Descr.Type)
	}
	if labels == "" {
		return s, nil
	}
	return s, s.npzLabels(f, labels)
}

func (s *Set) npzLabels(f *npz.Reader, key string) error {
	h := f.Header(key)
	var v []int64
	switch h.Descr.Type {
	case "<i8":
		if err := f.Read(key, &v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	case "<i4":
		var w []int32
		if err := f.Read(key, &w); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		for _, x := range w {
			v = append(v, int64(x))
		}
	case "|u1", "u1":
		var w []uint8
		if err := f.Read(key, &w); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		for _, x := range w {
			v = append(v, int64(x))
		}
	default:
		return fmt.Errorf("%s: labels of type %s, want int64, int32 or uint8", key, h.Descr.Type)
	}
	if len(v) != s.N {
		return fmt.Errorf("%s: %d labels for %d images", key, len(v), s.N)
	}
	top := int64(0)
	for _, x := range v {
		if x < 0 || x > 1<<20 {
			return fmt.Errorf("%s: label %d", key, x)
		}
		s.Labels = append(s.Labels, int32(x))
		top = max(top, x)
	}
	s.Classes = numbered(int(top) + 1)
	return nil
}
