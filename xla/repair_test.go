package xla

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/metaprune/metaprune/prune/session"
	"github.com/stretchr/testify/require"
)

func accuracyOf(t *testing.T, b *Backend, m *onnxio.Model, x Array, labels []int32) float64 {
	p, err := Load(m)
	require.NoError(t, err)
	r, err := NewRunner(b, p)
	require.NoError(t, err)
	out, err := r.Run(x)
	require.NoError(t, err)
	n, c := 0, len(out[0].Floats)/len(labels)
	for i, l := range labels {
		best := 0
		for k, v := range out[0].Floats[i*c : (i+1)*c] {
			if v > out[0].Floats[i*c+best] {
				best = k
			}
		}
		if best == int(l) {
			n++
		}
	}
	return float64(n) / float64(len(labels))
}

func TestRepairTry(t *testing.T) {
	if os.Getenv("TRY") == "" {
		t.Skip()
	}
	b := backendUnderTest(t)
	f, err := onnxio.Open("../testdata/fashion-resnet20.onnx")
	require.NoError(t, err)
	s, err := session.FromModel(f.Model, f.Data)
	require.NoError(t, err)
	sp, err := data.Open("fashion-mnist", data.Geometry{})
	require.NoError(t, err)
	n := 100
	if v := os.Getenv("N"); v != "" {
		n, _ = strconv.Atoi(v)
	}
	take := func(s *data.Set) (Array, []int32) {
		idx := make([]int, s.N)
		for i := range idx {
			idx[i] = i
		}
		bt, err := s.Take(idx)
		require.NoError(t, err)
		return Array{Dims: bt.Dims, Floats: bt.X, Type: 1}, bt.Labels
	}
	x, labels := take(sp.Test.First(2000))
	sample := sp.Train.Shuffled(n, 1)
	held, _ := take(sample.First(n / 5))
	rest := make([]int, 0, n)
	for i := n / 5; i < n; i++ {
		rest = append(rest, i)
	}
	fit, _ := take(sample.Subset(rest))
	ridge, _ := strconv.ParseFloat(os.Getenv("RIDGE"), 64)
	arr := func(a Array) map[string]repair.Array {
		return map[string]repair.Array{"image": {Dims: a.Dims, Floats: a.Floats}}
	}
	for _, speed := range []float64{1.2, 1.5} {
		r := session.Request{}
		r.Target.SpeedUp, r.Criterion = speed, prune.Criterion{}
		p, err := s.Plan(context.Background(), r)
		require.NoError(t, err)
		m, err := s.Apply(p)
		require.NoError(t, err)
		for _, methods := range [][]string{{repair.Match}, {repair.Solve}} {
			for _, noise := range []bool{false, true} {
				if os.Getenv("NOISE") != "" && !noise {
					continue
				}
				ft, hd := arr(fit), arr(held)
				if noise {
					ft = map[string]repair.Array{"image": repair.Noise(128, []int{1, 28, 28}, 1)}
					hd = map[string]repair.Array{"image": repair.Noise(32, []int{1, 28, 28}, 2)}
				}
				start := time.Now()
				res, err := repair.Repair(context.Background(), &Engine{backend: b}, f.Model, m, p.Removed, ft, hd, repair.Options{Methods: methods, Ridge: ridge})
				require.NoError(t, err)
				t.Logf("%.1fx %v noise=%v kept %s: before %.3f/%.2f after %.3f/%.2f; accuracy %.4f -> %.4f (%.1f s)", speed, methods, noise, res.Method, res.Before.Cosine, res.Before.Top1, res.After.Cosine, res.After.Top1,
					accuracyOf(t, b, m, x, labels), accuracyOf(t, b, res.Model, x, labels), time.Since(start).Seconds())
			}
		}
	}
}
