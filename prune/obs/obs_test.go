package obs

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/gram"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
)

func normal(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

// correlated draws rows whose columns depend on each other.
func correlated(r *rand.Rand, rows, n int) *mat.Dense {
	var x mat.Dense
	x.Mul(mat.NewDense(rows, n, normal(r, rows*n)), mat.NewDense(n, n, normal(r, n*n)))
	for j := range n {
		m := 0.0
		for i := range rows {
			m += x.At(i, j) / float64(rows)
		}
		for i := range rows {
			x.Set(i, j, x.At(i, j)-m)
		}
	}
	return &x
}

// residual is the mean square, over rows, of what the columns in keep cannot explain of y.
func residual(x *mat.Dense, y *mat.Dense, keep []int) float64 {
	rows, _ := x.Dims()
	part := mat.NewDense(rows, len(keep), nil)
	for k, j := range keep {
		for i := range rows {
			part.Set(i, k, x.At(i, j))
		}
	}
	var b, fit mat.Dense
	if err := b.Solve(part, y); err != nil {
		panic(err)
	}
	fit.Mul(part, &b)
	fit.Sub(y, &fit)
	sum := 0.0
	for _, v := range fit.RawMatrix().Data {
		sum += v * v / float64(rows)
	}
	return sum
}

// What a channel costs is what least squares cannot make up for, also behind others that have left.
func TestCostIsWhatLeastSquaresLose(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const rows, n, outputs = 400, 6, 4
	x, w := correlated(r, rows, n), normal(r, n*outputs)
	var y mat.Dense
	y.Mul(x, mat.NewDense(n, outputs, append([]float64(nil), w...)))
	whole := 0.0
	for _, v := range y.RawMatrix().Data {
		whole += v * v / rows
	}
	got := spaceOf(t, x, w, outputs, 1e-9)
	require.InEpsilon(t, whole, got.whole, 1e-6)
	keep, lost := []int{0, 1, 2, 3, 4, 5}, 0.0
	for _, gone := range []int{4, 1, 0} {
		var next []int
		for _, j := range keep {
			if j != gone {
				next = append(next, j)
			}
		}
		want := residual(x, &y, next)
		require.InDelta(t, want, lost+got.cost(coupling.UnitID(gone))*whole, 1e-4*want)
		lost = want
		require.NoError(t, got.remove(t.Context(), coupling.UnitID(gone)))
		keep = next
	}
}

// Removals that are applied in blocks cost what least squares lose, beyond the first block too.
func TestBlocksOfRemovals(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const rows, n, outputs = 600, 3*blockSize + 5, 2
	x, w := correlated(r, rows, n), normal(r, n*outputs)
	var y mat.Dense
	y.Mul(x, mat.NewDense(n, outputs, append([]float64(nil), w...)))
	s := spaceOf(t, x, w, outputs, 1e-12)
	lost := 0.0
	for gone := range 2*blockSize + 9 {
		var keep []int
		for j := gone + 1; j < n; j++ {
			keep = append(keep, j)
		}
		cost := s.cost(coupling.UnitID(gone)) * s.whole
		if gone%23 == 0 || gone > 2*blockSize {
			want := residual(x, &y, keep)
			require.InDelta(t, want, lost+cost, 1e-3*want, gone)
		}
		lost += cost
		require.NoError(t, s.remove(t.Context(), coupling.UnitID(gone)))
	}
	require.Less(t, s.size, n, "what is gone is dropped")
}

// tested is a space of one layer.
type tested struct {
	*space
	whole float64
}

// spaceOf makes a space of samples and weights, each channel a unit.
func spaceOf(t *testing.T, x *mat.Dense, w []float64, outputs int, ridge float64) tested {
	t.Helper()
	rows, n := x.Dims()
	p := &pass{products: gram.NewProducts(nil)}
	v := view{source: source{n: n}, moments: &moments{sums: p.products.New(rows, n, 0, nil, 0)}, outputs: outputs, positions: map[coupling.UnitID][]int32{}, w: func(i, o int) float64 { return w[i*outputs+o] }}
	for j := range n {
		v.positions[coupling.UnitID(j)] = []int32{int32(j)}
	}
	require.NoError(t, v.moments.sums.Add(t.Context(), rows, func(i int, to, _ []float32) {
		for j := range to {
			to[j] = float32(x.At(i, j))
		}
	}))
	products, err := p.weightProducts(t.Context(), v)
	require.NoError(t, err)
	s, err := newSpace(t.Context(), gram.NewProducts(nil), v)
	require.NoError(t, err)
	whole := 0.0
	for i := range n {
		whole += s.covariance[i*n+i] * products[i*n+i]
		for j := i + 1; j < n; j++ {
			whole += 2 * s.covariance[i*n+j] * products[i*n+j]
		}
	}
	s.ridge = ridge
	require.NoError(t, p.read(t.Context(), s, v))
	require.True(t, s.prepare())
	return tested{s, whole}
}

func TestManyChannelsCountAsIndependent(t *testing.T) {
	w := []float64{1, 2, 0}
	v := view{source: source{n: 3}, moments: &moments{squares: []float64{5, 3, 9}, count: 1}, outputs: 1, positions: map[coupling.UnitID][]int32{7: {1}, 8: {0, 2}}, w: func(i, _ int) float64 { return w[i] }}
	s, err := newSpace(t.Context(), gram.NewProducts(nil), v)
	require.NoError(t, err)
	p := &pass{}
	require.NoError(t, p.read(t.Context(), s, v))
	require.True(t, s.prepare())
	require.InEpsilon(t, 4*3./(5+4*3), s.cost(7), 1e-12)
	before := s.cost(8)
	require.NoError(t, s.remove(t.Context(), 7))
	require.Equal(t, before, s.cost(8))
	v.w = func(int, int) float64 { return 0 }
	none, err := p.spaces(t.Context(), []view{v})
	require.NoError(t, err)
	require.Empty(t, none, "outputs that never change")
}

// Positions of chunks are those that all samples at once would have.
func TestPositionsOfChunks(t *testing.T) {
	const per, samples = 700, 30
	var got []int
	for _, c := range [][2]int{{0, 7}, {7, 7}, {14, 7}, {21, 9}} {
		for _, r := range positions(per*samples, c[0]*per, c[1]*per) {
			got = append(got, c[0]*per+r)
		}
	}
	require.Equal(t, positions(per*samples, 0, per*samples), got)
	require.Len(t, got, maxRows)
}

// fake gives a model's first convolution or product as output, whatever the model is.
type fake map[string]repair.Array

func (f fake) Run(_ context.Context, m *onnxio.Model, _ map[string]repair.Array) ([]repair.Array, error) {
	var out []repair.Array
	for _, o := range m.Graph.Outputs {
		v, ok := f[o.Name]
		if !ok {
			return nil, errors.New("no value " + o.Name)
		}
		out = append(out, v)
	}
	return out, nil
}

func tensor(name string, v []float64, dims ...int64) *onnxio.Tensor {
	t := &onnxio.Tensor{Name: name, Dims: dims, DataType: onnxio.Float}
	f := make([]float32, len(v))
	for i, x := range v {
		f[i] = float32(x)
	}
	t.SetRaw(make([]byte, 4*len(v)))
	if err := t.SetFloat32s(f); err != nil {
		panic(err)
	}
	return t
}

func value(name string, dims ...int64) *onnxio.ValueInfo {
	s := &onnxio.Shape{}
	for _, d := range dims {
		s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
}

func model(op string, n int64, w1, w2 *onnxio.Tensor, attributes ...*onnxio.Attribute) *onnxio.Model {
	node := func(op, out string, in ...string) *onnxio.Node {
		return &onnxio.Node{OpType: op, Inputs: in, Outputs: []string{out}}
	}
	first, second := node(op, "a", "x", "w1"), node(op, "y", "b", "w2")
	second.Attributes = attributes
	in := value("x", 30, n)
	if op == "Conv" {
		in = value("x", 5, n, 3, 2)
	}
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}}, Graph: &onnxio.Graph{Name: "g", Nodes: []*onnxio.Node{first, node("Relu", "b", "a"), second},
		Initializers: []*onnxio.Tensor{w1, w2}, Inputs: []*onnxio.ValueInfo{in}, Outputs: []*onnxio.ValueInfo{value("y")}}}
}

// The channel that another one repeats leaves first, however large its weights are; of the two that are left of a kind, the smaller one.
func TestRepetitionsLeaveFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	const rows, n = 30, 4
	w1, w2 := normal(r, 3*n), normal(r, n*2)
	for i := range 3 {
		w1[i*n+2] = 5 * w1[i*n]
	}
	x := normal(r, rows*n)
	for i := range rows {
		x[i*n+2] = 5 * x[i*n] // what the first layer would give
	}
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v)
	}
	dense := model("MatMul", 3, tensor("w1", w1, 3, n), tensor("w2", w2, n, 2))
	scores := func(m *onnxio.Model, b repair.Array) planner.Scores {
		a, err := coupling.Analyze(m)
		require.NoError(t, err)
		s, err := Scores(context.Background(), fake{"b": b}, m, a, OBS, nil)
		require.NoError(t, err)
		l2, err := planner.Score(a, nil, planner.Criterion{})
		require.NoError(t, err)
		require.ElementsMatch(t, finite(l2), finite(s), "the scores of a group are its own")
		return finite(s)
	}
	got := scores(dense, repair.Array{Dims: []int{rows, n}, Floats: f, Type: onnxio.Float})
	require.Equal(t, 0, indexOfLeast(got)%2, "one of the two that say the same: %v", got)

	// The same as a 1x1 convolution, and with its output channels in two groups that read it side by side.
	conv := make([]float32, len(f)) // [5, n, 3, 2]
	for i := range 5 {
		for c := range n {
			for p := range 6 {
				conv[(i*n+c)*6+p] = f[(i*6+p)*n+c]
			}
		}
	}
	transposed := func(v []float64, rows, cols int) []float64 {
		out := make([]float64, len(v))
		for i := range rows {
			for j := range cols {
				out[j*rows+i] = v[i*cols+j]
			}
		}
		return out
	}
	same := scores(model("Conv", 3, tensor("w1", transposed(w1, 3, n), n, 3, 1, 1), tensor("w2", transposed(w2, n, 2), 2, n, 1, 1)), repair.Array{Dims: []int{5, n, 3, 2}, Floats: conv, Type: onnxio.Float})
	require.InDeltaSlice(t, got, same, 1e-6)

	// The same fused with an activation, transposed, and with a weight that is dequantised.
	b := repair.Array{Dims: []int{rows, n}, Floats: f, Type: onnxio.Float}
	images := repair.Array{Dims: []int{5, n, 3, 2}, Floats: conv, Type: onnxio.Float}
	fused := model("MatMul", 3, tensor("w1", w1, 3, n), tensor("w2", w2, n, 2))
	fused.OpsetImport = append(fused.OpsetImport, &onnxio.OpsetID{Domain: "com.microsoft", Version: 1})
	last := fused.Graph.Nodes[2]
	last.OpType, last.Domain, last.Attributes = "FusedGemm", "com.microsoft", []*onnxio.Attribute{{Name: "activation", Type: onnxio.AttrString, S: []byte("Relu")}}
	require.Equal(t, got, scores(fused, b))
	up := model("Conv", 3, tensor("w1", transposed(w1, 3, n), n, 3, 1, 1), tensor("w2", w2, n, 2, 1, 1))
	up.Graph.Nodes[2].OpType = "ConvTranspose"
	require.InDeltaSlice(t, got, scores(up, images), 1e-6)
}

// A weight of integers behind a DequantizeLinear is scored as the numbers that it stands for.
func TestDequantisedWeights(t *testing.T) {
	m := model("MatMul", 3, tensor("w1", normal(rand.New(rand.NewPCG(1, 2)), 12), 3, 4), &onnxio.Tensor{Name: "q", DataType: onnxio.Int8, Dims: []int64{4, 2}, RawData: []byte{1, 2, 3, 4, 5, 6, 7, 8}})
	m.Graph.Initializers = append(m.Graph.Initializers, tensor("s", []float64{.5}))
	m.Graph.Initializers[2].Dims = nil
	m.Graph.Nodes = append([]*onnxio.Node{{OpType: "DequantizeLinear", Inputs: []string{"q", "s"}, Outputs: []string{"w2"}}}, m.Graph.Nodes...)
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	layers := layersOf(m.Graph, a)
	require.Contains(t, layers, "q")
	require.Contains(t, layers, "w1")
	require.Equal(t, "b", layers["q"].node.Inputs[0])
	x := repair.Array{Dims: []int{4, 4}, Floats: []float32{9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9}, Type: onnxio.Float}
	s, err := Scores(context.Background(), fake{"b": x}, m, a, Hessian, nil)
	require.NoError(t, err)
	require.Equal(t, 0, indexOfLeast(finite(s)), "the weights of channel 0 are small: %v", s)
}

func finite(s planner.Scores) []float64 {
	var out []float64
	for _, v := range s {
		if v == v {
			out = append(out, v)
		}
	}
	return out
}

func indexOfLeast(v []float64) int {
	best := 0
	for i, x := range v {
		if x < v[best] {
			best = i
		}
	}
	return best
}

// Each group of a grouped convolution is a reader with its own channels and outputs.
func TestGroupedConvolution(t *testing.T) {
	w := make([]float32, 4*2)
	for i := range w {
		w[i] = float32(i)
	}
	for k, want := range [][]float64{{0, 2, 1, 3}, {4, 6, 5, 7}} {
		outputs, at := weights(w, []int64{4, 2, 1, 1}, 1, k, 2)
		var got []float64
		for i := range 2 {
			for o := range outputs {
				got = append(got, at(i, o))
			}
		}
		require.Equal(t, want, got)
	}
}

func TestScoresReportsTheEngine(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	m := model("MatMul", 3, tensor("w1", normal(r, 12), 3, 4), tensor("w2", normal(r, 8), 4, 2))
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	_, err = Scores(context.Background(), fake{}, m, a, OBS, nil)
	require.ErrorContains(t, err, "no value b")
	// A weight with two readers is nobody's.
	m.Graph.Nodes = append(m.Graph.Nodes, &onnxio.Node{OpType: "Identity", Inputs: []string{"w2"}, Outputs: []string{"z"}})
	require.Empty(t, layersOf(m.Graph, a)["w2"])
}

func TestMixed(t *testing.T) {
	scores := planner.Scores{1, 2, 3, 4, 5}
	require.Equal(t, []coupling.UnitID{0, 1, 2, 3, 4}, mixed([]coupling.UnitID{0, 1, 2, 3, 4}, scores))
	require.Equal(t, []coupling.UnitID{4, 3, 2, 1, 0}, mixed([]coupling.UnitID{4, 3, 2, 1, 0}, scores), "three places against one")
	require.Equal(t, []coupling.UnitID{0, 1, 3, 2, 4}, mixed([]coupling.UnitID{1, 0, 3, 2, 4}, planner.Scores{1, 5, 3, 2, 4}))
}

// Worked by hand: two samples of three channels, and the second layer's weights by input.
func TestWandaAndHessian(t *testing.T) {
	b := []float32{3, 0, 1, 4, 2, 1}    // rows (3, 0, 1) and (4, 2, 1): mean squares 12.5, 2, 1
	w2 := []float64{1, -1, 2, 0, -3, 1} // by input (1, -1), (2, 0), (-3, 1)
	x := repair.Array{Dims: []int{2, 3}, Floats: b, Type: onnxio.Float}
	m := model("MatMul", 3, tensor("w1", normal(rand.New(rand.NewPCG(9, 9)), 9), 3, 3), tensor("w2", w2, 3, 2))
	a, err := coupling.Analyze(m)
	require.NoError(t, err)
	root := math.Sqrt2
	for criterion, want := range map[string][]float64{
		Wanda:   {2 * 5 / root, 2 * root, 4},              // sums of magnitudes 2, 2, 4 times 5/sqrt(2), sqrt(2), 1
		Hessian: {.5 * 2 * 12.5, .5 * 4 * 2, .5 * 10 * 1}, // sums of squares 2, 4, 10
	} {
		s, err := Scores(context.Background(), fake{"b": x}, m, a, criterion, nil)
		require.NoError(t, err)
		total := want[0] + want[1] + want[2]
		for i := range want {
			want[i] *= 3 / total
		}
		require.InDeltaSlice(t, want, finite(s)[:3], 1e-6, criterion)
	}

	// The same numbers as a convolution over positions.
	conv := repair.Array{Dims: []int{1, 3, 2, 1}, Floats: []float32{3, 4, 0, 2, 1, 1}, Type: onnxio.Float}
	for _, c := range []struct {
		source source
		want   []float64
	}{{source{"", 1, 0, 3}, []float64{12.5, 2, 1}}, {source{"", 1, 1, 2}, []float64{2, 1}}} {
		sum := &moments{squares: make([]float64, c.source.n)}
		sum.square(conv, c.source)
		require.Equal(t, c.want, sum.means())
	}
}
