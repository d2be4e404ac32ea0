package data

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Set is labelled or unlabelled images of one size. It is read from any number of goroutines.
type Set struct {
	Name    string
	N       int
	C, H, W int
	Labels  []int32  // nil where there are none
	Classes []string // names, or numbers as text
	Mean    []float64
	Std     []float64 // inputs are (value - Mean) / Std, by channel; value is pixel/255

	fill func(i int, dst []float32) error // writes image i as [C, H, W], values 0 to 1 (or as they are in an NPZ file of floats)
}

// Size is the number of values of one image.
func (s *Set) Size() int { return s.C * s.H * s.W }

// Normalise sets mean and standard deviation; one number stands for all channels.
func (s *Set) Normalise(mean, std []float64) error {
	for _, v := range [][]float64{mean, std} {
		if len(v) != 1 && len(v) != s.C {
			return fmt.Errorf("%d numbers for a mean or deviation of %d channels", len(v), s.C)
		}
	}
	for _, v := range std {
		if v == 0 {
			return fmt.Errorf("a standard deviation of 0")
		}
	}
	s.Mean, s.Std = spread(mean, s.C), spread(std, s.C)
	return nil
}

func spread(v []float64, n int) []float64 {
	if len(v) == n {
		return v
	}
	return slices.Repeat(v, n)
}

// Image writes image i, normalised, to dst of Size values.
func (s *Set) Image(i int, dst []float32) error {
	if err := s.fill(i, dst); err != nil {
		return err
	}
	s.normalise(dst)
	return nil
}

func (s *Set) normalise(dst []float32) {
	if s.Mean == nil {
		return
	}
	area := s.H * s.W
	for c := range s.C {
		m, d := float32(s.Mean[c]), float32(1/s.Std[c])
		for i := c * area; i < (c+1)*area; i++ {
			dst[i] = (dst[i] - m) * d
		}
	}
}

// Subset is the set with only the given images.
func (s *Set) Subset(indices []int) *Set {
	sub := *s
	sub.N = len(indices)
	if s.Labels != nil {
		sub.Labels = make([]int32, len(indices))
		for i, k := range indices {
			sub.Labels[i] = s.Labels[k]
		}
	}
	sub.fill = func(i int, dst []float32) error { return s.fill(indices[i], dst) }
	return &sub
}

// First is the set's first n images.
func (s *Set) First(n int) *Set {
	indices := make([]int, min(n, s.N))
	for i := range indices {
		indices[i] = i
	}
	return s.Subset(indices)
}

// Shuffled is a random choice of n images by seed.
func (s *Set) Shuffled(n int, seed uint64) *Set {
	return s.Subset(rand.New(rand.NewPCG(seed, 0x5e7)).Perm(s.N)[:min(n, s.N)])
}

// Split takes share of the images, by seed, as the second set.
func (s *Set) Split(share float64, seed uint64) (rest, taken *Set) {
	p := rand.New(rand.NewPCG(seed, 0x5917)).Perm(s.N)
	n := int(share * float64(s.N))
	return s.Subset(p[n:]), s.Subset(p[:n])
}

// Splits are the two parts in which data sets come; either may be nil.
type Splits struct {
	Train, Test *Set
}
