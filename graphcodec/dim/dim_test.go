package dim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDimArithmetic(t *testing.T) {
	b := Symbol("batch")
	require.Equal(t, "12*batch", Num(12).Mul(b).String())
	require.Equal(t, b.Mul(Symbol("a")), Symbol("a").Mul(b))
	q, ok := Num(12).Mul(b).DivExact(Num(4))
	require.True(t, ok)
	require.Equal(t, Num(3).Mul(b), q)
	require.Equal(t, Dim{}, b.Add(b.Neg()))
	require.Equal(t, b.Add(Num(2)), Num(2).Add(b))
	require.Equal(t, Num(-1), Num(-1).FloorDiv(Num(2)))
	require.False(t, Num(1<<62).Mul(Num(4)).IsNum(), "an overflow is no number")
}
