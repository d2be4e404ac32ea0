package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/native/train"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/wasm/gorgo"
	"github.com/spf13/cobra"
)

func (a *app) evalCommand() *cobra.Command {
	d := &dataFlags{}
	var backend string
	c := &cobra.Command{
		Use:   "eval MODEL",
		Short: "Measure a classifier's accuracy",
		Example: `  metaprune eval model.onnx --data fashion-mnist
  metaprune eval model.onnx --images t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz
  metaprune eval model.onnx --data imagenet/ --backend xla:cpu --limit 1000`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := unusedIn(c).data(d).err; err != nil {
				return err
			}
			s, closeModel, err := a.open(args[0], d.inputs...)
			if err != nil {
				return err
			}
			defer closeModel()
			splits, err := d.open(s.ONNX)
			if err != nil {
				return err
			}
			set, err := d.labelled(splits)
			if err != nil {
				return err
			}
			r, err := evaluate(c.Context(), backend, s.ONNX, set, d.batch)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			_, err = fmt.Fprintf(a.out, "%.2f %% of %d images, loss %.4f (%s, %.1f s)\n", 100*r.Accuracy, r.Images, r.Loss, r.Engine, r.Seconds)
			return err
		},
	}
	d.add(c.Flags(), 100)
	c.Flags().StringVar(&backend, "backend", "", "ort (ONNX Runtime), xla:cuda, xla:cpu, go, or onnx-go for Gorgonia's engine (default: the first of them that works here)")
	oneOf(c.Flags(), "backend", append(engines.Names(), "onnx-go")...)
	return c
}

// evaluation is what eval prints with --json.
type evaluation struct {
	train.Score
	Engine  string  `json:"engine"`
	Seconds float64 `json:"seconds"`
}

func evaluate(ctx context.Context, backend string, m *onnxio.Model, set *data.Set, batch int) (*evaluation, error) {
	start := time.Now()
	if backend == "onnx-go" {
		s, err := gorgoScore(ctx, m, set, batch)
		return &evaluation{s, gorgo.Name, time.Since(start).Seconds()}, err
	}
	r, err := engines.Open(backend)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s, err := r.Score(ctx, m, set, batch)
	return &evaluation{s, r.Kind, time.Since(start).Seconds()}, err
}

// gorgoScore measures in onnx-go with Gorgonia, the independent pure-Go engine.
func gorgoScore(ctx context.Context, m *onnxio.Model, set *data.Set, batch int) (train.Score, error) {
	var engine *gorgo.Engine
	var loss float64
	right := 0
	err := set.Each(ctx, data.Order{Batch: min(batch, set.N)}, func(_ int, b *data.Batch) error {
		n := b.Dims[0]
		if engine == nil || engine.Shape()[0] != n {
			e, err := gorgo.New(m, n)
			if err != nil {
				return err
			}
			if s := e.Shape(); len(s) != 4 || s[1]*s[2]*s[3] != set.Size() {
				return fmt.Errorf("the model needs inputs of %v, but %s has images of %v", s[1:], set.Name, b.Dims[1:])
			}
			engine = e
		}
		out, shape, err := engine.Run(b.X)
		if err != nil {
			return err
		}
		classes := shape[len(shape)-1]
		for i, l := range b.Labels {
			row := out[i*classes : (i+1)*classes]
			if int(l) >= classes {
				return fmt.Errorf("label %d, but the model has %d outputs", l, classes)
			}
			if train.ArgMax(row) == int(l) {
				right++
			}
			loss += train.LogSumExp(row) - float64(row[l])
		}
		return nil
	})
	n := float64(max(set.N, 1))
	return train.Score{Loss: loss / n, Accuracy: float64(right) / n, Images: set.N}, err
}
