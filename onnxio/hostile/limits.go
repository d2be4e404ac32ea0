package hostile

import (
	"fmt"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
)

// limits are small files that claim or unfold to much.
func limits(add func(string, *onnxio.Model)) {
	for name, m := range hugeDims() {
		add("huge dims of "+name, m)
	}
	add("loops in loops", nestedLoops(7)) // as deep as bodies are run
	add("function bomb", functionBomb(40, "n"))
	add("free sizes named as sums", freeSizes("(a+b)", "(a+-1·b)+c)", "2*(a+b)", "real Div(a,0)"))
	add("sums of sums of free sizes", longSums(3000))
	add("sequences of sequences' items", longSequences(3000))
	add("function bomb with long names", functionBomb(16, strings.Repeat("long", 4096)))
}

func modelOf(nodes []*onnxio.Node, inputs ...*onnxio.ValueInfo) *onnxio.Model {
	return &onnxio.Model{IRVersion: 10, OpsetImport: []*onnxio.OpsetID{{Version: 23}, {Domain: "com.microsoft", Version: 1}, {Domain: "local", Version: 1}}, Graph: &onnxio.Graph{Name: "g", Inputs: inputs, Outputs: []*onnxio.ValueInfo{{Name: nodes[len(nodes)-1].Outputs[0]}}, Nodes: nodes}}
}

// hugeDims are operators whose inputs declare dims of 2^40 without data.
func hugeDims() map[string]*onnxio.Model {
	const n = huge
	two := func(d ...int64) []*onnxio.ValueInfo {
		return []*onnxio.ValueInfo{value("x", d...), value("z", d...)}
	}
	return map[string]*onnxio.Model{
		"attention":              modelOf([]*onnxio.Node{{OpType: "Attention", Inputs: []string{"x", "x", "z"}, Outputs: []string{"y"}, Attributes: []*onnxio.Attribute{integer("q_num_heads", 4), integer("kv_num_heads", 4)}}}, two(1, 2, n)...),
		"attention of four axes": modelOf([]*onnxio.Node{{OpType: "Attention", Inputs: []string{"x", "x", "z"}, Outputs: []string{"y"}}}, two(1, n, 2, n)...),
		"packed weights": modelOf([]*onnxio.Node{{OpType: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{"x", "b", "s"}, Outputs: []string{"y"},
			Attributes: []*onnxio.Attribute{integer("N", n), integer("K", n*16), integer("block_size", 16)}}}, value("x", 1, n*16), value("b", n, n, 8), value("s", n)),
		"recurrent": modelOf([]*onnxio.Node{{OpType: "RNN", Inputs: []string{"x", "w", "r"}, Outputs: []string{"y"}}}, value("x", 1, 1, n), value("w", 1, n, n), value("r", 1, n, n)),
		"rotary":    modelOf([]*onnxio.Node{{OpType: "RotaryEmbedding", Inputs: []string{"x", "c", "c"}, Outputs: []string{"y"}, Attributes: []*onnxio.Attribute{integer("num_heads", 2)}}}, value("x", 1, 2, n), value("c", 1, 2, n/4)),
	}
}

// nestedLoops are loops in loops: each level runs its body up to three times.
func nestedLoops(depth int) *onnxio.Model {
	body := func(i int, inner []*onnxio.Node, out string) *onnxio.Graph {
		p := fmt.Sprint("l", i)
		cond := &onnxio.Node{OpType: "Identity", Inputs: []string{p + "c"}, Outputs: []string{p + "d"}}
		in := []*onnxio.ValueInfo{{Name: p + "i"}, {Name: p + "c"}, {Name: p + "v"}}
		return &onnxio.Graph{Name: p, Inputs: in, Nodes: append(inner, cond), Outputs: []*onnxio.ValueInfo{{Name: p + "d"}, {Name: out}}}
	}
	carriedBy := func(i int) string { return fmt.Sprint("l", i, "v") }
	nodes := []*onnxio.Node{}
	last := carriedBy(depth)
	for k := range 20001 {
		next := fmt.Sprint("n", k)
		nodes = append(nodes, &onnxio.Node{OpType: "Transpose", Inputs: []string{last}, Outputs: []string{next}})
		last = next
	}
	for i := depth; i >= 1; i-- {
		g := body(i, nodes, last)
		carried := "x"
		if i > 1 {
			carried = carriedBy(i - 1)
		}
		last = fmt.Sprint("out", i)
		nodes = []*onnxio.Node{{OpType: "Loop", Inputs: []string{"", "", carried}, Outputs: []string{last}, Attributes: []*onnxio.Attribute{{Name: "body", Type: onnxio.AttrGraph, G: g}}}}
	}
	return modelOf(nodes, value("x", 2, 3))
}

// functionBomb doubles at every level: 2^depth nodes if it were expanded.
func functionBomb(depth int, name string) *onnxio.Model {
	m := modelOf([]*onnxio.Node{{OpType: fmt.Sprint("F", depth), Domain: "local", Inputs: []string{"x"}, Outputs: []string{"y"}}}, value("x", 2, 2))
	for i := range depth + 1 {
		f := &onnxio.Function{Name: fmt.Sprint("F", i), Domain: "local", Inputs: []string{"a"}, Outputs: []string{"c"}, OpsetImport: m.OpsetImport}
		op, domain := "Relu", ""
		if i > 0 {
			op, domain = fmt.Sprint("F", i-1), "local"
		}
		f.Nodes = []*onnxio.Node{{OpType: op, Domain: domain, Name: name, Inputs: []string{"a"}, Outputs: []string{name + "b"}}, {OpType: op, Domain: domain, Name: name, Inputs: []string{name + "b"}, Outputs: []string{"c"}}}
		m.Functions = append(m.Functions, f)
	}
	return m
}

// freeSizes is a model whose axes have such names, and arithmetic on them.
func freeSizes(names ...string) *onnxio.Model {
	x := value("x")
	for _, n := range names {
		x.Type.Tensor.Shape.Dims = append(x.Type.Tensor.Shape.Dims, &onnxio.Dim{Param: n})
	}
	var nodes []*onnxio.Node
	last := "s"
	nodes = append(nodes, node("Shape", []string{"x"}, []string{"s"}))
	for i, op := range []string{"Add", "Mul", "Sub", "Div", "Mod", "Max", "Add"} {
		next := fmt.Sprint("t", i)
		nodes = append(nodes, node(op, []string{last, "s"}, []string{next}))
		last = next
	}
	return modelOf(append(nodes, node("ConstantOfShape", []string{last}, []string{"y"})), x)
}

// longSums adds a size to what has been computed from it, over and over, and takes the remainder each time.
func longSums(n int) *onnxio.Model {
	m := freeSizes("h", "w")
	nodes, last := []*onnxio.Node{node("Shape", []string{"x"}, []string{"s"})}, "s"
	for i := range n {
		sum, rest := fmt.Sprint("u", i), fmt.Sprint("v", i)
		nodes = append(nodes, node("Add", []string{last, "s"}, []string{sum}), node("Mod", []string{sum, last}, []string{rest}))
		if last = rest; i%2 == 0 {
			last = sum
		}
	}
	m.Graph.Nodes = append(nodes, node("Expand", []string{"x", last}, []string{"y"}))
	return m
}

// longSequences grows a sequence by one of its items, over and over.
func longSequences(n int) *onnxio.Model {
	nodes, last := []*onnxio.Node{node("SequenceConstruct", []string{"x", "x"}, []string{"s"})}, "s"
	for i := range n {
		item, next := fmt.Sprint("i", i), fmt.Sprint("q", i)
		nodes = append(nodes, node("SequenceAt", []string{last, "zero"}, []string{item}), node("SequenceInsert", []string{last, item}, []string{next}))
		last = next
	}
	m := modelOf(append(nodes, node("ConcatFromSequence", []string{last}, []string{"y"})), value("x", 2, 3))
	m.Graph.Initializers = []*onnxio.Tensor{{Name: "zero", DataType: onnxio.Int64, RawData: make([]byte, 8)}}
	return m
}
