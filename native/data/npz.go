package data

import (
	"fmt"
	"maps"
	"slices"
)

// openNPZ reads images x_train, x_test (or x, images) [N, C, H, W] or [N, H, W] and labels y_train, y_test (or y, labels). Bytes are pixels; floats are taken as they are.
func openNPZ(path string) (*Splits, error) {
	arrays, err := Arrays(path)
	if err != nil {
		return nil, err
	}
	s := &Splits{}
	for _, pair := range [][2]string{{"x_train", "y_train"}, {"x", "y"}, {"images", "labels"}, {"x_test", "y_test"}} {
		images, ok := arrays[pair[0]]
		if !ok {
			continue
		}
		set, err := npzSet(path, images)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, pair[0], err)
		}
		if labels, ok := arrays[pair[1]]; ok {
			if err := set.label(labels); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, pair[1], err)
			}
		}
		if pair[0] == "x_test" {
			s.Test = set
		} else if s.Train == nil {
			s.Train = set
		}
	}
	if s.Train == nil && s.Test == nil {
		return nil, fmt.Errorf("%s: want an array x, images, x_train or x_test, got %v", path, slices.Sorted(maps.Keys(arrays)))
	}
	return s, nil
}

func npzSet(path string, a Array) (*Set, error) {
	s := &Set{Name: path}
	switch d := a.Dims; len(d) {
	case 3:
		s.N, s.C, s.H, s.W = d[0], 1, d[1], d[2]
	case 4:
		s.N, s.C, s.H, s.W = d[0], d[1], d[2], d[3]
	default:
		return nil, fmt.Errorf("shape %v, want [N, C, H, W] or [N, H, W]", d)
	}
	size := s.Size()
	switch {
	case a.Ints != nil:
		return nil, fmt.Errorf("images of integers; want uint8, float32 or float64")
	case a.Bytes != nil:
		s.fill = func(i int, dst []float32) error { return bytesTo(dst, a.Bytes[i*size:(i+1)*size]) }
	default:
		s.fill = func(i int, dst []float32) error { copy(dst, a.Floats[i*size:(i+1)*size]); return nil }
	}
	return s, nil
}

// label sets the labels; classes are counted from them.
func (s *Set) label(a Array) error {
	v := a.Ints
	if a.Bytes != nil {
		v = converted[uint8, int64](a.Bytes)
	}
	if a.Floats != nil {
		return fmt.Errorf("labels of floats; want int64, int32 or uint8")
	}
	if len(v) != s.N {
		return fmt.Errorf("%d labels for %d images", len(v), s.N)
	}
	top := int64(0)
	for _, x := range v {
		if x < 0 || x > 1<<20 {
			return fmt.Errorf("label %d", x)
		}
		s.Labels = append(s.Labels, int32(x))
		top = max(top, x)
	}
	s.Classes = numbered(int(top) + 1)
	return nil
}
