package planner_test

import (
	"testing"

	"github.com/metaprune/metaprune/graphcodec/randnet"
	"github.com/stretchr/testify/require"
)

// Networks in which ranks are hidden are pruned where that is provable, and nothing breaks.
func TestHiddenRanksPrune(t *testing.T) {
	for _, how := range []randnet.Hiding{randnet.Reshaped, randnet.Mystery} {
		pruned := 0
		for seed := range uint64(randomNetworks / 2) {
			o := randnet.Options{Seed: seed, Opset: 13 + int64(seed%10), Style: randnet.Style{Hide: how, MatMulAdd: seed%2 == 1, FreeBatch: seed%3 == 1}}
			a := analyzed(t, randnet.New(o))
			if live(a) < 4 {
				continue
			}
			planned(t, a, .5)
			pruned++
		}
		require.Greater(t, pruned, randomNetworks/10, "hidden as %d", how)
	}
}
