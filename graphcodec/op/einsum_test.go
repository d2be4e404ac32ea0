package op

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/metaprune/metaprune/graphcodec/label"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/stretchr/testify/require"
)

func sized(dims ...int64) *Value {
	v := &Value{Ranked: true, Axes: make([][]label.Label, len(dims))}
	for _, d := range dims {
		v.Shape = append(v.Shape, dim.Num(d))
	}
	return v
}

// Letters of operands and result: what an ellipsis stands for, results that are not written down, axes that are broadcast.
func TestEinsumTerms(t *testing.T) {
	e := func(before string, n int, after string) []rune {
		return append(append([]rune(before), ellipsis(n)...), []rune(after)...)
	}
	for _, test := range []struct {
		equation string
		in       []*Value
		letters  [][]rune
		out      []rune // nil: cannot be read
	}{
		{"bij, bjk -> bik", []*Value{sized(2, 3, 4), sized(2, 4, 5)}, [][]rune{[]rune("bij"), []rune("bjk")}, []rune("bik")},
		{"bj,ab", []*Value{sized(2, 3), sized(4, 2)}, [][]rune{[]rune("bj"), []rune("ab")}, []rune("aj")},
		{"ij,jk,kl->il", []*Value{sized(2, 3), sized(3, 4), sized(4, 5)}, [][]rune{[]rune("ij"), []rune("jk"), []rune("kl")}, []rune("il")},
		{"...ii->...i", []*Value{sized(2, 7, 3, 3)}, [][]rune{e("", 2, "ii")}, e("", 2, "i")},
		{"...i,i...", []*Value{sized(2, 3, 4), sized(4, 3)}, [][]rune{e("", 2, "i"), e("i", 1, "")}, e("", 2, "")},
		{"ab,ab->ab", []*Value{sized(2, 1), sized(2, 5)}, [][]rune{{'a', -1}, []rune("ab")}, []rune("ab")},
		{"...,...->...", []*Value{sized(1, 5), sized(1, 2, 5)}, [][]rune{{-1, dots}, e("", 3, "")}, e("", 3, "")},
		{"ab->ac", []*Value{sized(2, 3)}, nil, nil},
		{"ab->aa", []*Value{sized(2, 3)}, nil, nil},
		{"abc->a", []*Value{sized(2, 3)}, nil, nil},
		{"ab,bc->ac", []*Value{sized(2, 3)}, nil, nil},
		{"a...bc->a", []*Value{sized(2, 3)}, nil, nil},
	} {
		c := &Call{In: test.in, Node: &onnxio.Node{Attributes: []*onnxio.Attribute{{Name: "equation", S: []byte(test.equation)}}}}
		in, out, ok := c.einsumTerms()
		require.Equal(t, test.out != nil, ok, test.equation)
		require.Equal(t, test.out, out, test.equation)
		for i := range in {
			require.Equal(t, test.letters[i], in[i].letters, test.equation)
		}
	}
}
