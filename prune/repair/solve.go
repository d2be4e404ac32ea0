package repair

import "math/rand/v2"

// MaxInputs is the largest number of inputs of an output for which least squares are taken; the normal equations are a matrix of that size.
const MaxInputs = 4608

// MaxRows bounds the positions that a system is made of; more change little.
const MaxRows = 20000

// wanted is how many rows a system takes, where there are as many.
func (o *Options) wanted(inputs int) int { return min(o.MaxRows, max(8*inputs, 4096)) }

// positions chooses rows of a layer: all of them, or as many as a system takes, by seed.
func (o *Options) positions(total, inputs int) []int {
	want := min(total, o.wanted(inputs))
	if total <= want {
		all := make([]int, total)
		for i := range all {
			all[i] = i
		}
		return all
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x501e))
	out := make([]int, want)
	for i := range out { // one of each stretch, so that all samples are met
		from, to := i*total/want, (i+1)*total/want
		out[i] = from + r.IntN(max(to-from, 1))
	}
	return out
}
