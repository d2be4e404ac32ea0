package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/xla"
)

// Forward runs a model on a batch of images and returns its outputs; an xla.Runner is one.
type Forward interface {
	Run(inputs ...xla.Array) ([]xla.Array, error)
}

// ForwardFunc is a function as a Forward.
type ForwardFunc func(inputs ...xla.Array) ([]xla.Array, error)

// Run implements Forward.
func (f ForwardFunc) Run(inputs ...xla.Array) ([]xla.Array, error) { return f(inputs...) }

// Evaluator measures a classifier on data sets; the model is compiled once.
type Evaluator struct {
	Runner Forward
	Batch  int
}

// Score is what an evaluation found.
type Score struct {
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"`
	Images   int     `json:"images"`
}

// Measure runs the whole set. The last batch is filled up with repetitions that do not count.
func (e *Evaluator) Measure(ctx context.Context, s *data.Set) (Score, error) {
	var r Score
	if s.Labels == nil {
		return r, fmt.Errorf("%s has no labels", s.Name)
	}
	loss, right := 0.0, 0
	err := e.Each(ctx, s, func(b *data.Batch, logits xla.Array) error {
		classes := len(logits.Floats) / len(b.Labels)
		if classes == 0 {
			return errors.New("the model's first output has no score for each class")
		}
		for i, l := range b.Labels {
			row := logits.Floats[i*classes : (i+1)*classes]
			if int(l) >= classes {
				return fmt.Errorf("label %d, but the model has %d outputs", l, classes)
			}
			if ArgMax(row) == int(l) {
				right++
			}
			loss += LogSumExp(row) - float64(row[l])
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	n := float64(max(s.N, 1))
	return Score{loss / n, float64(right) / n, s.N}, nil
}

// Each hands every batch with the model's first output to visit.
func (e *Evaluator) Each(ctx context.Context, s *data.Set, visit func(b *data.Batch, logits xla.Array) error) error {
	batch := min(e.Batch, max(s.N, 1))
	return s.Each(ctx, data.Order{Batch: batch}, func(_ int, b *data.Batch) error {
		n := b.Dims[0]
		x := xla.Array{Dims: append([]int{batch}, b.Dims[1:]...), Floats: b.X, Type: 1}
		for len(x.Floats) < batch*s.Size() {
			x.Floats = append(x.Floats, b.X[:min(len(b.X), batch*s.Size()-len(x.Floats))]...)
		}
		out, err := e.Runner.Run(x)
		if err != nil {
			return err
		}
		y := out[0]
		y.Floats = y.Floats[:len(y.Floats)/batch*n]
		y.Dims = append([]int{n}, y.Dims[1:]...)
		return visit(b, y)
	})
}

// ArgMax is the index of the largest number, the first of equal ones.
func ArgMax(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// LogSumExp is log(sum(exp(v))).
func LogSumExp(v []float32) float64 {
	top := float64(v[ArgMax(v)])
	sum := 0.0
	for _, x := range v {
		sum += math.Exp(float64(x) - top)
	}
	return top + math.Log(sum)
}

// Fits reports whether a model with these inputs takes the images of a set.
func Fits(inputs []xla.Input, s *data.Set) error {
	if len(inputs) != 1 {
		return fmt.Errorf("the model has %d inputs; want one, the image", len(inputs))
	}
	d := inputs[0].Dims
	if len(d) == 4 && (d[1] < 0 || d[1] == s.C) && (d[2] < 0 || d[2] == s.H) && (d[3] < 0 || d[3] == s.W) {
		return nil
	}
	return fmt.Errorf("the model needs inputs of %v, but %s has images of [%d %d %d]", d, s.Name, s.C, s.H, s.W)
}
