package graphcodec

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
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
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	n, err := Encode(a, s)
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
		have := map[*op.Constant][]bool{}
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
			if i := slices.Index(seen, false); i >= 0 {
				t.Fatalf("%s: element %d of %s has no kernel", path, i, c.Name)
			}
		}
		for _, w := range n.Analysis.Weights() {
			if w.Output >= 0 && w.Input >= 0 && have[w.Const] == nil && w.Const.Tied == nil && w.Const.Tensor.DataType.IsFloat() {
				missing[filepath.Base(path)] = append(missing[filepath.Base(path)], w.Const.Name)
			}
		}
	}
	for path, names := range missing {
		t.Logf("%s: not in the graph: %q", path, names)
	}
	require.Equal(t, map[string][]string{"moe.onnx": {"w17", "w19"}}, missing, "the graph has no edges for the experts of a mixture")
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
			if seen[at] {
				t.Fatalf("%s: element %d has two kernels", b.Const.Name, at)
			}
			seen[at] = true
			if want := float32(b.at.read(b.at.raw[at*b.at.width:])); math.Float32bits(want) != math.Float32bits(tile[i]) {
				t.Fatalf("%s: element %d is %v, the tile says %v", b.Const.Name, at, want, tile[i])
			}
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
		if same := bytes.Equal(a[i*width:(i+1)*width], b[i*width:(i+1)*width]); want[i] == same {
			t.Fatalf("%s: element %d: changed %v, want %v", now.Name, i, !same, want[i])
		}
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

// rewritten returns the model of a file with every floating-point weight with two axes or more drawn anew, in another element type where one is given.
func rewritten(t testing.TB, path string, r *rand.Rand, to onnxio.DataType) *onnxio.Model {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	for i, old := range m.Graph.Initializers {
		if !old.DataType.IsFloat() || len(old.Dims) < 2 || old.IsExternal() {
			continue
		}
		x := &onnxio.Tensor{Name: old.Name, Dims: old.Dims, DataType: to}
		n, err := old.NumElements()
		require.NoError(t, err)
		raw := make([]byte, int(n)*to.Bits()/8)
		w, err := newWriter(&op.Constant{Tensor: x}, raw)
		require.NoError(t, err)
		for k := range int(n) {
			w.put(raw[k*w.width:], r.NormFloat64()*math.Exp2(float64(r.IntN(9)-6)))
		}
		x.SetRaw(raw)
		m.Graph.Initializers[i] = x
	}
	return m
}

// Whatever the weights, in every floating-point type: an unchanged graph decodes to the same bits, and a graph in which everything changed to the rounded sum of weight and change.
func TestRandomWeightsAndChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, path := range networkModels(t)[:35] {
		for _, to := range []onnxio.DataType{onnxio.Float, onnxio.Float16, onnxio.BFloat16, onnxio.Double} {
			m := rewritten(t, path, r, to)
			a, err := coupling.Analyze(m)
			require.NoError(t, err, path)
			n, err := Encode(a, Universal)
			require.NoError(t, err, path)
			want, err := m.Marshal()
			require.NoError(t, err)
			zero := func(block int, sink func(row, rows int, delta []float32)) error {
				sink(0, n.Blocks[block].Rows, make([]float32, n.Blocks[block].Edges()*n.Blocks[block].Kernel))
				return nil
			}
			require.True(t, bytes.Equal(want, decoded(t, n, n.Nodes, zero)), path)
			everythingChanges(t, r, n, path)
		}
	}
}

func everythingChanges(t testing.TB, r *rand.Rand, n *Network, path string) {
	t.Helper()
	deltas := map[int][]float32{}
	d, err := n.Decoder(n.Nodes, func(block int, sink func(row, rows int, delta []float32)) error {
		b := &n.Blocks[block]
		deltas[block] = make([]float32, b.Edges()*b.Kernel)
		for i := range deltas[block] {
			deltas[block][i] = float32(r.NormFloat64())
		}
		sink(0, b.Rows, deltas[block])
		return nil
	})
	require.NoError(t, err)
	for _, c := range d.Represented() {
		now, err := d.Tensor(c)
		require.NoError(t, err)
		for i := range n.Blocks {
			b := &n.Blocks[i]
			if b.Const != c || b.Fixed || now == nil {
				continue
			}
			w, err := newWriter(c, slices.Clone(b.at.raw))
			require.NoError(t, err)
			width := max(1, b.Edges()/b.Rows)
			for k, v := range deltas[i] {
				at := b.at.offset(k/b.Kernel/width, k/b.Kernel%width, k%b.Kernel)
				w.put(w.raw[at*w.width:], w.at(at)+float64(v))
				if got := now.RawData[at*w.width : (at+1)*w.width]; !bytes.Equal(got, w.raw[at*w.width:(at+1)*w.width]) {
					t.Fatalf("%s: element %d of %s is %x, want %x", path, at, c.Name, got, w.raw[at*w.width:(at+1)*w.width])
				}
			}
		}
	}
}

func TestWeightsThatAreNotFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := rewritten(t, "../testdata/fashion-resnet20.onnx", r, onnxio.Float)
	for _, x := range m.Graph.Initializers {
		if x.Name == "layers.3.conv1.weight" {
			x.RawData[3], x.RawData[2] = 0x7f, 0xc0
		}
	}
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	_, err = Encode(a, Universal)
	require.ErrorContains(t, err, `tensor "layers.3.conv1.weight": NaN, Inf or numbers too large`)
}

// A layer's place in the graph does not depend on the exporter or on how a model spells its layers.
func TestExportersAgree(t *testing.T) {
	for _, names := range [][]string{
		{"cbam.dy.onnx", "cbam.ts.onnx", "cbam.tsbn.onnx"}, {"conv1d.dy.onnx", "conv1d.ts.onnx"}, {"mlp_bn.dy.onnx", "mlp_bn.ts.onnx", "mlp_bn.tsbn.onnx", "mlp_bn.dybn.onnx"},
		{"yoloish.dy.onnx", "yoloish.ts.dynb.onnx"}, {"conv3d.dy.onnx", "conv3d.ts.onnx", "conv3d.tsbn.onnx"}} {
		var first []int
		for i, name := range names {
			n, _ := encodeFile(t, "../testdata/models/"+name, Universal)
			var ends []int
			for k := range n.Blocks {
				b := &n.Blocks[k]
				ends = append(ends, b.Out, b.In, b.Rows, b.Cols, b.Type)
			}
			if i == 0 {
				first = ends
				continue
			}
			require.Equal(t, first, ends, name)
		}
	}
}

func TestExports(t *testing.T) {
	n, _ := encodeFile(t, "../testdata/metanet/tiny_net.onnx", Universal)
	var graphml, doc bytes.Buffer
	require.NoError(t, n.WriteGraphML(&graphml))
	require.NoError(t, xml.Unmarshal(graphml.Bytes(), new(struct{})))
	require.Equal(t, n.N, strings.Count(graphml.String(), "<node "))
	require.Equal(t, n.Edges(), strings.Count(graphml.String(), "<edge "))
	require.NoError(t, n.WriteJSON(&doc))
	var g struct {
		Layers []struct{ Features [][]float32 }
		Blocks []struct{ Features []float32 }
	}
	require.NoError(t, json.Unmarshal(doc.Bytes(), &g))
	require.Len(t, g.Layers, len(n.Layers))
	require.Equal(t, n.Blocks[0].Features(0, n.Blocks[0].Rows), g.Blocks[0].Features)
}

func TestOwnFunctions(t *testing.T) {
	for x := 1e-9; x < 1e12; x *= 1.7 {
		require.InDelta(t, math.Log(x), logarithm(x), 1e-13*math.Max(1, math.Abs(math.Log(x))))
	}
	for q := 1; q < 30; q++ {
		for p := range 5 * q {
			require.InDelta(t, math.Cos(math.Pi*float64(p)/float64(q)), cosineOf(p, q), 1e-14)
		}
	}
}
