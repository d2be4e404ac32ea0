package randnet

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
)

// Options say which network is drawn, and how it is written down.
type Options struct {
	Seed  uint64
	Steps int   // operations that are drawn; 0 is 12
	Opset int64 // 13 to 22; 0 is 17
	Style Style
	Alike bool // no step tells channels apart by their index
}

// Style is a way of writing the same function.
type Style struct {
	Identities bool // an Identity behind every weight and every step
	MatMulAdd  bool // linear layers on [N, C] as MatMul and Add instead of Gemm
	Constants  bool // weights in Constant nodes instead of initializers
	FreeBatch  bool // a symbol for the batch
	// Biases of zeros: each its own, or one vector a length for all of them.
	ZeroBiases, SharedZeros bool
	Standardised            bool   // the graph normalises weights over the channels that they read; another function
	Hide                    Hiding // some inputs' ranks are hidden
}

// value is what a node gives: [N, C, H, W], [N, T, C] or [N, C].
type value struct {
	name string
	dims []int
	used bool
}

func (v *value) channels() int {
	if len(v.dims) == 3 {
		return v.dims[2]
	}
	return v.dims[1]
}

// net is a network on its way.
type net struct {
	Options
	g    *onnxio.Graph
	r    *rand.Rand
	veil *rand.Rand // what is hidden
	pool []*value
	step int
	n    map[string]int
}

// New draws a network. Its output is [N, 5].
func New(o Options) *onnxio.Model {
	if o.Steps == 0 {
		o.Steps = 12
	}
	if o.Opset == 0 {
		o.Opset = 17
	}
	n := &net{Options: o, g: &onnxio.Graph{Name: "random"}, r: rand.New(rand.NewPCG(o.Seed, 0x4a11d)), veil: rand.New(rand.NewPCG(o.Seed, 0x4e11)), n: map[string]int{}}
	n.input()
	for n.step = 1; n.step <= o.Steps; n.step++ {
		n.draw()
	}
	n.finish()
	m := &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: o.Opset}}, Graph: n.g}
	if o.Style.Hide == Mystery {
		m.OpsetImport = append(m.OpsetImport, &onnxio.OpsetID{Domain: MysteryDomain, Version: 1})
	}
	return m
}

func (n *net) input() {
	dims := []int{2, 3, 8, 8}
	switch n.r.IntN(4) {
	case 0:
		dims = []int{2, 9, 12}
	case 1:
		dims = []int{2, 24}
	}
	n.g.Inputs = []*onnxio.ValueInfo{n.declare("x", dims)}
	n.pool = []*value{{name: "x", dims: dims}}
	v := n.pool[0]
	switch len(dims) { // the first layer makes channels that may leave
	case 4:
		n.push(n.conv(v, 8+n.r.IntN(9), 3, 1, 1, 1))
	case 3:
		n.push(n.linear(v, 8+2*n.r.IntN(9)))
	default:
		n.push(n.linear(v, 16+n.r.IntN(17)))
	}
}

func (n *net) declare(name string, dims []int) *onnxio.ValueInfo {
	s := &onnxio.Shape{}
	for i, d := range dims {
		if i == 0 && n.Style.FreeBatch {
			s.Dims = append(s.Dims, &onnxio.Dim{Param: "batch"})
			continue
		}
		s.Dims = append(s.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
}

// draw applies one step to a value, mostly the last one.
func (n *net) draw() {
	v := n.pool[len(n.pool)-1]
	if n.r.IntN(5) == 0 {
		v = n.pool[1+n.r.IntN(len(n.pool)-1)]
	}
	var steps []func(*net, *value) *value
	switch len(v.dims) {
	case 4:
		steps = imageSteps
	case 3:
		steps = tokenSteps
	default:
		steps = featureSteps
	}
	if n.Alike {
		steps = alike[len(v.dims)]
	}
	for {
		if out := steps[n.r.IntN(len(steps))](n, v); out != nil {
			n.push(out)
			return
		}
	}
}

func (n *net) push(v *value) {
	if n.Style.Identities {
		v = n.node("Identity", v.dims, []string{v.name})
	}
	n.pool = append(n.pool, v)
}

// fresh numbers values; names of weights do not depend on it.
func (n *net) fresh(kind string) string {
	n.n[kind]++
	return fmt.Sprintf("%s_%d", kind, n.n[kind])
}

// node adds a node with one output of these dims.
func (n *net) node(op string, dims []int, in []string, attrs ...*onnxio.Attribute) *value {
	return n.nodes(op, [][]int{dims}, in, attrs...)[0]
}

func (n *net) nodes(op string, dims [][]int, in []string, attrs ...*onnxio.Attribute) []*value {
	var out []*value
	var names []string
	for _, d := range dims {
		out = append(out, &value{name: n.fresh(op), dims: d})
		names = append(names, out[len(out)-1].name)
	}
	for _, name := range in {
		for _, v := range n.pool {
			v.used = v.used || v.name == name
		}
	}
	in = n.hidden(in)
	n.g.Nodes = append(n.g.Nodes, &onnxio.Node{OpType: op, Name: "node_" + names[0], Inputs: in, Outputs: names, Attributes: attrs})
	return out
}

// weight is a constant whose numbers depend on the seed and on its name alone: normal with this standard deviation around mean.
func (n *net) weight(kind string, mean, std float64, dims ...int) string {
	base := fmt.Sprintf("s%d.%s", n.step, kind)
	n.n[base]++
	if n.n[base] > 1 {
		base = fmt.Sprint(base, n.n[base])
	}
	h := fnv.New64a()
	h.Write([]byte(base))
	r := rand.New(rand.NewPCG(n.Seed, h.Sum64()))
	size := 1
	for _, d := range dims {
		size *= d
	}
	v := make([]float32, size)
	if kind == "bias" && len(dims) == 1 && (n.Style.ZeroBiases || n.Style.SharedZeros) {
		return n.zeros(base, v)
	}
	for i := range v {
		v[i] = float32(mean + std*r.NormFloat64())
		if kind == "var" {
			v[i] = float32(math.Abs(float64(v[i]))) + .1
		}
	}
	return n.constant(floats(base, v, dims...))
}

// zeros is a bias of zeros.
func (n *net) zeros(name string, v []float32) string {
	if !n.Style.SharedZeros {
		return n.constant(floats(name, v, len(v)))
	}
	name = fmt.Sprintf("zeros.%d", len(v))
	if n.n[name]++; n.n[name] == 1 {
		n.g.Initializers = append(n.g.Initializers, floats(name, v, len(v)))
	}
	return name
}

// constant puts a tensor where the style wants it.
func (n *net) constant(t *onnxio.Tensor) string {
	name := t.Name
	if n.Style.Identities && t.DataType == onnxio.Float && len(t.Dims) > 0 && !strings.HasPrefix(t.Name, "scales") {
		name = t.Name + ".same"
		n.g.Nodes = append(n.g.Nodes, &onnxio.Node{OpType: "Identity", Inputs: []string{t.Name}, Outputs: []string{name}})
	}
	if !n.Style.Constants {
		n.g.Initializers = append(n.g.Initializers, t)
		return name
	}
	at := len(n.g.Nodes)
	if name != t.Name {
		at--
	}
	c := onnxio.ConstantNode(t.Name, t)
	n.g.Nodes = append(n.g.Nodes[:at], append([]*onnxio.Node{c}, n.g.Nodes[at:]...)...)
	return name
}

func (n *net) ints(v ...int) string {
	l := make([]int64, len(v))
	for i, x := range v {
		l[i] = int64(x)
	}
	return n.constant(onnxio.NewInt64s(n.fresh("ints"), l))
}

// finish brings every loose end to [N, C], side by side, into one linear layer.
func (n *net) finish() {
	var ends []*value
	for _, v := range n.pool[1:] {
		if !v.used {
			ends = append(ends, v)
		}
	}
	n.step = n.Steps + 1
	var names []string
	width := 0
	for _, v := range ends {
		v = n.features(v)
		names = append(names, v.name)
		width += v.dims[1]
	}
	v := &value{name: names[0], dims: []int{2, width}}
	if len(names) > 1 {
		v = n.node("Concat", v.dims, names, integer("axis", 1))
	}
	out := n.linear(v, 5)
	n.g.Nodes[len(n.g.Nodes)-1].Outputs[0] = "y"
	n.g.Outputs = []*onnxio.ValueInfo{n.declare("y", out.dims)}
}

// features averages over what is not a channel.
func (n *net) features(v *value) *value {
	switch len(v.dims) {
	case 4:
		p := n.node("GlobalAveragePool", []int{v.dims[0], v.dims[1], 1, 1}, []string{v.name})
		return n.node("Flatten", v.dims[:2], []string{p.name}, integer("axis", 1))
	case 3:
		return n.reduce("ReduceMean", v, []int{v.dims[0], v.dims[2]}, false, 1)
	}
	return v
}
