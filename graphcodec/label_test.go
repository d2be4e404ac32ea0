package graphcodec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// distinct counts the different labels that can still leave.
func distinct(l *labels, axis []label) int {
	seen := map[label]bool{}
	for _, x := range axis {
		if n := l.norm(x); n != 0 {
			seen[n] = true
		}
	}
	return len(seen)
}

func TestSplitGivesFactors(t *testing.T) {
	l := newLabels()
	axis := l.fresh(12)
	outer, inner := l.split(axis, 3, 4, 0)
	require.Equal(t, 3, distinct(l, outer))
	require.Equal(t, 4, distinct(l, inner))
	require.Equal(t, -1, l.product(axis, outer, inner))
	again, _ := l.split(axis, 3, 4, 0)
	require.Equal(t, l.norm(outer[1]), l.norm(again[1]), "a second view of the same axis has the same factors")
}

func TestSplitOfRepeatedLabelsNeedsNoFactors(t *testing.T) {
	l := newLabels()
	channels := l.fresh(4)
	merged := l.merge([][]label{channels, nil}, []int{4, 9})
	outer, inner := l.split(merged, 4, 9, 0)
	require.Equal(t, channels, outer)
	require.Nil(t, inner)
}

func TestTwoFactorisationsRefine(t *testing.T) {
	l := newLabels()
	axis := l.fresh(768)
	h12, d64 := l.split(axis, 12, 64, 0)
	h24, d32 := l.split(axis, 24, 32, 0)
	require.Equal(t, 12, distinct(l, h12))
	require.Equal(t, 64, distinct(l, d64))
	require.Equal(t, 24, distinct(l, h24))
	require.Equal(t, 32, distinct(l, d32))
	require.Len(t, l.units(l.norm(axis[0])), 3, "12 x 2 x 32")
}

func TestPlainAxisAdoptsFactors(t *testing.T) {
	l := newLabels()
	split, plain := l.fresh(6), l.fresh(6)
	outer, inner := l.split(split, 2, 3, 0)
	l.joinAxes(plain, split, 0)
	require.Equal(t, l.union(l.norm(outer[1]), l.norm(inner[2])), l.norm(plain[5]))
}

func TestSplitAxesJoinFactorByFactor(t *testing.T) {
	l := newLabels()
	a, b := l.fresh(6), l.fresh(6)
	ao, ai := l.split(a, 2, 3, 0)
	bo, bi := l.split(b, 2, 3, 0)
	l.joinAxes(a, b, 0)
	require.Equal(t, l.norm(ao[1]), l.norm(bo[1]))
	require.Equal(t, l.norm(ai[2]), l.norm(bi[2]))
	require.NotEqual(t, l.norm(ao[0]), l.norm(ao[1]))
}

func TestFreezingAFactorLeavesTheOther(t *testing.T) {
	l := newLabels()
	axis := l.fresh(6)
	outer, inner := l.split(axis, 2, 3, 0)
	l.freezeAll(outer, l.reason(Reason{Text: "kept"}))
	require.Equal(t, l.norm(inner[1]), l.norm(axis[4]))
	require.Equal(t, 0, distinct(l, outer))
	require.Equal(t, 3, distinct(l, axis))
}

func TestFrozenPositionFreezesItsFactors(t *testing.T) {
	l := newLabels()
	axis := l.fresh(6)
	l.freeze(axis[4], l.reason(Reason{Text: "kept"}))
	outer, inner := l.split(axis, 2, 3, 1)
	require.Equal(t, 1, distinct(l, outer), "the second outer index stays")
	require.Equal(t, 2, distinct(l, inner), "the second inner index stays")
	require.Equal(t, -1, l.product(axis, outer, inner))
}

// A concatenation of 40 and 20 channels per group, 32 groups, viewed as 32 groups of 60, leaves in steps of their common divisor.
func TestFactorisationsThatDoNotNest(t *testing.T) {
	l := newLabels()
	a, b := l.fresh(1280), l.fresh(640)
	for _, x := range []struct {
		axis []label
		n    int
	}{{a, 40}, {b, 20}} {
		groups, _ := l.split(x.axis, 32, x.n, 0)
		l.freezeAll(groups, l.reason(Reason{Text: "groups"}))
	}
	all := append(append([]label{}, a...), b...)
	outer, inner := l.split(all, 32, 60, 1)
	require.Equal(t, 0, distinct(l, outer))
	require.Equal(t, 20, distinct(l, inner))
	require.Equal(t, 20, distinct(l, all))
	require.Equal(t, -1, l.product(all, outer, inner))
}

func TestChannelShuffleKeepsPairsTogether(t *testing.T) {
	l := newLabels()
	left, right := l.fresh(8), l.fresh(8)
	both := append(append([]label{}, left...), right...)
	outer, inner := l.split(both, 2, 8, 0)
	shuffled := l.merge([][]label{inner, outer}, []int{8, 2})
	require.Equal(t, l.norm(left[3]), l.norm(shuffled[6]))
	require.Equal(t, l.norm(right[3]), l.norm(shuffled[7]))
	l.freezeAll(outer, l.reason(Reason{Text: "halves"}))
	require.Equal(t, l.norm(left[3]), l.norm(right[3]))
	require.Equal(t, 8, distinct(l, both))
}
