package randnet

import (
	"encoding/binary"
	"math"

	"github.com/metaprune/metaprune/onnxio"
)

func integer(name string, v int) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrInt, I: int64(v)}
}

func integers(name string, v ...int) *onnxio.Attribute {
	a := &onnxio.Attribute{Name: name, Type: onnxio.AttrInts}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}

func float(name string, v float32) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrFloat, F: v}
}

func text(name, v string) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Type: onnxio.AttrString, S: []byte(v)}
}

func floats(name string, v []float32, dims ...int) *onnxio.Tensor {
	t := &onnxio.Tensor{Name: name, DataType: onnxio.Float}
	for _, d := range dims {
		t.Dims = append(t.Dims, int64(d))
	}
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	t.SetRaw(raw)
	return t
}

// reduce takes axes as the operator set wants them.
func (n *net) reduce(op string, v *value, dims []int, keep bool, axes ...int) *value {
	k := 0
	if keep {
		k = 1
	}
	if n.Opset >= 18 {
		return n.node(op, dims, []string{v.name, n.ints(axes...)}, integer("keepdims", k))
	}
	return n.node(op, dims, []string{v.name}, integer("keepdims", k), integers("axes", axes...))
}

// split cuts an axis into pieces.
func (n *net) split(v *value, axis int, sizes ...int) []*value {
	var dims [][]int
	for _, s := range sizes {
		d := append([]int{}, v.dims...)
		d[axis] = s
		dims = append(dims, d)
	}
	equal := true
	for _, s := range sizes {
		equal = equal && s == sizes[0]
	}
	if equal && n.Opset >= 18 {
		return n.nodes("Split", dims, []string{v.name}, integer("axis", axis), integer("num_outputs", len(sizes)))
	}
	return n.nodes("Split", dims, []string{v.name, n.ints(sizes...)}, integer("axis", axis))
}

func (n *net) reshape(v *value, dims ...int) *value {
	want := append([]int{}, dims...)
	if want[0] == v.dims[0] {
		want[0] = 0 // the batch as it is
	}
	return n.node("Reshape", dims, []string{v.name, n.ints(want...)})
}

func (n *net) transpose(v *value, perm ...int) *value {
	dims := make([]int, len(perm))
	for i, p := range perm {
		dims[i] = v.dims[p]
	}
	return n.node("Transpose", dims, []string{v.name}, integers("perm", perm...))
}

func (n *net) unary(op string, v *value, attrs ...*onnxio.Attribute) *value {
	return n.node(op, v.dims, []string{v.name}, attrs...)
}

// with combines a value with a second one or a constant that broadcasts to it.
func (n *net) with(op string, v *value, other string) *value {
	in := []string{v.name, other}
	if (op == "Add" || op == "Mul") && n.step%2 == 1 {
		in = []string{other, v.name}
	}
	return n.node(op, v.dims, in)
}

// scalar is an index without axes.
func scalar(name string, i int) *onnxio.Tensor {
	t := onnxio.NewInt64s(name, []int64{int64(i)})
	t.Dims = nil
	return t
}
