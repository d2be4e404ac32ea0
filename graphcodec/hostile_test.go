package graphcodec_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func attrInt(name string, i int64) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrInt, I: i}
}

func declared(name string, dims ...int64) *onnxio.ValueInfo {
	s := &onnxio.Shape{}
	for _, d := range dims {
		s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
	}
	return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
}

func modelOf(nodes []*onnxio.Node, inputs ...*onnxio.ValueInfo) *onnxio.Model {
	return &onnxio.Model{IRVersion: 10, OpsetImport: []*onnxio.OpsetID{{Version: 23}, {Domain: "com.microsoft", Version: 1}, {Domain: "local", Version: 1}}, Graph: &onnxio.Graph{Name: "g", Inputs: inputs, Nodes: nodes}}
}

// hugeDims are operators whose inputs declare dims of 2^40 that no data stands behind.
func hugeDims() map[string]*onnxio.Model {
	const n = 1 << 40
	two := func(d ...int64) []*onnxio.ValueInfo {
		return []*onnxio.ValueInfo{declared("x", d...), declared("z", d...)}
	}
	return map[string]*onnxio.Model{
		"attention":              modelOf([]*onnxio.Node{{OpType: "Attention", Inputs: []string{"x", "x", "z"}, Outputs: []string{"y"}, Attributes: []*onnxio.Attribute{attrInt("q_num_heads", 4), attrInt("kv_num_heads", 4)}}}, two(1, 2, n)...),
		"attention of four axes": modelOf([]*onnxio.Node{{OpType: "Attention", Inputs: []string{"x", "x", "z"}, Outputs: []string{"y"}}}, two(1, n, 2, n)...),
		"packed weights": modelOf([]*onnxio.Node{{OpType: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{"x", "b", "s"}, Outputs: []string{"y"},
			Attributes: []*onnxio.Attribute{attrInt("N", n), attrInt("K", n*16), attrInt("block_size", 16)}}}, declared("x", 1, n*16), declared("b", n, n, 8), declared("s", n)),
		"recurrent": modelOf([]*onnxio.Node{{OpType: "RNN", Inputs: []string{"x", "w", "r"}, Outputs: []string{"y"}}}, declared("x", 1, 1, n), declared("w", 1, n, n), declared("r", 1, n, n)),
		"rotary":    modelOf([]*onnxio.Node{{OpType: "RotaryEmbedding", Inputs: []string{"x", "c", "c"}, Outputs: []string{"y"}, Attributes: []*onnxio.Attribute{attrInt("num_heads", 2)}}}, declared("x", 1, 2, n), declared("c", 1, 2, n/4)),
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
	value := func(i int) string { return fmt.Sprint("l", i, "v") }
	nodes := []*onnxio.Node{}
	last := value(depth)
	for k := range 20001 {
		next := fmt.Sprint("n", k)
		nodes = append(nodes, &onnxio.Node{OpType: "Transpose", Inputs: []string{last}, Outputs: []string{next}})
		last = next
	}
	for i := depth; i >= 1; i-- {
		g := body(i, nodes, last)
		carried := "x"
		if i > 1 {
			carried = value(i - 1)
		}
		last = fmt.Sprint("out", i)
		nodes = []*onnxio.Node{{OpType: "Loop", Inputs: []string{"", "", carried}, Outputs: []string{last}, Attributes: []*onnxio.Attribute{{Name: "body", Type: onnxio.AttrGraph, G: g}}}}
	}
	return modelOf(nodes, declared("x", 2, 3))
}

// functionBomb doubles at every level: 2^depth nodes if it were expanded.
func functionBomb(depth int, name string) *onnxio.Model {
	m := modelOf([]*onnxio.Node{{OpType: fmt.Sprint("F", depth), Domain: "local", Inputs: []string{"x"}, Outputs: []string{"y"}}}, declared("x", 2, 2))
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

// A small file must not take much time or memory, whatever it claims.
func TestSmallFilesStaySmall(t *testing.T) {
	models := hugeDims()
	models["loops in loops"] = nestedLoops(7) // as deep as bodies are run
	models["function bomb"] = functionBomb(40, "n")
	models["function bomb with long names"] = functionBomb(16, strings.Repeat("long", 4096))
	for name, m := range models {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := graphcodec.Analyze(m)
		runtime.ReadMemStats(&after)
		if err != nil {
			require.NotContains(t, err.Error(), "please report", name)
		}
		require.Less(t, time.Since(start), 20*time.Second, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<30), name)
		t.Logf("%-30s %6.2f s %6d MB in all, error %v", name, time.Since(start).Seconds(), (after.TotalAlloc-before.TotalAlloc)>>20, err)
	}
}
