package graphcodec

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// Pull is decoding's transpose: <gradient, change of the weights> is <pulled gradient, change of the features>.
func TestPullIsTheTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, path := range networkModels(t) {
		n, _ := encodeFile(t, path, Universal)
		deltas := make([][]float32, len(n.Blocks)) // of features
		nodes := append([]float32(nil), n.Nodes...)
		for _, p := range n.params {
			nodes[int(p.node)*n.F+int(p.feature)] += float32(r.NormFloat64())
		}
		d, err := n.Decoder(nodes, func(block int, sink func(row, rows int, delta []float32)) error {
			b := &n.Blocks[block]
			f := b.features()
			before := b.Features(0, b.Rows)
			var out []float32
			for at := 0; at < len(before); at += f {
				after := make([]float32, f)
				for i := range after {
					x := float32(r.NormFloat64())
					if b.Lens != nil && zeroRow(b, i) {
						x = 0
					}
					deltas[block] = append(deltas[block], x)
					after[i] = before[at+i] + x
				}
				out = append(out, b.Delta(before[at:at+f], after)...)
			}
			sink(0, b.Rows, out)
			return nil
		})
		require.NoError(t, err)
		gradients := map[*op.Constant][]float32{}
		want, size := 0.0, 0.0
		skip := false
		for _, c := range d.Represented() {
			skip = skip || c.Tensor.DataType != onnxio.Float // rounding would be most of the change
			now, err := d.Tensor(c)
			require.NoError(t, err)
			old, err := c.Tensor.Float32s()
			require.NoError(t, err)
			g := make([]float32, len(old))
			for i := range g {
				g[i] = float32(r.NormFloat64())
			}
			gradients[c] = g
			if now == nil {
				continue
			}
			v, err := now.Float32s()
			require.NoError(t, err)
			for i := range v {
				x := float64(g[i]) * (float64(v[i]) - float64(old[i]))
				want, size = want+x, size+x*x
			}
		}
		if skip {
			continue
		}
		pulledNodes, pulledEdges, err := n.Pull(func(c *op.Constant) []float32 { return gradients[c] })
		require.NoError(t, err)
		got := 0.0
		for i, g := range pulledNodes {
			got += float64(g) * (float64(nodes[i]) - float64(n.Nodes[i]))
		}
		for i, e := range pulledEdges {
			require.Equal(t, n.Blocks[i].Const == nil || n.Blocks[i].Fixed, e == nil, path)
			for k, g := range e {
				got += float64(g) * float64(deltas[i][k])
			}
		}
		require.InDelta(t, want, got, 1e-3*math.Sqrt(size)+1e-6, path)
	}
}

func zeroRow(b *EdgeBlock, i int) bool {
	for j := range b.Kernel {
		if b.Lens[i*b.Kernel+j] != 0 {
			return false
		}
	}
	return true
}

func TestPullRefusesOtherSizes(t *testing.T) {
	n, _ := encodeFile(t, "../testdata/fashion-resnet20.onnx", Universal)
	_, _, err := n.Pull(func(*op.Constant) []float32 { return make([]float32, 3) })
	require.ErrorContains(t, err, "a gradient of 3 numbers for")
	nodes, _, err := n.Pull(func(*op.Constant) []float32 { return nil })
	require.NoError(t, err)
	require.Zero(t, nodes[0])
}
