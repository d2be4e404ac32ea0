package hostile

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
	"google.golang.org/protobuf/encoding/protowire"
)

// File is one attack.
type File struct {
	Name string
	Data []byte
}

const huge = 1 << 40

func node(op string, in, out []string, attrs ...*onnxio.Attribute) *onnxio.Node {
	return &onnxio.Node{OpType: op, Name: "n_" + out[0], Inputs: in, Outputs: out, Attributes: attrs}
}

func one(op string, in ...string) []*onnxio.Node {
	return []*onnxio.Node{node(op, in, []string{"y"})}
}

func integer(name string, v int64) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrInt, I: v}
}

func integers(name string, v ...int64) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrInts, Ints: v}
}

func value(name string, dims ...int64) *onnxio.ValueInfo {
	s := &onnxio.Shape{}
	for _, d := range dims {
		s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
}

func weights(name string, dims ...int64) *onnxio.Tensor {
	n := int64(4)
	for _, d := range dims {
		n *= d
	}
	return &onnxio.Tensor{Name: name, DataType: onnxio.Float, Dims: dims, RawData: bytes.Repeat([]byte{0, 0, 128, 63}, int(n/4))}
}

func ints(name string, v ...int64) *onnxio.Tensor { return onnxio.NewInt64s(name, v) }

// of is a model over x [1, 8, 4, 4] with the weights w [8, 8, 1, 1] and v [8, 2].
func of(nodes []*onnxio.Node, more ...*onnxio.Tensor) *onnxio.Model {
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 17}, {Domain: "com.microsoft", Version: 1}, {Domain: "own", Version: 1}}, Graph: &onnxio.Graph{Name: "g",
		Inputs: []*onnxio.ValueInfo{value("x", 1, 8, 4, 4)}, Outputs: []*onnxio.ValueInfo{{Name: "y"}},
		Initializers: append([]*onnxio.Tensor{weights("w", 8, 8, 1, 1), weights("v", 8, 2)}, more...), Nodes: nodes}}
}

// layers is a small honest network with nodes in its middle, which read h and give k; they may be all that is wrong with it.
func layers(middle ...*onnxio.Node) *onnxio.Model {
	nodes := append([]*onnxio.Node{node("Conv", []string{"x", "w"}, []string{"h"})}, middle...)
	return of(append(nodes, node("GlobalAveragePool", []string{"k"}, []string{"p"}), node("Flatten", []string{"p"}, []string{"f"}), node("MatMul", []string{"f", "v"}, []string{"y"})))
}

// Files are the small attacks.
func Files() []File {
	out := []File{{"empty", nil}, {"text", []byte("I am no model, but I am <b>bold</b>\n")}, {"bytes", bytes.Repeat([]byte{0xff, 0xfe, 0x80}, 700)}, {"unknown fields only", bytes.Repeat([]byte{0xfa, 0x3f, 0x01, 'x'}, 500)}}
	add := func(name string, m *onnxio.Model) {
		data, err := m.Marshal()
		if err != nil {
			data = []byte(err.Error())
		}
		out = append(out, File{name, data})
	}
	structure(add)
	sizes(add)
	attributes(add)
	names(add)
	traps(add)
	limits(add)
	good, _ := layers(node("Relu", []string{"h"}, []string{"k"})).Marshal()
	out = append(out, File{"truncated", good[:len(good)/2]}, File{"length beyond the end", lying(good)}, File{"nested messages", nested(5000)})
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// lying claims a message of 2^62 bytes.
func lying(good []byte) []byte {
	return append(slices.Clone(good), protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.BytesType), 1<<62)...)
}

// nested is graph in attribute in node in graph.
func nested(depth int) []byte {
	var b []byte
	for range depth {
		a := protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), b) // AttributeProto.g
		n := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), a) // NodeProto.attribute
		b = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), n)  // GraphProto.node
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), b)
}

func structure(add func(string, *onnxio.Model)) {
	relu := node("Relu", []string{"h"}, []string{"k"})
	add("no graph", &onnxio.Model{IRVersion: 8})
	m := layers(relu)
	m.OpsetImport = nil
	add("no operator set", m)
	m = layers(relu)
	m.OpsetImport[0].Version = math.MaxInt64
	add("operator set of the far future", m)
	add("cycle", layers(node("Add", []string{"h", "q"}, []string{"k"}), node("Relu", []string{"k"}, []string{"q"})))
	add("reads itself", layers(node("Add", []string{"h", "k"}, []string{"k"})))
	inner := &onnxio.Graph{Name: "body", Nodes: []*onnxio.Node{node("Add", []string{"k", "h"}, []string{"o"})}, Outputs: []*onnxio.ValueInfo{{Name: "o"}}}
	add("cycle through a body", layers(node("If", []string{"c"}, []string{"k"}, &onnxio.Attribute{Name: "then_branch", Type: onnxio.AttrGraph, G: inner}, &onnxio.Attribute{Name: "else_branch", Type: onnxio.AttrGraph, G: inner})))
	add("value made twice", layers(relu, relu))
	m = layers(relu)
	m.Graph.Initializers = append(m.Graph.Initializers, m.Graph.Initializers[0])
	add("initializer twice", m)
	m = layers(relu)
	m.Graph.Outputs = nil
	add("no outputs", m)
	m = layers(relu)
	m.Graph.Outputs[0].Name = "nowhere"
	add("output that nothing makes", m)
	f := &onnxio.Function{Name: "F", Domain: "own", Inputs: []string{"a"}, Outputs: []string{"b"}, OpsetImport: m.OpsetImport, Nodes: []*onnxio.Node{{OpType: "F", Domain: "own", Inputs: []string{"a"}, Outputs: []string{"b"}}}}
	m = layers(&onnxio.Node{OpType: "F", Domain: "own", Name: "call", Inputs: []string{"h"}, Outputs: []string{"k"}})
	m.Functions = []*onnxio.Function{f}
	add("function that calls itself", m)
	m = layers(&onnxio.Node{OpType: "F", Domain: "own", Name: "call", Inputs: []string{"h"}, Outputs: []string{"k"}})
	m.Functions = []*onnxio.Function{f, f}
	add("function twice", m)
	add("unknown operator", layers(&onnxio.Node{OpType: "Teleport", Domain: "com.example", Name: "t", Inputs: []string{"h"}, Outputs: []string{"k"}}))
}

func sizes(add func(string, *onnxio.Model)) {
	relu := node("Relu", []string{"h"}, []string{"k"})
	for name, dims := range map[string][]int64{"negative dim": {-8, 8, 1, 1}, "overflowing dims": {huge, huge, 1, 1}, "dims that overflow to the right size": {1 << 62, 4, 16, 1}, "a dim too many": {8, 8, 1, 1, 1 << 20}, "dims of zero": {0, 8, 1, 1}} {
		m := layers(relu)
		m.Graph.Initializers[0].Dims = dims
		add(name, m)
	}
	m := layers(relu)
	m.Graph.Initializers[0].RawData = m.Graph.Initializers[0].RawData[:100]
	add("too few bytes", m)
	m = layers(relu)
	m.Graph.Initializers[0].DataType = 99
	add("unknown element type", m)
	m = layers(relu)
	m.Graph.Inputs[0] = value("x", 1, 8, math.MaxInt64, math.MaxInt64)
	add("input of a huge extent", m)
	m = layers(relu)
	m.Graph.Inputs[0] = value("x", -1, -8, -4, -4)
	add("input of negative dims", m)
	for name, at := range map[string][2]int64{"external data beyond the file": {1 << 50, 256}, "external data of negative length": {0, -1}, "external data at a negative offset": {-4096, 256}} {
		m := layers(relu)
		m.Graph.Initializers[0].SetExternal("model.onnx", at[0], at[1])
		add(name, m)
	}
	for name, path := range map[string]string{"external data above the folder": "../../../../etc/passwd", "external data at an absolute path": "/etc/passwd", "external data in a device": "/dev/zero", "external data missing": "missing.bin"} {
		m := layers(relu)
		m.Graph.Initializers[0].SetExternal(path, 0, 256)
		add(name, m)
	}
}

// attributes are nodes whose attributes or inputs make no sense.
func attributes(add func(string, *onnxio.Model)) {
	conv := func(attrs ...*onnxio.Attribute) *onnxio.Model {
		return layers(node("Conv", []string{"h", "w"}, []string{"k"}, attrs...))
	}
	add("convolution in no groups", conv(integer("group", 0)))
	add("convolution in negative groups", conv(integer("group", -8)))
	add("convolution in 2^62 groups", conv(integer("group", 1<<62)))
	add("strides of zero", conv(integers("strides", 0, 0)))
	add("pads that overflow", conv(integers("pads", math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64)))
	add("dilations that overflow", conv(integers("dilations", math.MaxInt64, math.MaxInt64)))
	add("attribute of another type", conv(&onnxio.Attribute{Name: "group", Type: onnxio.AttrString, S: []byte("eight")}))
	add("attribute twice", conv(integer("group", 1), integer("group", 8)))
	add("graph as attribute", conv(&onnxio.Attribute{Name: "group", Type: onnxio.AttrGraph, G: &onnxio.Graph{Name: "g"}}))
	with := func(op string, more []*onnxio.Tensor, attrs ...*onnxio.Attribute) *onnxio.Model {
		in := []string{"h"}
		for _, t := range more {
			in = append(in, t.Name)
		}
		m := layers(node(op, in, []string{"k"}, attrs...))
		m.Graph.Initializers = append(m.Graph.Initializers, more...)
		return m
	}
	consts := func(t ...*onnxio.Tensor) []*onnxio.Tensor { return t }
	add("tile by 2^60", with("Tile", consts(ints("r", 1, 1<<60, 1<<60, 1<<60))))
	add("expand to 2^60", with("Expand", consts(ints("r", 1<<30, 8, 1<<60, 4))))
	add("reshape with two unknowns", with("Reshape", consts(ints("r", -1, -1))))
	add("reshape that overflows", with("Reshape", consts(ints("r", huge, huge, 0, -1))))
	add("reshape to axes without end", with("Reshape", consts(ints("r", slices.Repeat([]int64{1}, 5000)...))))
	add("pad by 2^62", with("Pad", consts(ints("r", 0, 1<<62, 0, 0, 0, 1<<62, 0, 0))))
	add("pad to less than nothing", with("Pad", consts(ints("r", 0, -100, 0, 0, 0, -100, 0, 0))))
	add("slice with steps of zero", with("Slice", consts(ints("a", 0), ints("b", 8), ints("c", 1), ints("d", 0))))
	add("slice to the largest number", with("Slice", consts(ints("a", math.MinInt64), ints("b", math.MaxInt64), ints("c", 1), ints("d", math.MaxInt64))))
	add("gather out of range", with("Gather", consts(ints("i", 99, -99)), integer("axis", 1)))
	add("gather along axis 2^40", with("Gather", consts(ints("i", 0)), integer("axis", huge)))
	add("transpose of one axis twice", with("Transpose", nil, integers("perm", 0, 1, 1, 3)))
	add("transpose along -9", with("Transpose", nil, integers("perm", 0, -9, 1, 3)))
	add("concat along axis 77", with("Concat", nil, integer("axis", 77)))
	add("depth to space by zero", with("DepthToSpace", nil, integer("blocksize", 0)))
	add("space to depth by 2^40", with("SpaceToDepth", nil, integer("blocksize", huge)))
	add("resize by 1e30", with("Resize", consts(weights("roi", 0), &onnxio.Tensor{Name: "s", DataType: onnxio.Float, Dims: []int64{4}, RawData: bytes.Repeat([]byte{0xca, 0xf2, 0x49, 0x71}, 4)})))
	add("squeeze of what is not one", with("Squeeze", consts(ints("r", 1))))
	add("unsqueeze at 2^40", with("Unsqueeze", consts(ints("r", huge))))
	add("softmax along axis -100", with("Softmax", nil, integer("axis", -100)))
	add("flatten at axis 99", with("Flatten", nil, integer("axis", 99)))
	add("einsum of nonsense", with("Einsum", nil, &onnxio.Attribute{Name: "equation", Type: onnxio.AttrString, S: []byte("...->->,,ij...k\x00")}))
	add("top 2^60", with("TopK", consts(ints("r", 1<<60)), integer("axis", 1)))
	add("one hot of 2^60", with("OneHot", consts(ints("r", 1<<60), ints("q", 0, 1))))
	split := layers(node("Split", []string{"h", "s"}, []string{"k", "z"}, integer("axis", 1)))
	split.Graph.Initializers = append(split.Graph.Initializers, ints("s", -4, 12))
	add("split into negative pieces", split)
	r := layers(node("ConstantOfShape", []string{"s"}, []string{"z"}), node("Add", []string{"h", "z"}, []string{"k"}))
	r.Graph.Initializers = append(r.Graph.Initializers, ints("s", huge, huge, huge, huge))
	add("constant of a huge shape", r)
	r = layers(node("Range", []string{"a", "b", "c"}, []string{"z"}), node("Gather", []string{"h", "z"}, []string{"k"}, integer("axis", 1)))
	for name, v := range map[string]int64{"a": 0, "b": 1 << 60, "c": 1} {
		t := ints(name, v)
		t.Dims = nil
		r.Graph.Initializers = append(r.Graph.Initializers, t)
	}
	add("range to 2^60", r)
	add("recurrent of negative size", with("LSTM", consts(weights("lw", 1, 16, 8), weights("lr", 1, 16, 4)), integer("hidden_size", -4)))
	add("attention of no heads", with("Attention", consts(weights("q", 1, 8, 4, 4), weights("r", 1, 8, 4, 4)), integer("q_num_heads", 0), integer("kv_num_heads", 0)))
}

func names(add func(string, *onnxio.Model)) {
	for name, bad := range map[string]string{"markup in names": `<img src=x onerror="document.title='owned'"><script>1</script>`, "control characters in names": "a\x00b\x1b[2J\x1b]0;owned\x07\r\nc", "bytes that are no text in names": "\xff\xfe\xc0", "a name of a megabyte": strings.Repeat("n", 1<<20),
		"paths in names": "../../../tmp/owned", "formats in names": "%s%n%!d(MISSING){{.}}${x}", "right to left in names": "\u202egpj.exe"} {
		m := layers(node("Relu", []string{"h"}, []string{"k"}))
		g := m.Graph
		g.Name, g.Nodes[0].Name, g.Initializers[0].Name, g.Nodes[0].Inputs[1], g.Inputs[0].Name, g.Nodes[0].Inputs[0] = bad, bad, bad+"w", bad+"w", bad+"x", bad+"x"
		g.Nodes = append(g.Nodes, &onnxio.Node{OpType: bad, Domain: bad, Name: bad, Inputs: []string{"h"}, Outputs: []string{bad + "y"}})
		add(name, m)
	}
}

// traps take more than linear time where somebody is careless.
func traps(add func(string, *onnxio.Model)) {
	double := []*onnxio.Node{node("Conv", []string{"x", "w"}, []string{"d0"})}
	for i := range 60 {
		double = append(double, node("Concat", []string{fmt.Sprint("d", i), fmt.Sprint("d", i)}, []string{fmt.Sprint("d", i+1)}, integer("axis", 1)))
	}
	add("concat of itself, sixty times", of(append(double, one("Relu", "d60")...)))
	grow := []*onnxio.Node{node("Conv", []string{"x", "w"}, []string{"d0"})}
	for i := range 10_000 {
		grow = append(grow, node("Concat", []string{fmt.Sprint("d", i), "d0"}, []string{fmt.Sprint("d", i+1)}, integer("axis", 1)))
	}
	add("concat that grows, ten thousand times", of(append(grow, one("Relu", "d10000")...)))
	square := []*onnxio.Node{node("Conv", []string{"x", "w"}, []string{"d0"})}
	for i := range 64 {
		square = append(square, node("Mul", []string{fmt.Sprint("d", i), fmt.Sprint("d", i)}, []string{fmt.Sprint("d", i+1)}))
	}
	add("square of a square", of(append(square, one("Relu", "d64")...)))
	shape := []*onnxio.Node{node("Shape", []string{"x"}, []string{"d0"})}
	for i := range 50 {
		shape = append(shape, node("Concat", []string{fmt.Sprint("d", i), fmt.Sprint("d", i)}, []string{fmt.Sprint("d", i+1)}, integer("axis", 0)))
	}
	add("shape that doubles", of(append(shape, node("Reshape", []string{"x", "d50"}, []string{"y"}))))
	var split []string
	for i := range 5000 {
		split = append(split, fmt.Sprint("p", i))
	}
	add("split into five thousand", of([]*onnxio.Node{node("Conv", []string{"x", "w"}, []string{"h"}), node("Split", []string{"h"}, split, integer("axis", 1)), node("Concat", split, []string{"y"}, integer("axis", 1))}))
}

// inGraph appends fields to the graph of a model file.
func inGraph(model, fields []byte) []byte {
	var out []byte
	for len(model) > 0 {
		number, kind, n := protowire.ConsumeTag(model)
		size := n + protowire.ConsumeFieldValue(number, kind, model[n:])
		if number == 7 {
			graph, _ := protowire.ConsumeBytes(model[n:])
			out = protowire.AppendBytes(protowire.AppendTag(out, 7, protowire.BytesType), append(slices.Clone(graph), fields...))
		} else {
			out = append(out, model[:size]...)
		}
		model = model[size:]
	}
	return out
}

// Big are attacks by size.
func Big() []File {
	var out []File
	add := func(name string, m *onnxio.Model) {
		data, err := m.Marshal()
		if err == nil {
			out = append(out, File{name, data})
		}
	}
	chain := func(n int, op string, in func(i int) []string) []*onnxio.Node {
		nodes := []*onnxio.Node{node("Conv", []string{"x", "w"}, []string{"d0"})}
		for i := range n {
			nodes = append(nodes, &onnxio.Node{OpType: op, Inputs: in(i), Outputs: []string{fmt.Sprint("d", i+1)}})
		}
		return append(nodes, one("Relu", fmt.Sprint("d", n))...)
	}
	add("a million nodes", of(chain(1_000_000, "Relu", func(i int) []string { return []string{fmt.Sprint("d", i)} })))
	add("two hundred thousand sums", of(chain(200_000, "Add", func(i int) []string { return []string{fmt.Sprint("d", i), fmt.Sprint("d", i/2)} })))
	m := layers(node("Relu", []string{"h"}, []string{"k"}))
	for i := range 300_000 {
		m.Graph.Initializers = append(m.Graph.Initializers, weights(fmt.Sprint("unused", i), 1))
	}
	add("three hundred thousand weights that nobody reads", m)
	good, _ := layers(node("Relu", []string{"h"}, []string{"k"})).Marshal()
	repeat := func(name string, field protowire.Number, inner []byte, n int) {
		one := protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), inner)
		out = append(out, File{name, inGraph(good, bytes.Repeat(one, n))})
	}
	repeat("five million empty nodes", 1, nil, 5_000_000)
	repeat("five million empty weights", 5, nil, 5_000_000)
	repeat("five million empty values", 13, nil, 5_000_000)
	m = layers(node("Relu", []string{"h"}, []string{"k"}))
	m.Graph.Initializers[0].Dims = slices.Repeat([]int64{1}, 20_000_000)
	add("a tensor of twenty million axes", m)
	return out
}
