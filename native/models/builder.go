package models

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/metaprune/metaprune/onnxio"
)

// opset of the models.
const opset = 17

// builder puts a graph together; x is the value that the next layer reads.
type builder struct {
	g    *onnxio.Graph
	rand *rand.Rand
	dims []int // of x without the batch
	x    string
	n    map[string]int // running numbers of unnamed values
}

func newBuilder(o Options) *builder {
	return &builder{g: &onnxio.Graph{}, rand: rand.New(rand.NewPCG(o.Seed, 0x0de1)), dims: o.Input, x: "image", n: map[string]int{}}
}

func (b *builder) fresh(kind string) string {
	b.n[kind]++
	return fmt.Sprintf("%s_%d", kind, b.n[kind])
}

func (b *builder) node(op string, outs int, in []string, attrs ...*onnxio.Attribute) []string {
	var out []string
	for range outs {
		out = append(out, b.fresh(op))
	}
	b.g.Nodes = append(b.g.Nodes, &onnxio.Node{OpType: op, Name: "node_" + out[0], Inputs: in, Outputs: out, Attributes: attrs})
	return out
}

// op adds a node with one output and makes it the current value.
func (b *builder) op(op string, in []string, attrs ...*onnxio.Attribute) string {
	b.x = b.node(op, 1, in, attrs...)[0]
	return b.x
}

func intsAttr(name string, v ...int) *onnxio.Attribute {
	a := &onnxio.Attribute{Name: name, Type: onnxio.AttrInts}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}

func intAttr(name string, v int) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrInt, I: int64(v)}
}

func floatAttr(name string, v float32) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrFloat, F: v}
}

// tensor adds an initializer filled by f.
func (b *builder) tensor(name string, f func() float64, dims ...int) string {
	t := &onnxio.Tensor{Name: name, DataType: onnxio.Float}
	n := 1
	for _, d := range dims {
		t.Dims = append(t.Dims, int64(d))
		n *= d
	}
	raw := make([]byte, 0, 4*n)
	for range n {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(f())))
	}
	t.SetRaw(raw)
	b.g.Initializers = append(b.g.Initializers, t)
	return name
}

func (b *builder) ints(v ...int64) string {
	name := b.fresh("shape")
	b.g.Initializers = append(b.g.Initializers, onnxio.NewInt64s(name, v))
	return name
}

func constant(v float64) func() float64 { return func() float64 { return v } }

func (b *builder) normal(std float64) func() float64 {
	return func() float64 { return b.rand.NormFloat64() * std }
}

func (b *builder) uniform(bound float64) func() float64 {
	return func() float64 { return (2*b.rand.Float64() - 1) * bound }
}

// conv adds a convolution without bias over out channels in groups, padded to keep the extent at stride 1.
func (b *builder) conv(name string, out, k, stride, groups int) {
	in, p := b.dims[0], k/2
	w := b.tensor(name+".weight", b.normal(math.Sqrt(2/float64(out*k*k/groups))), out, in/groups, k, k)
	b.op("Conv", []string{b.x, w}, intsAttr("kernel_shape", k, k), intsAttr("strides", stride, stride), intsAttr("pads", p, p, p, p), intAttr("group", groups))
	b.dims = []int{out, (b.dims[1]+2*p-k)/stride + 1, (b.dims[2]+2*p-k)/stride + 1}
}

func (b *builder) norm(name string) {
	c := b.dims[0]
	b.op("BatchNormalization", []string{b.x, b.tensor(name+".weight", constant(1), c), b.tensor(name+".bias", constant(0), c),
		b.tensor(name+".running_mean", constant(0), c), b.tensor(name+".running_var", constant(1), c)}, floatAttr("epsilon", 1e-5), floatAttr("momentum", .9))
}

func (b *builder) relu()  { b.op("Relu", []string{b.x}) }
func (b *builder) relu6() { b.op("Clip", []string{b.x, b.scalar("zero", 0), b.scalar("six", 6)}) }

func (b *builder) scalar(name string, v float64) string {
	for _, t := range b.g.Initializers {
		if t.Name == name {
			return name
		}
	}
	return b.tensor(name, constant(v))
}

func (b *builder) add(y string) { b.op("Add", []string{b.x, y}) }

func (b *builder) maxPool(k, stride, pad int) {
	b.op("MaxPool", []string{b.x}, intsAttr("kernel_shape", k, k), intsAttr("strides", stride, stride), intsAttr("pads", pad, pad, pad, pad))
	b.dims = []int{b.dims[0], (b.dims[1]+2*pad-k)/stride + 1, (b.dims[2]+2*pad-k)/stride + 1}
}

// pooled averages over the picture and flattens.
func (b *builder) pooled() {
	b.op("GlobalAveragePool", []string{b.x})
	b.op("Flatten", []string{b.x}, intAttr("axis", 1))
	b.dims = b.dims[:1]
}

func (b *builder) flatten() {
	n := 1
	for _, d := range b.dims {
		n *= d
	}
	if len(b.dims) > 1 {
		b.op("Flatten", []string{b.x}, intAttr("axis", 1))
	}
	b.dims = []int{n}
}

// linear adds a fully connected layer on [N, features].
func (b *builder) linear(name string, out int) {
	in := b.dims[len(b.dims)-1]
	bound := 1 / math.Sqrt(float64(in))
	b.op("Gemm", []string{b.x, b.tensor(name+".weight", b.uniform(bound), out, in), b.tensor(name+".bias", b.uniform(bound), out)}, intAttr("transB", 1))
	b.dims = []int{out}
}

// model closes the graph with the current value as its output.
func (b *builder) model(name string, o Options) (*onnxio.Model, error) {
	last := b.g.Nodes[len(b.g.Nodes)-1]
	last.Outputs[0] = "logits"
	b.g.Name = name
	b.g.Inputs = []*onnxio.ValueInfo{valueInfo("image", o.Input)}
	b.g.Outputs = []*onnxio.ValueInfo{valueInfo("logits", []int{o.Classes})}
	for _, d := range b.dims {
		if d < 1 {
			return nil, fmt.Errorf("%s: an input of %dx%dx%d is too small for its strides", name, o.Input[0], o.Input[1], o.Input[2])
		}
	}
	return &onnxio.Model{IRVersion: 8, ProducerName: "metaprune", OpsetImport: []*onnxio.OpsetID{{Version: opset}}, Graph: b.g}, nil
}

func valueInfo(name string, dims []int) *onnxio.ValueInfo {
	s := &onnxio.Shape{Dims: []*onnxio.Dim{{Param: "batch"}}}
	for _, d := range dims {
		s.Dims = append(s.Dims, &onnxio.Dim{Value: int64(d), HasValue: true})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
}
