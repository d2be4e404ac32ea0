package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMeanAndTurn(t *testing.T) {
	const n, rows, columns = 3, 37, 70
	x := random(rand.New(rand.NewPCG(7, 8)), n*rows*columns)
	turned, mean, want := make([]float32, len(x)), make([]float32, n*columns), make([]float32, n*columns)
	Turn(turned, x, n, rows, columns)
	Mean(mean, x, n, rows, columns)
	for i := range n {
		for c := range columns {
			sum := 0.
			for r := range rows {
				require.Equal(t, x[(i*rows+r)*columns+c], turned[(i*columns+c)*rows+r])
				sum += float64(x[(i*rows+r)*columns+c])
			}
			want[i*columns+c] = float32(sum / rows)
		}
	}
	near(t, want, mean, "mean")
}

func TestParallelRaisesPanics(t *testing.T) {
	require.Panics(t, func() { Parallel(8, func(i int) { panic(i) }) })
	seen := make([]int, 100000)
	Ranges(len(seen), 3, func(from, to int) {
		for i := from; i < to; i++ {
			seen[i]++
		}
	})
	for _, v := range seen {
		require.Equal(t, 1, v)
	}
}
