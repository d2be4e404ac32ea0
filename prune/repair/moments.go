package repair

import "math"

// moments are mean and variance per channel.
type moments struct{ mean, variance []float64 }

// moments are those of a value's channels over all chunks.
func (s *store) moments(name string, channel int) (moments, error) {
	var sums []channelSums
	err := s.each(func(_ int, v []Array) error {
		a := v[0]
		_, c, _ := a.Blocks(channel)
		if sums == nil {
			sums = make([]channelSums, c)
		}
		parallel(c, func(from, to int) {
			for k := from; k < to; k++ {
				sums[k].add(a, channel, k)
			}
		})
		return nil
	}, name)
	m := moments{make([]float64, len(sums)), make([]float64, len(sums))}
	for k, s := range sums {
		m.mean[k], m.variance[k] = s.moments()
	}
	return m, err
}

// channelSums are a channel's sums around about its mean.
type channelSums struct{ n, centre, sum, square float64 }

// add takes a channel of a value in. The first value says what the centre is.
func (s *channelSums) add(a Array, channel, k int) {
	before, c, after := a.Blocks(channel)
	if s.n == 0 {
		for b := range before {
			for _, v := range a.Floats[(b*c+k)*after : (b*c+k+1)*after] {
				s.centre += float64(v)
			}
		}
		s.centre /= float64(max(before*after, 1))
	}
	for b := range before {
		for _, v := range a.Floats[(b*c+k)*after : (b*c+k+1)*after] {
			d := float64(v) - s.centre
			s.sum += d
			s.square += d * d
		}
	}
	s.n += float64(before * after)
}

func (s *channelSums) moments() (mean, variance float64) {
	d := s.sum / s.n
	return s.centre + d, math.Max(s.square/s.n-d*d, 0)
}

// tiny bounds variances from below; a channel that is constant has no scale to match.
const tiny = 1e-12

// matchNorm sets running statistics so that the normalised channels have the original's moments: what left the channel's distribution is taken out again.
// With x the pruned and y the original input on the same samples, (x - m')/s' has the moments of (y - m)/s where s' = s*sd(x)/sd(y), m' = mean(x) - (mean(y) - m)*sd(x)/sd(y).
func matchNorm(mean, variance []float32, eps float64, x, y moments, kept []int) {
	for i, k := range kept {
		ratio := 1.0
		if x.variance[i] > tiny && y.variance[k] > tiny {
			ratio = math.Sqrt(x.variance[i] / y.variance[k])
		}
		v := (float64(variance[i])+eps)*ratio*ratio - eps
		mean[i] = float32(x.mean[i] - (y.mean[k]-float64(mean[i]))*ratio)
		variance[i] = float32(math.Max(v, tiny))
	}
}

// affine is a correction per channel: y = scale*x + shift.
type affine struct{ scale, shift []float64 }

// matchAffine maps the pruned channels' moments to the original's.
func matchAffine(x, y moments, kept []int, limit float64) affine {
	a := affine{make([]float64, len(kept)), make([]float64, len(kept))}
	for i, k := range kept {
		a.scale[i] = 1
		if x.variance[i] > tiny && y.variance[k] > tiny {
			a.scale[i] = min(max(math.Sqrt(y.variance[k]/x.variance[i]), 1/limit), limit)
		}
		a.shift[i] = y.mean[k] - a.scale[i]*x.mean[i]
	}
	return a
}

// apply corrects a value in place.
func (f affine) apply(a Array, channel int) {
	before, c, after := a.Blocks(channel)
	parallel(before, func(from, to int) {
		f.applyTo(a.Floats, from, to, c, after)
	})
}

func (f affine) applyTo(v []float32, from, to, c, after int) {
	for b := from; b < to; b++ {
		for k := range c {
			row := v[(b*c+k)*after : (b*c+k+1)*after]
			for i := range row {
				row[i] = float32(f.scale[k]*float64(row[i]) + f.shift[k])
			}
		}
	}
}
