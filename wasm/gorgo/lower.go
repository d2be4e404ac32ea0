package gorgo

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
)

// lowering rewrites a model for the engine.
type lowering struct {
	a       *coupling.Analysis
	consts  map[string]*onnxio.Tensor
	readers map[string]int
	out     *onnxio.Graph
	alias   map[string]string // values that stand for others
}

func unsupported(n *onnxio.Node, format string, args ...any) error {
	name := n.Name
	if name == "" && len(n.Outputs) > 0 {
		name = n.Outputs[0]
	}
	return &onnxio.UnsupportedError{Path: fmt.Sprintf("node %q (%s)", name, n.OpType), What: fmt.Sprintf(format, args...)}
}

// lower returns an equal model that the engine runs. The batch dimension must be a number.
func lower(m *onnxio.Model) (*onnxio.Model, error) {
	a, err := coupling.Analyze(m)
	if err != nil {
		return nil, err
	}
	l := &lowering{a: a, consts: map[string]*onnxio.Tensor{}, readers: map[string]int{}, alias: map[string]string{},
		out: &onnxio.Graph{Name: "lowered", Inputs: nil, Outputs: m.Graph.Outputs}}
	for _, c := range a.Constants() {
		l.consts[c.Name] = c.Tensor
	}
	for _, n := range m.Graph.Nodes {
		for _, in := range n.Inputs {
			l.readers[in]++
		}
	}
	for _, v := range m.Graph.Outputs {
		l.readers[v.Name] += 2
	}
	for _, v := range m.Graph.Inputs {
		if l.consts[v.Name] == nil {
			l.out.Inputs = append(l.out.Inputs, v)
		}
	}
	if len(l.out.Inputs) != 1 || len(m.Graph.Outputs) != 1 {
		return nil, &onnxio.UnsupportedError{What: "a model with several inputs or outputs"}
	}
	for _, n := range m.Graph.Nodes {
		if err := l.node(n); err != nil {
			return nil, err
		}
	}
	if to, ok := l.alias[m.Graph.Outputs[0].Name]; ok {
		l.emit(&onnxio.Node{OpType: "Identity", Inputs: []string{to}, Outputs: []string{m.Graph.Outputs[0].Name}})
	}
	l.addConstants()
	return &onnxio.Model{IRVersion: 4, OpsetImport: []*onnxio.OpsetID{{Version: 9}}, ProducerName: "metaprune", Graph: l.out}, nil
}

// addConstants keeps the constants that lowered nodes read.
func (l *lowering) addConstants() {
	have := map[string]bool{}
	for _, n := range l.out.Nodes {
		for _, in := range n.Inputs {
			if t := l.consts[in]; t != nil && !have[in] {
				have[in] = true
				c := *t
				c.Name = in
				l.out.Initializers = append(l.out.Initializers, &c)
			}
		}
	}
}

func (l *lowering) emit(n *onnxio.Node) { l.out.Nodes = append(l.out.Nodes, n) }

// resolve follows values that stand for others.
func (l *lowering) resolve(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if to, ok := l.alias[n]; ok {
			n = to
		}
		out = append(out, n)
	}
	return out
}

// copied makes a node for the engine with the given attributes only.
func (l *lowering) copied(n *onnxio.Node, attributes ...*onnxio.Attribute) {
	name := n.Name
	if name == "" {
		name = n.Outputs[0]
	}
	inputs := slices.DeleteFunc(l.resolve(n.Inputs), func(s string) bool { return s == "" })
	l.emit(&onnxio.Node{OpType: n.OpType, Name: name, Inputs: inputs, Outputs: n.Outputs[:1], Attributes: attributes})
}

func (l *lowering) node(n *onnxio.Node) error {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return unsupported(n, "domain %s", n.Domain)
	}
	switch n.OpType {
	case "Constant":
		if l.consts[n.Outputs[0]] == nil {
			return unsupported(n, "this kind of constant")
		}
		return nil
	case "Identity", "Dropout":
		if l.consts[n.Outputs[0]] == nil {
			l.alias[n.Outputs[0]] = l.resolve(n.Inputs[:1])[0]
		}
		return nil
	case "Conv":
		return l.conv(n)
	case "BatchNormalization":
		return l.batchNorm(n)
	case "MaxPool":
		return l.maxPool(n)
	case "GlobalAveragePool", "Relu", "Sigmoid", "Tanh":
		l.copied(n)
		return nil
	case "Add", "Sub", "Mul", "Div":
		return l.elementwise(n)
	case "Flatten":
		return l.flatten(n)
	case "Reshape":
		return l.reshape(n)
	case "Gemm":
		return l.gemm(n)
	}
	return unsupported(n, "the operator")
}

func attr(n *onnxio.Node, name string) *onnxio.Attribute {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func intAttr(n *onnxio.Node, name string, def int64) int64 {
	if a := attr(n, name); a != nil {
		return a.I
	}
	return def
}

func intsAttr(name string, v ...int64) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrInts, Ints: v}
}

// spatial reads a window's attributes and checks that the engine's reading of them is the specification's.
func spatial(n *onnxio.Node, kernel []int64) ([]*onnxio.Attribute, error) {
	get := func(name string, def ...int64) []int64 {
		if a := attr(n, name); a != nil {
			return a.Ints
		}
		return def
	}
	pads, strides, dilations := get("pads", 0, 0, 0, 0), get("strides", 1, 1), get("dilations", 1, 1)
	if a := attr(n, "auto_pad"); a != nil && string(a.S) != "NOTSET" {
		return nil, unsupported(n, "auto_pad %s", a.S)
	}
	if len(kernel) != 2 || len(pads) != 4 || len(strides) != 2 || len(dilations) != 2 {
		return nil, unsupported(n, "anything but two spatial axes")
	}
	if pads[0] != pads[1] || pads[1] != pads[2] || pads[2] != pads[3] {
		return nil, unsupported(n, "unequal padding %v", pads)
	}
	if dilations[0] != 1 || dilations[1] != 1 {
		return nil, unsupported(n, "dilation")
	}
	return []*onnxio.Attribute{intsAttr("kernel_shape", kernel...), intsAttr("pads", pads...), intsAttr("strides", strides...)}, nil
}

func (l *lowering) conv(n *onnxio.Node) error {
	w := l.consts[n.Inputs[1]]
	if w == nil || w.DataType != onnxio.Float || intAttr(n, "group", 1) != 1 {
		return unsupported(n, "groups or computed weights")
	}
	at, err := spatial(n, w.Dims[2:])
	if err != nil {
		return err
	}
	l.copied(n, append(at, intsAttr("dilations", 1, 1))...)
	return nil
}

// batchNorm folds the normalisation into the convolution before it.
func (l *lowering) batchNorm(n *onnxio.Node) error {
	var conv *onnxio.Node
	for _, c := range l.out.Nodes {
		if c.OpType == "Conv" && c.Outputs[0] == n.Inputs[0] && l.readers[n.Inputs[0]] == 1 {
			conv = c
		}
	}
	if conv == nil || intAttr(n, "training_mode", 0) != 0 {
		return unsupported(n, "a normalisation that does not follow a convolution alone")
	}
	p, err := l.floats(n.Inputs[1:5]...)
	if err != nil {
		return err
	}
	eps := 1e-5
	if a := attr(n, "epsilon"); a != nil {
		eps = float64(a.F)
	}
	w, err := l.consts[conv.Inputs[1]].Float64s()
	if err != nil {
		return err
	}
	bias := make([]float64, len(p[0]))
	if len(conv.Inputs) > 2 {
		if bias, err = l.consts[conv.Inputs[2]].Float64s(); err != nil {
			return err
		}
	}
	per := len(w) / len(bias)
	for o := range bias {
		s := p[0][o] / math.Sqrt(p[3][o]+eps)
		for k := range per {
			w[o*per+k] *= s
		}
		bias[o] = (bias[o]-p[2][o])*s + p[1][o]
	}
	name := conv.Outputs[0]
	l.consts[name+"/weight"] = floatTensor(l.consts[conv.Inputs[1]].Dims, w)
	l.consts[name+"/bias"] = floatTensor([]int64{int64(len(bias))}, bias)
	conv.Inputs = []string{conv.Inputs[0], name + "/weight", name + "/bias"}
	conv.Outputs = n.Outputs[:1]
	return nil
}

func (l *lowering) floats(names ...string) ([][]float64, error) {
	var out [][]float64
	for _, n := range names {
		t := l.consts[n]
		if t == nil {
			return nil, &onnxio.UnsupportedError{What: fmt.Sprintf("computed parameter %q", n)}
		}
		v, err := t.Float64s()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func floatTensor(dims []int64, v []float64) *onnxio.Tensor {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
	}
	return &onnxio.Tensor{Dims: dims, DataType: onnxio.Float, RawData: raw}
}

func (l *lowering) maxPool(n *onnxio.Node) error {
	k := attr(n, "kernel_shape")
	if k == nil || intAttr(n, "ceil_mode", 0) != 0 || len(n.Outputs) > 1 {
		return unsupported(n, "ceil_mode or indices")
	}
	at, err := spatial(n, k.Ints)
	if err != nil {
		return err
	}
	l.copied(n, at...)
	return nil
}

func (l *lowering) elementwise(n *onnxio.Node) error {
	x, y := l.a.Value(n.Inputs[0]), l.a.Value(n.Inputs[1])
	if !x.Ranked || !y.Ranked || !slices.Equal(x.Shape, y.Shape) {
		return unsupported(n, "broadcasting %v with %v", x.Shape, y.Shape)
	}
	l.copied(n)
	return nil
}

func (l *lowering) flatten(n *onnxio.Node) error {
	if intAttr(n, "axis", 1) != 1 {
		return unsupported(n, "an axis other than 1")
	}
	l.copied(n, &onnxio.Attribute{Name: "axis", Type: onnxio.AttrInt, I: 1})
	return nil
}

// reshape writes the resolved shape as a constant.
func (l *lowering) reshape(n *onnxio.Node) error {
	v := l.a.Value(n.Outputs[0])
	shape := []int64{}
	for _, d := range v.Shape {
		if !d.IsNum() {
			return unsupported(n, "a shape known only at run time")
		}
		shape = append(shape, d.N)
	}
	name := n.Outputs[0] + "/shape"
	l.consts[name] = onnxio.NewInt64s(name, shape)
	c := *n
	c.Inputs = []string{n.Inputs[0], name}
	l.copied(&c)
	return nil
}

// gemm writes a product with the weight as [in, out] and a sum with the bias in the output's shape: the engine's own Gemm adds to its bias in place, so that a second run would start from the first one's output.
func (l *lowering) gemm(n *onnxio.Node) error {
	w := l.consts[n.Inputs[1]]
	one := func(name string) bool { a := attr(n, name); return a == nil || a.F == 1 }
	if w == nil || w.DataType != onnxio.Float || intAttr(n, "transA", 0) != 0 || !one("alpha") || !one("beta") {
		return unsupported(n, "transposed input, computed weights, alpha or beta")
	}
	out := n.Outputs[0]
	weight, err := w.Float64s()
	if err != nil {
		return err
	}
	rows, cols := int(w.Dims[0]), int(w.Dims[1])
	if intAttr(n, "transB", 0) != 0 {
		weight, rows, cols = transposed(weight, rows, cols), cols, rows
	}
	l.consts[out+"/weight"] = floatTensor([]int64{int64(rows), int64(cols)}, weight)
	product := &onnxio.Node{OpType: "MatMul", Name: n.Name, Inputs: []string{n.Inputs[0], out + "/weight"}, Outputs: []string{out}}
	if len(n.Inputs) < 3 || n.Inputs[2] == "" {
		l.copied(product)
		return nil
	}
	b, v := l.consts[n.Inputs[2]], l.a.Value(out)
	if b == nil || len(b.Dims) != 1 || !v.Ranked || len(v.Shape) != 2 || !v.Shape[0].IsNum() || b.Dims[0] != int64(cols) {
		return unsupported(n, "a bias that is no vector")
	}
	bias, err := b.Float64s()
	if err != nil {
		return err
	}
	l.consts[out+"/bias"] = floatTensor([]int64{v.Shape[0].N, int64(cols)}, slices.Repeat(bias, int(v.Shape[0].N)))
	product.Outputs = []string{out + "/product"}
	l.copied(product)
	l.emit(&onnxio.Node{OpType: "Add", Name: n.Name + "/bias", Inputs: []string{out + "/product", out + "/bias"}, Outputs: []string{out}})
	return nil
}

func transposed(x []float64, rows, cols int) []float64 {
	out := make([]float64, len(x))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = x[r*cols+c]
		}
	}
	return out
}
