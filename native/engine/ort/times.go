package ort

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
)

// leastRuns is how often each of two models runs at least when they are timed.
const leastRuns = 5

// Times returns the median milliseconds of two models with the same inputs, which run in turns on the same
// random inputs for about so long. Free lengths are 1. Each model runs once before, without counting.
func (e *Engine) Times(ctx context.Context, a, b *onnxio.Model, long time.Duration) (first, second float64, err error) {
	var sessions [2]*Session
	for i, m := range []*onnxio.Model{a, b} {
		if sessions[i], err = e.open(m); err != nil {
			return 0, 0, refused(err)
		}
		defer sessions[i].Close()
	}
	feeds, err := drawn(sessions[0].Inputs)
	if err != nil {
		return 0, 0, err
	}
	var took [2][]float64
	for end := time.Now().Add(long); len(took[0]) <= leastRuns || time.Now().Before(end); {
		for i, s := range sessions {
			start := time.Now()
			if _, err := s.Run(ctx, feeds); err != nil {
				return 0, 0, refused(err)
			}
			took[i] = append(took[i], float64(time.Since(start))/float64(time.Millisecond))
		}
	}
	return median(took[0][1:]), median(took[1][1:]), nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// drawn are values for inputs: normal numbers for real inputs, zeros and ones for others.
func drawn(inputs []Info) (map[string]Tensor, error) {
	r, feeds := rand.New(rand.NewPCG(1, 1)), map[string]Tensor{}
	for _, in := range inputs {
		a, n := engine.Array{Type: in.Type}, 1
		for _, d := range in.Dims {
			size := max(int(d), 1)
			a.Dims, n = append(a.Dims, size), n*size
		}
		if in.Type.IsFloat() {
			a.Floats = make([]float32, n)
			for i := range a.Floats {
				a.Floats[i] = float32(r.NormFloat64())
			}
		} else {
			a.Ints = make([]int64, n)
			for i := range a.Ints {
				a.Ints[i] = r.Int64N(2)
			}
		}
		t, err := tensorOf(in, a)
		if err != nil {
			return nil, err
		}
		feeds[in.Name] = t
	}
	return feeds, nil
}
