package graphcodec_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/draw"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// hiding says what is left to know of an input.
type hiding int

const (
	nothing    hiding = iota // hidden
	all                      // behind an operator of another domain: neither type nor rank
	allButType               // the same, with a declared type
	lengths                  // a declared rank, its lengths free
	rank                     // behind a Reshape whose target is a graph input: the type is known
)

func (h hiding) String() string {
	return []string{"nothing", "all", "all but type", "lengths", "rank"}[h]
}

// spec is one line of testdata/operators.txt.
type spec struct {
	domain, op string
	inputs     []string
	attributes []*onnxio.Attribute
}

func readSpecs(t *testing.T) []spec {
	data, err := os.ReadFile("testdata/operators.txt")
	require.NoError(t, err)
	var out []spec
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		node, attrs, _ := strings.Cut(line, " | ")
		fields := strings.Fields(node)
		s := spec{op: fields[0], inputs: fields[1:]}
		if i := strings.LastIndexByte(s.op, '.'); i >= 0 {
			s.domain, s.op = s.op[:i], s.op[i+1:]
		}
		for _, a := range strings.Fields(attrs) {
			name, value, _ := strings.Cut(a, "=")
			s.attributes = append(s.attributes, attribute(name, value))
		}
		out = append(out, s)
	}
	return out
}

func attribute(name, value string) *onnxio.Attribute {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return &onnxio.Attribute{Name: name, Type: onnxio.AttrInt, I: n}
	}
	if list := numbersOf(value); list != nil {
		return &onnxio.Attribute{Name: name, Type: onnxio.AttrInts, Ints: list}
	}
	if strings.HasPrefix(value, "0.5") {
		a := &onnxio.Attribute{Name: name, Type: onnxio.AttrFloats}
		for range strings.Split(value, ",") {
			a.Floats = append(a.Floats, .5)
		}
		return a
	}
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrString, S: []byte(value)}
}

func numbersOf(s string) []int64 {
	out := []int64{}
	for _, part := range strings.Split(strings.TrimSuffix(s, ","), ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil && part != "" {
			return nil
		}
		if part != "" {
			out = append(out, n)
		}
	}
	return out
}

// build is a network in which one node of a spec stands between layers, beside a pair of layers that can always be pruned.
type build struct {
	m    *onnxio.Model
	made int
}

func newBuild(opset int64) *build {
	b := &build{m: &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: opset}, {Domain: "com.microsoft", Version: 1}, {Domain: "ai.onnx.ml", Version: 5}, {Domain: "other", Version: 1}}, Graph: &onnxio.Graph{Name: "g"}}}
	b.input("beside", onnxio.Float, 2, 6)
	b.node("", "MatMul", []string{"beside", b.tensor(onnxio.Float, 6, 16)}, "hidden")
	b.node("", "Relu", []string{"hidden"}, "relu")
	b.node("", "MatMul", []string{"relu", b.tensor(onnxio.Float, 16, 3)}, "z")
	b.m.Graph.Outputs = []*onnxio.ValueInfo{{Name: "z"}}
	return b
}

func (b *build) name(kind string) string {
	b.made++
	return fmt.Sprint(kind, b.made)
}

func (b *build) input(name string, t onnxio.DataType, dims ...int64) string {
	b.m.Graph.Inputs = append(b.m.Graph.Inputs, valueInfo(name, t, dims))
	return name
}

func valueInfo(name string, t onnxio.DataType, dims []int64) *onnxio.ValueInfo {
	s := &onnxio.Shape{}
	for _, d := range dims {
		s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: d >= 0, Param: map[bool]string{true: "free"}[d < 0]})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: t, Shape: s}}}
}

func (b *build) tensor(t onnxio.DataType, dims ...int64) string {
	size := map[onnxio.DataType]int{onnxio.Float: 4, onnxio.Uint8: 1, onnxio.Int32: 4, onnxio.Bool: 1}[t]
	for _, d := range dims {
		size *= int(d)
	}
	name := b.name("w")
	b.m.Graph.Initializers = append(b.m.Graph.Initializers, &onnxio.Tensor{Name: name, DataType: t, Dims: dims, RawData: make([]byte, size)})
	return name
}

func (b *build) node(domain, op string, in []string, out ...string) *onnxio.Node {
	n := &onnxio.Node{Domain: domain, OpType: op, Name: b.name("node"), Inputs: in, Outputs: out}
	b.m.Graph.Nodes = append(b.m.Graph.Nodes, n)
	return n
}

var kinds = map[string]onnxio.DataType{"a": onnxio.Float, "w": onnxio.Float, "a8": onnxio.Uint8, "w8": onnxio.Uint8, "ai": onnxio.Int64, "wi": onnxio.Int32, "ab": onnxio.Bool, "wb": onnxio.Bool}

// value makes what an input of a spec names.
func (b *build) value(in string, h hiding) string {
	if in == "_" {
		return ""
	}
	at := strings.IndexAny(in, "[(")
	switch {
	case in == "q":
		name := b.name("q")
		b.node("", "SequenceConstruct", []string{b.value("a[2,6]", h), b.value("a[2,6]", nothing)}, name)
		return name
	case in[at] == '(':
		t := onnxio.NewInt64s(b.name("i"), numbersOf(in[at+1:len(in)-1]))
		if in[0] == 's' {
			t.Dims = []int64{}
		}
		b.m.Graph.Initializers = append(b.m.Graph.Initializers, t)
		return b.hide(t.Name, onnxio.Int64, t.Dims, h)
	}
	kind, dims := kinds[in[:at]], numbersOf(in[at+1:len(in)-1])
	if in[0] == 'w' {
		return b.hide(b.tensor(kind, dims...), kind, dims, h)
	}
	return b.hide(b.layered(b.input(b.name("x"), kind, dims...), kind, dims), kind, dims, h)
}

// layered puts a layer in front whose channels can be pruned, and a quantisation where integers of 8 bits are wanted.
func (b *build) layered(x string, t onnxio.DataType, dims []int64) string {
	if t != onnxio.Float && t != onnxio.Uint8 || len(dims) < 2 {
		return x
	}
	if t == onnxio.Uint8 {
		x = b.input(b.name("x"), onnxio.Float, dims...)
	}
	y := b.name("layer")
	if n := len(dims); n == 4 {
		b.node("", "Conv", []string{x, b.tensor(onnxio.Float, dims[1], dims[1], 1, 1)}, y)
	} else {
		b.node("", "MatMul", []string{x, b.tensor(onnxio.Float, dims[n-1], dims[n-1])}, y)
	}
	if t == onnxio.Uint8 {
		q := b.name("quantised")
		b.node("", "QuantizeLinear", []string{y, b.tensor(onnxio.Float), b.tensor(onnxio.Uint8)}, q)
		return q
	}
	return y
}

func (b *build) hide(x string, t onnxio.DataType, dims []int64, h hiding) string {
	if h == nothing {
		return x
	}
	y := b.name("hidden")
	switch h {
	case rank:
		b.node("", "Reshape", []string{x, b.input(b.name("shape"), onnxio.Int64, -1)}, y)
		return y
	case allButType:
		b.m.Graph.ValueInfos = append(b.m.Graph.ValueInfos, &onnxio.ValueInfo{Name: y, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: t}}})
	case lengths:
		free := slices.Repeat([]int64{-1}, len(dims))
		b.m.Graph.ValueInfos = append(b.m.Graph.ValueInfos, valueInfo(y, t, free))
	}
	b.node("other", "Mystery", []string{x}, y)
	return y
}

// operator adds the spec's node. Hidden are the inputs that which names; dropped ones are left out, as are the outputs that wanted denies.
func (b *build) operator(s spec, h hiding, hidden, dropped func(i int) bool, wanted []bool) {
	n := &onnxio.Node{Domain: s.domain, OpType: s.op, Name: "tested", Attributes: slices.Clone(s.attributes)}
	for i, in := range s.inputs {
		how := nothing
		if hidden(i) {
			how = h
		}
		if dropped(i) {
			in = "_"
		}
		n.Inputs = append(n.Inputs, b.value(in, how))
	}
	if s.op == "If" || s.op == "Loop" || s.op == "Scan" {
		b.body(n)
	}
	for i, w := range wanted {
		if n.Outputs = append(n.Outputs, ""); !w {
			continue
		}
		n.Outputs[i] = fmt.Sprint("out", i)
	}
	b.m.Graph.Nodes = append(b.m.Graph.Nodes, n)
	for i, w := range wanted {
		if w {
			b.node("", "ReduceL2", []string{n.Outputs[i]}, fmt.Sprint("y", i)).Attributes = []*onnxio.Attribute{{Name: "keepdims", Type: onnxio.AttrInt}}
			b.m.Graph.Outputs = append(b.m.Graph.Outputs, &onnxio.ValueInfo{Name: fmt.Sprint("y", i)})
		}
	}
}

// body gives If, Loop and Scan one that captures a value or passes on what it takes.
func (b *build) body(n *onnxio.Node) {
	captured := b.value("a[2,6]", all)
	relu := func(in, out string) *onnxio.Node {
		return &onnxio.Node{OpType: "Relu", Inputs: []string{in}, Outputs: []string{out}}
	}
	out := func(names ...string) (list []*onnxio.ValueInfo) {
		for _, name := range names {
			list = append(list, &onnxio.ValueInfo{Name: name})
		}
		return list
	}
	attr := func(name string, g *onnxio.Graph) {
		n.Attributes = append(n.Attributes, &onnxio.Attribute{Name: name, Type: onnxio.AttrGraph, G: g})
	}
	switch n.OpType {
	case "If":
		attr("then_branch", &onnxio.Graph{Name: "then", Nodes: []*onnxio.Node{relu(captured, "b1")}, Outputs: out("b1")})
		attr("else_branch", &onnxio.Graph{Name: "else", Nodes: []*onnxio.Node{relu(captured, "b2")}, Outputs: out("b2")})
	case "Loop":
		attr("body", &onnxio.Graph{Name: "body", Inputs: out("trip", "go", "state"), Nodes: []*onnxio.Node{relu("state", "b1")}, Outputs: out("go", "b1")})
	default:
		attr("body", &onnxio.Graph{Name: "body", Inputs: out("state", "slice"), Nodes: []*onnxio.Node{relu("slice", "b1"), relu("state", "b2")}, Outputs: out("b2", "b1")})
	}
}

// prunes analyses, encodes, prunes at several ratios and analyses what comes out. A file that contradicts itself may be refused; nothing may break.
func prunes(t *testing.T, m *onnxio.Model, about string) {
	t.Helper()
	data, err := m.Marshal()
	require.NoError(t, err, about)
	m, err = onnxio.Decode(data, nil)
	require.NoError(t, err, about)
	a, err := coupling.Analyze(m)
	if err != nil {
		require.NotContains(t, err.Error(), "please report", about)
		return
	}
	for i := range a.Groups {
		a.Path(i)
	}
	if n, err := graphcodec.Encode(a, graphcodec.Universal); err == nil {
		require.NoError(t, draw.WriteSVG(&bytes.Buffer{}, n, "g"), about)
		d, err := n.Decoder(n.Nodes, nil)
		require.NoError(t, err, about)
		same, err := d.Model()
		require.NoError(t, err, about)
		require.Same(t, m, same, about)
	} else {
		require.NotContains(t, err.Error(), "please report", about)
	}
	for seed, ratio := range []float64{.2, .5, .95} {
		r, s := rand.New(rand.NewPCG(1, uint64(seed))), a.NewState()
		for i := range a.Groups {
			for _, u := range a.Groups[i].Units {
				if r.Float64() < ratio && s.CanRemove(u) {
					s.Remove(u)
				}
			}
		}
		small, err := a.Shrink(s)
		require.NoError(t, err, "%s, %g of the channels", about, ratio)
		for _, n := range small.Graph.Nodes {
			for _, at := range n.Attributes {
				require.False(t, at.Name == "qkv_hidden_sizes" && slices.Contains(at.Ints, 0), "%s, %g of the channels: %v", about, ratio, at.Ints)
			}
		}
		_, err = coupling.Analyze(small)
		require.NoError(t, err, "%s, %g of the channels", about, ratio)
	}
}

// Every operator with a rule, with what is known of its inputs hidden one by one and all at once, inputs left out, and outputs that nothing wants: nothing breaks.
func TestOperatorsBehindTheUnknown(t *testing.T) {
	specs := readSpecs(t)
	have := map[string]bool{}
	for _, s := range specs {
		have[s.domain+":"+s.op] = true
	}
	var missing []string
	for _, o := range op.Operators() {
		if !have[o.Domain+":"+o.Op] {
			missing = append(missing, o.Domain+"."+o.Op)
		}
	}
	require.Empty(t, missing, "operators without a line in testdata/operators.txt")
	for i, s := range specs {
		if testing.Short() && runtime.GOOS == "js" && i%4 != 0 {
			continue // a short run tries all of them in native code
		}
		t.Run(fmt.Sprint(s.op, " ", i), func(t *testing.T) {
			for _, opset := range []int64{24, 11} {
				behindTheUnknown(t, s, opset)
			}
		})
	}
}

func behindTheUnknown(t *testing.T, s spec, opset int64) {
	never, always, one := func(int) bool { return false }, func(int) bool { return true }, []bool{true}
	try := func(about string, h hiding, hidden, dropped func(int) bool, wanted []bool) {
		b := newBuild(opset)
		b.operator(s, h, hidden, dropped, wanted)
		prunes(t, b.m, fmt.Sprintf("%s.%s %v, operator set %d: %s", s.domain, s.op, s.inputs, opset, about))
	}
	try("as it is", nothing, never, never, one)
	for _, wanted := range [][]bool{{}, {false, true}, {true, true, true}, {false, false, true, true}} {
		try(fmt.Sprintf("outputs wanted %v", wanted), nothing, never, never, wanted)
	}
	for h := all; h <= rank; h++ {
		try(fmt.Sprintf("%v of all inputs hidden", h), h, always, never, one)
		for k := range s.inputs {
			try(fmt.Sprintf("%v of input %d hidden", h, k), h, func(i int) bool { return i == k }, never, one)
			if h != all {
				continue
			}
			try(fmt.Sprintf("%v of all inputs but %d hidden", h, k), h, func(i int) bool { return i != k }, never, one)
		}
	}
	for k := range s.inputs {
		try(fmt.Sprintf("input %d left out", k), nothing, never, func(i int) bool { return i == k }, one)
		cut := s
		cut.inputs = s.inputs[:k]
		b := newBuild(opset)
		b.operator(cut, all, never, never, one)
		prunes(t, b.m, fmt.Sprintf("%s.%s, operator set %d: its first %d inputs", s.domain, s.op, opset, k))
	}
}

// Files with values of unknown rank: what can be pruned is, and nothing breaks.
func TestModelsOfUnknownRank(t *testing.T) {
	for name, prunable := range map[string]int{"grouped": 16, "nchwc": 0} {
		data, err := os.ReadFile("testdata/unknown/" + name + ".onnx")
		require.NoError(t, err)
		m, err := onnxio.Decode(data, nil)
		require.NoError(t, err)
		prunes(t, m, name)
		a, err := coupling.Analyze(m)
		require.NoError(t, err)
		units := 0
		for i := range a.Groups {
			if a.Groups[i].Frozen == "" {
				units += len(a.Groups[i].Units)
			}
		}
		require.Equal(t, prunable, units, name)
	}
}

// A second input of unknown rank may hold a number for every channel: those that it would belong to stay.
func TestUnknownSecondInputsKeepChannels(t *testing.T) {
	for _, c := range []struct {
		domain, op     string
		hidden, weight int
		axis           int
	}{
		{"", "Conv", 2, 1, 0}, {"", "ConvTranspose", 2, 1, 1}, {"", "DeformConv", 3, 1, 0}, {"", "Gemm", 2, 1, 1},
		{"", "QLinearConv", 4, 3, 0}, {"", "QLinearConv", 5, 3, 0}, {"", "QLinearConv", 8, 3, 0}, {"", "ConvInteger", 3, 1, 0},
		{"", "QLinearMatMul", 4, 3, 1}, {"", "QLinearMatMul", 5, 3, 1}, {"", "MatMulInteger", 3, 1, 1},
		{"", "LayerNormalization", 2, 1, 0}, {"", "LSTM", 3, 1, 1}, {"", "LSTM", 5, 1, 1}, {"", "LSTM", 7, 1, 1},
		{"com.microsoft", "DynamicQuantizeLSTM", 8, 1, 2}, {"com.microsoft", "DynamicQuantizeLSTM", 9, 1, 2},
		{"com.microsoft", "FusedConv", 3, 1, 0}, {"com.microsoft", "MatMulIntegerToFloat", 6, 1, 1}, {"com.microsoft", "DynamicQuantizeMatMul", 4, 1, 1},
		{"com.microsoft", "MatMulNBits", 5, 1, 0}, {"com.microsoft", "QGemm", 6, 3, 1}, {"com.microsoft", "QAttention", 2, 1, 1},
		{"com.microsoft", "MultiHeadAttention", 5, 3, 0}, {"com.microsoft", "MultiHeadAttention", 6, 3, 0},
	} {
		tried := 0
		for _, s := range readSpecs(t) {
			if s.domain != c.domain || s.op != c.op || c.hidden >= len(s.inputs) || s.inputs[c.hidden] == "_" {
				continue
			}
			about := fmt.Sprintf("%s %v, input %d hidden", s.op, s.inputs, c.hidden)
			b := newBuild(24)
			b.operator(s, all, func(i int) bool { return i == c.hidden }, func(int) bool { return false }, []bool{true})
			weight := b.m.Graph.Nodes[len(b.m.Graph.Nodes)-2].Inputs[c.weight]
			a, err := coupling.Analyze(b.m)
			require.NoError(t, err, about)
			state := a.NewState()
			for i := range a.Groups {
				for _, u := range a.Groups[i].Units {
					if state.CanRemove(u) {
						state.Remove(u)
					}
				}
			}
			small, err := a.Shrink(state)
			require.NoError(t, err, about)
			of := func(m *onnxio.Model) []int64 {
				i := slices.IndexFunc(m.Graph.Initializers, func(t *onnxio.Tensor) bool { return t.Name == weight })
				return m.Graph.Initializers[i].Dims
			}
			require.Equal(t, of(b.m)[c.axis], of(small)[c.axis], about)
			tried++
		}
		require.Positive(t, tried, c.op)
	}
}
