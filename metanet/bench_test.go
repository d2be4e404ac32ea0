package metanet

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// random fills v with small numbers.
func random(r *rand.Rand, v []float32, scale float64) []float32 {
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

// newNetwork makes a metanetwork with random weights.
func newNetwork(r *rand.Rand, hidden, layers, nodeIn int, edgeIn ...int) *Network {
	lin := func(in, out int) linear {
		return linear{in: in, out: out, w: random(r, make([]float32, in*out), 1/math.Sqrt(float64(in))), b: random(r, make([]float32, out), 0.1)}
	}
	n := &Network{Hidden: hidden, Layers: layers, NodeIn: nodeIn, EdgeIn: edgeIn}
	n.nodeEnc = stack{layers: []linear{lin(nodeIn, hidden)}}
	n.nodeDec = stack{norm: true, layers: []linear{lin(hidden, hidden), lin(hidden, nodeIn)}}
	for _, k := range edgeIn {
		n.edges = append(n.edges, edgeCoder{enc: stack{layers: []linear{lin(k, hidden)}}, dec: stack{norm: true, layers: []linear{lin(hidden, hidden), lin(hidden, k)}}})
	}
	for range layers {
		c := conv{down: lin(4*hidden, hidden)}
		for k := range c.lin {
			c.lin[k] = lin(hidden, hidden)
		}
		n.convs = append(n.convs, c)
	}
	n.inverter = make([]float32, hidden)
	for i := range n.inverter {
		n.inverter[i] = 1
		if i >= hidden/2 {
			n.inverter[i] = -1
		}
	}
	return n
}

// resnet50 is a graph of the shape of ResNet-50's: 23,723 nodes and more than 15 million edges.
func resnet50(r *rand.Rand) *Graph {
	g := &Graph{N: 3, F: 8}
	add := func(from, width int) int {
		at := g.N
		g.N += width
		return at
	}
	type layer struct{ at, width int }
	link := func(in, out layer) {
		g.Blocks = append(g.Blocks, Block{Out: out.at, In: in.at, Rows: out.width, Cols: in.width, Features: random(r, make([]float32, 9*out.width*in.width), 0.1)})
	}
	cur := layer{0, 3}
	next := func(width int) layer { l := layer{add(0, width), width}; link(cur, l); return l }
	cur = next(64)
	for stage, blocks := range []int{3, 4, 6, 3} {
		w := 64 << stage
		for b := range blocks {
			from := cur
			cur = next(w)
			cur = next(w)
			cur = next(4 * w)
			if b == 0 {
				link(from, cur)
			}
		}
	}
	cur = next(1000)
	g.Nodes = random(r, make([]float32, g.N*g.F), 1)
	return g
}

func BenchmarkForwardResNet56(b *testing.B) {
	if _, err := os.Stat("../../shared/fixtures/metanet/resnet56_in.safetensors"); err != nil {
		b.Skip("the fixture is not at hand")
	}
	r := loadCase(b, "../../shared/fixtures/metanet", "resnet56")
	b.ReportAllocs()
	for name, memory := range memories {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.forward(b, memory)
			}
		})
	}
}

// memories names the ways edge states are kept.
var memories = map[string]int64{"default": 0, "recomputed": -1, "cached": 1 << 40}

func BenchmarkForwardResNet50(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	g, n := resnet50(r), newNetwork(r, 16, 6, 8, 9)
	edges := 0
	for i := range g.Blocks {
		edges += g.Blocks[i].Edges()
	}
	b.ReportMetric(float64(edges), "edges")
	for name, memory := range memories {
		for _, portable := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/portable=%v", name, portable), func(b *testing.B) {
				for b.Loop() {
					if _, err := n.Forward(context.Background(), g, Options{Memory: memory, Portable: portable}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
