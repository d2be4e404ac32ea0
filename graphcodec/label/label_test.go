package label

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// distinct counts the different labels that can still leave.
func distinct(l *Labels, axis []Label) int {
	seen := map[Label]bool{}
	for _, x := range axis {
		if n := l.Norm(x); n != 0 {
			seen[n] = true
		}
	}
	return len(seen)
}

func TestSplitGivesFactors(t *testing.T) {
	l := New()
	axis := l.Fresh(12)
	outer, inner := l.Split(axis, 3, 4, 0)
	require.Equal(t, 3, distinct(l, outer))
	require.Equal(t, 4, distinct(l, inner))
	require.Equal(t, -1, l.Product(axis, outer, inner))
	again, _ := l.Split(axis, 3, 4, 0)
	require.Equal(t, l.Norm(outer[1]), l.Norm(again[1]), "a second view of the same axis has the same factors")
}

func TestSplitOfRepeatedLabelsNeedsNoFactors(t *testing.T) {
	l := New()
	channels := l.Fresh(4)
	merged := l.Merge([][]Label{channels, nil}, []int{4, 9})
	outer, inner := l.Split(merged, 4, 9, 0)
	require.Equal(t, channels, outer)
	require.Nil(t, inner)
}

func TestTwoFactorisationsRefine(t *testing.T) {
	l := New()
	axis := l.Fresh(768)
	h12, d64 := l.Split(axis, 12, 64, 0)
	h24, d32 := l.Split(axis, 24, 32, 0)
	require.Equal(t, 12, distinct(l, h12))
	require.Equal(t, 64, distinct(l, d64))
	require.Equal(t, 24, distinct(l, h24))
	require.Equal(t, 32, distinct(l, d32))
	require.Len(t, l.Units(l.Norm(axis[0])), 3, "12 x 2 x 32")
}

func TestPlainAxisAdoptsFactors(t *testing.T) {
	l := New()
	split, plain := l.Fresh(6), l.Fresh(6)
	outer, inner := l.Split(split, 2, 3, 0)
	l.JoinAxes(plain, split, 0)
	require.Equal(t, l.union(l.Norm(outer[1]), l.Norm(inner[2])), l.Norm(plain[5]))
}

func TestSplitAxesJoinFactorByFactor(t *testing.T) {
	l := New()
	a, b := l.Fresh(6), l.Fresh(6)
	ao, ai := l.Split(a, 2, 3, 0)
	bo, bi := l.Split(b, 2, 3, 0)
	l.JoinAxes(a, b, 0)
	require.Equal(t, l.Norm(ao[1]), l.Norm(bo[1]))
	require.Equal(t, l.Norm(ai[2]), l.Norm(bi[2]))
	require.NotEqual(t, l.Norm(ao[0]), l.Norm(ao[1]))
}

func TestFreezingAFactorLeavesTheOther(t *testing.T) {
	l := New()
	axis := l.Fresh(6)
	outer, inner := l.Split(axis, 2, 3, 0)
	l.FreezeAll(outer, l.Reason(Reason{Text: "kept"}))
	require.Equal(t, l.Norm(inner[1]), l.Norm(axis[4]))
	require.Equal(t, 0, distinct(l, outer))
	require.Equal(t, 3, distinct(l, axis))
}

func TestFrozenPositionFreezesItsFactors(t *testing.T) {
	l := New()
	axis := l.Fresh(6)
	l.Freeze(axis[4], l.Reason(Reason{Text: "kept"}))
	outer, inner := l.Split(axis, 2, 3, 1)
	require.Equal(t, 1, distinct(l, outer), "the second outer index stays")
	require.Equal(t, 2, distinct(l, inner), "the second inner index stays")
	require.Equal(t, -1, l.Product(axis, outer, inner))
}

// A concatenation of 40 and 20 channels per group, 32 groups, viewed as 32 groups of 60, leaves in steps of their common divisor.
func TestFactorisationsThatDoNotNest(t *testing.T) {
	l := New()
	a, b := l.Fresh(1280), l.Fresh(640)
	for _, x := range []struct {
		axis []Label
		n    int
	}{{a, 40}, {b, 20}} {
		groups, _ := l.Split(x.axis, 32, x.n, 0)
		l.FreezeAll(groups, l.Reason(Reason{Text: "groups"}))
	}
	all := append(append([]Label{}, a...), b...)
	outer, inner := l.Split(all, 32, 60, 1)
	require.Equal(t, 0, distinct(l, outer))
	require.Equal(t, 20, distinct(l, inner))
	require.Equal(t, 20, distinct(l, all))
	require.Equal(t, -1, l.Product(all, outer, inner))
}

func TestChannelShuffleKeepsPairsTogether(t *testing.T) {
	l := New()
	left, right := l.Fresh(8), l.Fresh(8)
	both := append(append([]Label{}, left...), right...)
	outer, inner := l.Split(both, 2, 8, 0)
	shuffled := l.Merge([][]Label{inner, outer}, []int{8, 2})
	require.Equal(t, l.Norm(left[3]), l.Norm(shuffled[6]))
	require.Equal(t, l.Norm(right[3]), l.Norm(shuffled[7]))
	l.FreezeAll(outer, l.Reason(Reason{Text: "halves"}))
	require.Equal(t, l.Norm(left[3]), l.Norm(right[3]))
	require.Equal(t, 8, distinct(l, both))
}
