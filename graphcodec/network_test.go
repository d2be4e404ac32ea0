package graphcodec

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func networkModels(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, p := range []string{"../testdata/*.onnx", "../testdata/*/*.onnx", os.Getenv("METAPRUNE_ZOO") + "/*.onnx"} {
		files, err := filepath.Glob(p)
		require.NoError(t, err)
		out = append(out, files...)
	}
	return out
}

func encodeFile(t testing.TB, path string, s Scheme) (*Network, []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := Analyze(m)
	require.NoError(t, err)
	n, err := a.Encode(s)
	require.NoError(t, err, path)
	return n, data
}

// decoded returns the model that a decoder gives, as bytes.
func decoded(t testing.TB, n *Network, nodes []float32, changes Changes) []byte {
	t.Helper()
	d, err := n.Decoder(nodes, changes)
	require.NoError(t, err)
	m, err := d.Model()
	require.NoError(t, err)
	out, err := m.Marshal()
	require.NoError(t, err)
	return out
}

func TestUnchangedGraphIsTheModel(t *testing.T) {
	for _, path := range networkModels(t) {
		for _, s := range []Scheme{Universal, ReferenceCNN} {
			n, data := encodeFile(t, path, s)
			zero := func(block int, sink func(row, rows int, delta []float32)) error {
				b := &n.Blocks[block]
				sink(0, b.Rows, make([]float32, b.Edges()*b.Kernel))
				return nil
			}
			require.True(t, bytes.Equal(data, decoded(t, n, n.Nodes, zero)), "%s %s", path, s.Name)
		}
	}
}

// Every element of a weight that the graph represents stands in exactly one kernel that can change it, tiles show the elements at their offsets, and what is not in the graph is listed.
func TestEveryWeightHasOneKernel(t *testing.T) {
	missing := map[string][]string{}
	for _, path := range networkModels(t) {
		n, _ := encodeFile(t, path, Universal)
		have := map[*Constant][]bool{}
		for i := range n.Blocks {
			b := &n.Blocks[i]
			require.LessOrEqual(t, b.Out+b.Rows, n.N)
			require.LessOrEqual(t, b.In+b.Cols, n.N)
			if b.Const == nil || b.Fixed {
				continue
			}
			if have[b.Const] == nil {
				elems, err := b.Const.Tensor.NumElements()
				require.NoError(t, err)
				have[b.Const] = make([]bool, elems)
			}
			coverBlock(t, b, have[b.Const])
		}
		for c, seen := range have {
			for i, ok := range seen {
				require.True(t, ok, "%s: element %d of %s has no kernel", path, i, c.Name)
			}
		}
		for _, w := range n.a.Weights() {
			if w.Output >= 0 && w.Input >= 0 && have[w.Const] == nil && w.Const.Tied == nil && w.Const.Tensor.DataType.IsFloat() {
				missing[filepath.Base(path)] = append(missing[filepath.Base(path)], w.Const.Name)
			}
		}
	}
	for path, names := range missing {
		t.Logf("%s: not in the graph: %q", path, names)
	}
	require.Empty(t, missing)
}

func coverBlock(t testing.TB, b *EdgeBlock, seen []bool) {
	t.Helper()
	width := b.Cols
	if b.Diagonal {
		width = 1
	}
	tile := make([]float32, b.Kernel*width)
	for r := range b.Rows {
		b.Tile(tile, r, 1, 0, width, width)
		for i := range tile {
			at := b.at.offset(r, i%width, i/width)
			require.False(t, seen[at], "%s: element %d has two kernels", b.Const.Name, at)
			seen[at] = true
			require.Equal(t, math.Float32bits(float32(b.at.read(b.at.raw[at*b.at.width:]))), math.Float32bits(tile[i]))
		}
	}
}

// Changing one edge, or one node feature that stands for a parameter, changes exactly what it speaks of.
func TestOneChangeChangesOneWeight(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for _, path := range networkModels(t) {
		for _, s := range []Scheme{Universal, ReferenceCNN} {
			n, _ := encodeFile(t, path, s)
			for range 4 {
				if len(n.Blocks) > 0 {
					oneEdge(t, r, n, path)
				}
				if len(n.params) > 0 {
					oneNode(t, r, n, path)
				}
			}
		}
	}
}

func oneEdge(t testing.TB, r *rand.Rand, n *Network, path string) {
	t.Helper()
	i := r.IntN(len(n.Blocks))
	b := &n.Blocks[i]
	row, col := r.IntN(b.Rows), 0
	if !b.Diagonal {
		col = r.IntN(b.Cols)
	}
	width := max(1, map[bool]int{false: b.Cols, true: 1}[b.Diagonal])
	features := b.Features(row, 1)
	f := len(features) / width
	before := features[col*f : (col+1)*f]
	after := append([]float32(nil), before...)
	at := r.IntN(f)
	after[at] += float32(0.5 + r.Float64())
	delta := make([]float32, width*b.Kernel)
	copy(delta[col*b.Kernel:], b.Delta(before, after))
	d, err := n.Decoder(n.Nodes, func(block int, sink func(row, rows int, delta []float32)) error {
		if block == i {
			sink(row, 1, delta)
		}
		return nil
	})
	require.NoError(t, err)
	var kernel []int
	if b.Const != nil && !b.Fixed {
		for j := range b.Kernel {
			if delta[col*b.Kernel+j] != 0 {
				kernel = append(kernel, b.at.offset(row, col, j))
			}
		}
	}
	for _, c := range d.Represented() {
		now, err := d.Tensor(c)
		require.NoError(t, err)
		if c != b.Const || len(kernel) == 0 {
			require.Nil(t, now, "%s: %s changed too", path, c.Name)
			continue
		}
		require.NotNil(t, now, "%s: %s did not change", path, c.Name)
		requireOnly(t, c.Tensor, now, kernel)
	}
}

// requireOnly checks that exactly the given elements differ.
func requireOnly(t testing.TB, old, now *onnxio.Tensor, at []int) {
	t.Helper()
	a, err := old.Bytes()
	require.NoError(t, err)
	b, err := now.Bytes()
	require.NoError(t, err)
	width := old.DataType.Bits() / 8
	want := map[int]bool{}
	for _, i := range at {
		want[i] = true
	}
	for i := range len(a) / width {
		same := bytes.Equal(a[i*width:(i+1)*width], b[i*width:(i+1)*width])
		require.Equal(t, want[i], !same, "%s: element %d", now.Name, i)
	}
}

func oneNode(t testing.TB, r *rand.Rand, n *Network, path string) {
	t.Helper()
	p := n.params[r.IntN(len(n.params))]
	nodes := append([]float32(nil), n.Nodes...)
	nodes[int(p.node)*n.F+int(p.feature)] += float32(0.5 + r.Float64())
	d, err := n.Decoder(nodes, nil)
	require.NoError(t, err)
	for _, c := range d.Represented() {
		now, err := d.Tensor(c)
		require.NoError(t, err)
		if c != p.c || p.fixed {
			require.Nil(t, now, "%s: %s changed too", path, c.Name)
			continue
		}
		require.NotNil(t, now, "%s: %s did not change", path, c.Name)
		requireOnly(t, c.Tensor, now, []int{int(p.index)})
	}
}

func TestDCTIsOrthonormal(t *testing.T) {
	for _, extents := range [][]int{nil, {3}, {1, 1}, {3, 3}, {2, 4}, {5, 5}, {7, 7}, {3, 3, 3}, {1, 9}} {
		size := 1
		for _, d := range extents {
			size *= d
		}
		l := dct(extents, 9)
		rows := min(9, size)
		for i := range rows {
			for j := range rows {
				sum := 0.0
				for k := range size {
					sum += float64(l[i*size+k]) * float64(l[j*size+k])
				}
				want := 0.0
				if i == j {
					want = 1
				}
				require.InDelta(t, want, sum, 1e-6, "%v", extents)
			}
		}
		for _, v := range l[rows*size:] {
			require.Zero(t, v)
		}
	}
	require.InDeltaSlice(t, []float32{1. / 3, 1. / 3, 1. / 3}, dct([]int{3, 3}, 9)[:3], 1e-6, "the lowest frequency comes first")
}
