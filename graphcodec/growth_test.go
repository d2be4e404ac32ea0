package graphcodec_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// chain is a residual network of n convolutions of 32 channels.
func chain(n int) *onnxio.Model {
	m := smallModel()
	g := m.Graph
	weight := func(name string, dims ...int64) {
		size := 4
		for _, d := range dims {
			size *= int(d)
		}
		g.Initializers = append(g.Initializers, &onnxio.Tensor{Name: name, DataType: onnxio.Float, Dims: dims, RawData: make([]byte, size)})
	}
	g.Nodes, g.Initializers = nil, nil
	weight("w", 32, 2, 1, 1)
	g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "Conv", Inputs: []string{"x", "w"}, Outputs: []string{"h0"}})
	for i := range n {
		w, c, r, h := fmt.Sprint("w", i), fmt.Sprint("c", i), fmt.Sprint("r", i), fmt.Sprint("h", i)
		weight(w, 32, 32, 1, 1)
		g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "Conv", Inputs: []string{h, w}, Outputs: []string{c}},
			&onnxio.Node{OpType: "Relu", Inputs: []string{c}, Outputs: []string{r}},
			&onnxio.Node{OpType: "Add", Inputs: []string{h, r}, Outputs: []string{fmt.Sprint("h", i+1)}})
	}
	weight("v", 2, 32, 1, 1)
	g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "Conv", Inputs: []string{fmt.Sprint("h", n), "v"}, Outputs: []string{"y4"}},
		&onnxio.Node{OpType: "GlobalAveragePool", Inputs: []string{"y4"}, Outputs: []string{"y3"}},
		&onnxio.Node{OpType: "Flatten", Inputs: []string{"y3"}, Outputs: []string{"y"}})
	return m
}

// A model of four times the layers takes about four times as long to analyse and shrink; a quadratic step anywhere would take sixteen.
func TestGrowthIsLinear(t *testing.T) {
	measure := func(n int) time.Duration {
		best := time.Hour
		for range 3 {
			m := chain(n)
			start := time.Now()
			a, err := coupling.Analyze(m)
			require.NoError(t, err)
			s := a.NewState()
			for i := range a.Groups {
				for k, u := range a.Groups[i].Units {
					if k%2 == 0 && s.CanRemove(u) {
						s.Remove(u)
					}
				}
			}
			_, err = a.Shrink(s)
			require.NoError(t, err)
			best = min(best, time.Since(start))
		}
		return best
	}
	small, large := measure(500), measure(2000)
	t.Logf("500 layers %v, 2000 layers %v", small, large)
	require.Less(t, large, 10*small)
}
