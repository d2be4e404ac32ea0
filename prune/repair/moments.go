package repair

import "math"

// moments are mean and variance per channel.
type moments struct{ mean, variance []float64 }

func momentsOf(a Array, channel int) moments {
	before, c, after := a.Blocks(channel)
	m := moments{make([]float64, c), make([]float64, c)}
	n := float64(before * after)
	for k := range c {
		sum, square := 0.0, 0.0
		for b := range before {
			for _, v := range a.Floats[(b*c+k)*after : (b*c+k+1)*after] {
				sum += float64(v)
			}
		}
		mean := sum / n
		for b := range before {
			for _, v := range a.Floats[(b*c+k)*after : (b*c+k+1)*after] {
				d := float64(v) - mean
				square += d * d
			}
		}
		m.mean[k], m.variance[k] = mean, square/n
	}
	return m
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
	for b := range before {
		for k := range c {
			row := a.Floats[(b*c+k)*after : (b*c+k+1)*after]
			for i := range row {
				row[i] = float32(f.scale[k]*float64(row[i]) + f.shift[k])
			}
		}
	}
}
