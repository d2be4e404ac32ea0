package coupling

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

// sequenceModel is a convolution whose channels go through a sequence: nodes stand between its output "x" [4,8,6,6] and "y".
func sequenceModel(nodes ...*onnxio.Node) *onnxio.Model {
	w := &onnxio.Tensor{Name: "w", DataType: onnxio.Float, Dims: []int64{8, 3, 1, 1}}
	_ = w.SetFloat32s(make([]float32, 24))
	index := func(name string, dims []int64, v ...int64) *onnxio.Tensor {
		t := &onnxio.Tensor{Name: name, DataType: onnxio.Int64, Dims: dims}
		t.SetRaw(make([]byte, 8*len(v)))
		t.SetInt64s(v)
		return t
	}
	info := func(name string, dims ...int64) *onnxio.ValueInfo {
		s := &onnxio.Shape{}
		for _, d := range dims {
			s.Dims = append(s.Dims, &onnxio.Dim{Value: d, HasValue: true})
		}
		return &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float, Shape: s}}}
	}
	g := &onnxio.Graph{Name: "g", Inputs: []*onnxio.ValueInfo{info("in", 4, 3, 6, 6), {Name: "free", Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Int64, Shape: &onnxio.Shape{}}}}},
		Outputs: []*onnxio.ValueInfo{{Name: "out"}}, Initializers: []*onnxio.Tensor{w, index("zero", nil, 0), index("nine", nil, 9), index("three", nil, 3), index("halves", []int64{2}, 2, 2)}}
	g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "Conv", Name: "conv", Inputs: []string{"in", "w"}, Outputs: []string{"x"}})
	g.Nodes = append(g.Nodes, nodes...)
	g.Nodes = append(g.Nodes, &onnxio.Node{OpType: "ReduceSum", Name: "sum", Inputs: []string{"y"}, Outputs: []string{"out"}, Attributes: []*onnxio.Attribute{{Name: "keepdims", Type: onnxio.AttrInt, I: 0}}})
	return &onnxio.Model{IRVersion: 8, OpsetImport: []*onnxio.OpsetID{{Version: 12}}, Graph: g}
}

func node(op, in1, in2, in3, out string) *onnxio.Node {
	n := &onnxio.Node{OpType: op, Name: op + "_" + out, Outputs: []string{out}}
	for _, v := range []string{in1, in2, in3} {
		if v != "" {
			n.Inputs = append(n.Inputs, v)
		}
	}
	return n
}

func TestSequences(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []*onnxio.Node
		shape string // of y
		free  bool   // whether the channels may leave
	}{
		"ones":             {[]*onnxio.Node{node("SplitToSequence", "x", "", "", "s"), node("SequenceAt", "s", "zero", "", "y")}, "1x8x6x6", true},
		"chunks":           {[]*onnxio.Node{node("SplitToSequence", "x", "three", "", "s"), node("SequenceErase", "s", "zero", "", "r"), node("SequenceAt", "r", "zero", "", "y")}, "1x8x6x6", true},
		"sizes":            {[]*onnxio.Node{node("SplitToSequence", "x", "halves", "", "s"), node("ConcatFromSequence", "s", "", "", "y")}, "4x8x6x6", true},
		"empty":            {[]*onnxio.Node{node("SequenceEmpty", "", "", "", "e"), node("SequenceInsert", "e", "x", "", "s"), node("SequenceAt", "s", "zero", "", "y")}, "4x8x6x6", true},
		"runtime position": {[]*onnxio.Node{node("SequenceConstruct", "x", "x", "", "s"), node("SequenceAt", "s", "free", "", "y")}, "", false},
		"beyond the end":   {[]*onnxio.Node{node("SequenceConstruct", "x", "", "", "s"), node("SequenceAt", "s", "nine", "", "y")}, "", false},
		"runtime insert":   {[]*onnxio.Node{node("SequenceConstruct", "x", "", "", "s"), node("SequenceInsert", "s", "x", "free", "r"), node("SequenceAt", "r", "zero", "", "y")}, "", false},
		"runtime erase":    {[]*onnxio.Node{node("SequenceConstruct", "x", "x", "", "s"), node("SequenceErase", "s", "free", "", "r"), node("SequenceAt", "r", "zero", "", "y")}, "", false},
		"runtime sizes":    {[]*onnxio.Node{node("SplitToSequence", "x", "free", "", "s"), node("SequenceAt", "s", "zero", "", "y")}, "", false},
	} {
		a, err := Analyze(sequenceModel(c.nodes...))
		require.NoError(t, err, name)
		y := a.Value("y")
		require.Equal(t, c.shape != "", y.Ranked, name)
		if y.Ranked {
			require.Equal(t, c.shape, dim.Text(y.Shape), name)
		}
		frozen := ""
		for _, g := range a.Groups {
			frozen += g.Frozen
		}
		require.Equal(t, c.free, frozen == "", "%s: %s", name, frozen)
	}
}
