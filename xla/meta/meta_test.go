package meta

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

func backends(t testing.TB, f func(b *xla.Backend)) {
	t.Helper()
	for _, kind := range []string{xla.Go, xla.CPU, xla.CUDA} {
		b, err := xla.Open(kind)
		if err != nil {
			t.Logf("%s is skipped: %v", kind, err)
			continue
		}
		f(b)
		b.Finalize()
	}
}

func parse(t testing.TB, path string) *safetensors.File {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	return f
}

// fixture is a case of the paper's code.
type fixture struct {
	net, in, out *safetensors.File
	graph        *metanet.Graph
	ratio        float64
}

func load(t testing.TB, dir, name string) fixture {
	t.Helper()
	at := func(part string) *safetensors.File { return parse(t, filepath.Join(dir, name+"_"+part+".safetensors")) }
	c := fixture{net: at("metanet"), in: at("in"), out: at("out"), ratio: metanet.DefaultRatio}
	var err error
	c.graph, err = metanet.GraphFromFile(c.in)
	require.NoError(t, err)
	if s := c.in.Metadata["node_res_ratio"]; s != "" {
		c.ratio, err = strconv.ParseFloat(s, 64)
		require.NoError(t, err)
	}
	return c
}

func cases() map[string]string {
	out := map[string]string{"tiny": "../../testdata/metanet", "multi": "../../testdata/metanet"}
	if _, err := os.Stat("../../../shared/fixtures/metanet/resnet56_in.safetensors"); err == nil && os.Getenv("CI") == "" {
		out["resnet56"] = "../../../shared/fixtures/metanet"
	}
	return out
}

func worst(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
	}
	return d
}

// TestForwardIsTheEngines compares residuals with the streaming engine's, which equals the paper's code, on the paper's cases and on random graphs.
func TestForwardIsTheEngines(t *testing.T) {
	backends(t, func(b *xla.Backend) {
		compare := func(name string, f *safetensors.File, g *metanet.Graph) {
			n, err := New(b, f, Options{})
			require.NoError(t, err)
			defer n.Close()
			engine, err := metanet.Load(f)
			require.NoError(t, err)
			want, err := engine.Forward(context.Background(), g, metanet.Options{NodeRatio: 1, EdgeRatio: 1})
			require.NoError(t, err)
			got, err := n.Forward(g)
			require.NoError(t, err)
			for i := range g.Nodes {
				got.Nodes[i] += g.Nodes[i]
			}
			node, edge := worst(want.Nodes, got.Nodes), 0.0
			for i, e := range got.Edges {
				if e == nil {
					continue // without parameters
				}
				for k := range e {
					e[k] += g.Blocks[i].Features[k]
				}
				edge = max(edge, worst(want.Blocks[i].Features, e))
			}
			t.Logf("%s on %s: nodes %.2g, edges %.2g", name, b.Kind, node, edge)
			require.Less(t, max(node, edge), 1e-4, name)
		}
		for name, dir := range cases() {
			c := load(t, dir, name)
			compare(name, c.net, c.graph)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for i := range map[string]int{xla.Go: 12}[b.Kind] + 3 {
			f, g := randomCase(r)
			compare(fmt.Sprint("random ", i), f, g)
		}
	})
}

// randomCase is a metanetwork of several edge types and a graph with overlapping blocks, diagonals and nodes that nothing reaches.
func randomCase(r *rand.Rand) (*safetensors.File, *metanet.Graph) {
	f := metanet.New(metanet.Sizes{Hidden: 4 + r.IntN(5), Layers: 1 + r.IntN(3), NodeIn: 3, EdgeTypes: []string{"kernel", "residual"}, EdgeIn: []int{4, 1}, Frozen: []bool{false, true}}, r.Uint64())
	for _, name := range slices.Sorted(maps.Keys(f.Tensors)) { // decoders of a new metanetwork are zero
		t := f.Tensors[name]
		v, _ := t.Floats()
		for i := range v {
			v[i] = float32(r.NormFloat64()) * .4
		}
		*t = *safetensors.FloatTensor(v, t.Shape...)
	}
	g := &metanet.Graph{N: 12 + r.IntN(20), F: 3}
	for range g.N * g.F {
		g.Nodes = append(g.Nodes, float32(r.NormFloat64()))
	}
	for range 1 + r.IntN(5) {
		b := metanet.Block{Rows: 1 + r.IntN(g.N/2), Cols: 1 + r.IntN(g.N/2)}
		if r.IntN(3) == 0 {
			b.Diagonal, b.Type, b.Cols = true, 1, b.Rows
		}
		b.Out, b.In = r.IntN(g.N-b.Rows+1), r.IntN(g.N-b.Cols+1)
		for range b.Edges() * []int{4, 1}[b.Type] {
			b.Features = append(b.Features, float32(r.NormFloat64()))
		}
		g.Blocks = append(g.Blocks, b)
	}
	return f, g
}

// TestGradientIsThePapers compares the gradient of mean(node residuals^2) + mean(edge residuals^2) with that of the paper's code.
func TestGradientIsThePapers(t *testing.T) {
	backends(t, func(b *xla.Backend) {
		for name, dir := range cases() {
			path := filepath.Join(dir, name+"_grads.safetensors")
			if _, err := os.Stat(path); err != nil {
				continue
			}
			c, want := load(t, dir, name), parse(t, path)
			n, err := New(b, c.net, Options{})
			require.NoError(t, err)
			r, err := n.Forward(c.graph)
			require.NoError(t, err)
			start := time.Now()
			grads, err := n.Gradient(c.graph, squares(r))
			require.NoError(t, err)
			first := time.Since(start)
			start = time.Now()
			_, err = n.Gradient(c.graph, squares(r))
			require.NoError(t, err)
			t.Logf("%s on %s: %.2f s with compilation, %.2f s without", name, b.Kind, first.Seconds(), time.Since(start).Seconds())
			far, found := 0.0, 0
			for param, g := range grads {
				tensor := want.Tensors[param]
				if tensor == nil {
					tensor = want.Tensors["grad."+param]
				}
				require.NotNil(t, tensor, param)
				v, err := tensor.Floats()
				require.NoError(t, err)
				scale := 0.0
				for _, x := range v {
					scale = max(scale, math.Abs(float64(x)))
				}
				found++
				far = max(far, worst(v, g)/(scale+1e-6))
			}
			t.Logf("%s on %s: %d parameters, largest difference %.2g of a parameter's largest gradient", name, b.Kind, found, far)
			require.Less(t, far, 2e-3)
			n.Close()
		}
	})
}

// squares is the cotangent of mean(nodes^2) + mean(edges^2).
func squares(r *Residuals) *Residuals {
	out := &Residuals{Edges: make([][]float32, len(r.Edges))}
	for _, x := range r.Nodes {
		out.Nodes = append(out.Nodes, 2*x/float32(len(r.Nodes)))
	}
	total := 0
	for _, e := range r.Edges {
		total += len(e)
	}
	for i, e := range r.Edges {
		for _, x := range e {
			out.Edges[i] = append(out.Edges[i], 2*x/float32(total))
		}
	}
	return out
}

// move shifts n's parameters to step times direction from those of f.
func move(t *testing.T, n *Net, f *safetensors.File, direction map[string][]float32, step float64) {
	for name, d := range direction {
		v, err := f.Tensors[name].Floats()
		require.NoError(t, err)
		v = slices.Clone(v)
		for i := range v {
			v[i] += float32(step) * d[i]
		}
		at := &n.state[n.at[name]]
		free([]*tensors.Tensor{*at})
		*at = tensors.FromFlatDataAndDimensions(v, f.Tensors[name].Shape...)
	}
}

// against is the sum of the metanetwork's residuals on g times a cotangent.
func against(t *testing.T, n *Net, g *metanet.Graph, cot *Residuals) float64 {
	out, err := n.Forward(g)
	require.NoError(t, err)
	sum := 0.0
	for i, x := range out.Nodes {
		sum += float64(x) * float64(cot.Nodes[i])
	}
	for i, e := range out.Edges {
		for k, x := range e {
			sum += float64(x) * float64(cot.Edges[i][k])
		}
	}
	return sum
}

// TestGradientIsTheDifferences compares the gradient with central differences along random directions of the parameters. A ReLU that turns within a long step, or float32's
// rounding in a short one, may spoil a difference: the best of four steps counts, and the middle one of the directions' errors. A wrong component of the gradient shows in all of them.
func TestGradientIsTheDifferences(t *testing.T) {
	const directions = 7
	r := rand.New(rand.NewPCG(3, 4))
	backends(t, func(b *xla.Backend) {
		for range 4 {
			f, g := randomCase(r)
			n, err := New(b, f, Options{})
			require.NoError(t, err)
			out, err := n.Forward(g)
			require.NoError(t, err)
			cot := squares(out)
			grads, err := n.Gradient(g, cot)
			require.NoError(t, err)
			var errors []float64
			for range directions {
				direction := map[string][]float32{}
				analytic, size := 0.0, 0.0
				for _, name := range n.names { // in one order: a map's would draw anew each time
					for _, x := range grads[name] {
						d := r.NormFloat64()
						direction[name] = append(direction[name], float32(d))
						analytic += d * float64(x)
						size += float64(x) * float64(x)
					}
				}
				best := math.Inf(1)
				for _, h := range []float64{6e-5, 2.5e-4, 1e-3, 4e-3} {
					var sums [2]float64
					for i, sign := range []float64{1, -1} {
						move(t, n, f, direction, sign*h)
						sums[i] = against(t, n, g, cot)
					}
					best = min(best, math.Abs((sums[0]-sums[1])/(2*h)-analytic)/math.Sqrt(size))
				}
				errors = append(errors, best)
			}
			slices.Sort(errors)
			t.Logf("%s: errors along %d directions, as shares of the gradient's length: %.4f", b.Kind, directions, errors)
			require.Less(t, errors[directions/2], .02, b.Kind)
			n.Close()
		}
	})
}

// A step is AdamW's, by hand.
func TestStep(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	backends(t, func(b *xla.Backend) {
		f, g := randomCase(r)
		n, err := New(b, f, Options{Rate: 1e-2, WeightDecay: .1})
		require.NoError(t, err)
		defer n.Close()
		out, err := n.Forward(g)
		require.NoError(t, err)
		grads, err := n.Gradient(g, squares(out))
		require.NoError(t, err)
		norm, err := n.Step(g, squares(out))
		require.NoError(t, err)
		after, err := n.Weights()
		require.NoError(t, err)
		total := 0.0
		for name, tensor := range f.Tensors {
			was, _ := tensor.Floats()
			is, err := after.Tensors[name].Floats()
			require.NoError(t, err)
			for i, x := range was {
				d := float64(grads[name][i])
				total += d * d
				if math.Abs(d) > 1e-5 { // below, the division's epsilon counts
					require.InDelta(t, float64(x)*(1-1e-2*.1)-1e-2*math.Copysign(1, d), is[i], 1e-4, "%s %g", name, d)
				}
			}
		}
		require.InDelta(t, math.Sqrt(total), norm, 1e-3*norm)
		require.Equal(t, 1, n.Steps)
		require.True(t, strings.HasPrefix(after.Metadata["format"], "metaprune"))
	})
}
