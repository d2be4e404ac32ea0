package op

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/dim"
	"github.com/stretchr/testify/require"
)

func TestCommonFactors(t *testing.T) {
	for _, c := range []struct {
		from, to, want []int
	}{
		{[]int{96, 49}, []int{8, 588}, []int{8, 12, 49}},
		{[]int{768}, []int{12, 64}, []int{12, 64}},
		{[]int{4, 9}, []int{36}, []int{4, 9}},
		{[]int{10, 7}, []int{7, 10}, nil},
	} {
		dims := func(v []int) (out []dim.Dim) {
			for _, n := range v {
				out = append(out, dim.Num(int64(n)))
			}
			return out
		}
		got, ok := commonFactors(dims(c.from), dims(c.to))
		require.Equal(t, c.want != nil, ok)
		require.Equal(t, c.want, got)
	}
}
