package planner

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	criteria := []string{"l2", "l1", "bn", "fpgm", "random", "metanet", "obs", "wanda", "hessian", "taylor"}
	flags := []string{"speed-up", "steps", "seed", "size", "round-to", "ratio", "max-ratio", "normalizer", "output"}
	for _, c := range []struct {
		typed, want string
		names       []string
	}{
		{"tailor", "taylor", criteria}, {"hesian", "hessian", criteria}, {"fpmg", "fpgm", criteria}, {"Random", "random", criteria}, {"meta", "metanet", criteria},
		{"l9", "", criteria}, {"magnitude", "", criteria}, {"", "", criteria}, {strings.Repeat("l", 1000), "", criteria},
		{"speedup", "speed-up", flags}, {"speed_up", "speed-up", flags}, {"sped-up", "speed-up", flags}, {"maxratio", "max-ratio", flags}, {"normaliser", "normalizer", flags}, {"frobnicate", "", flags},
	} {
		require.Equal(t, c.want, Nearest(c.typed, c.names), c.typed)
	}
}

func TestOptionErrors(t *testing.T) {
	require.NoError(t, OneOf("ranking", "group", "global", "group"))
	require.EqualError(t, OneOf("ranking", "gruop", "global", "group", "isomorphic"), `ranking "gruop": want global, group or isomorphic; did you mean group?`)
	require.EqualError(t, &OptionError{Where: "--steps", Want: "at least 1", Got: "0"}, "--steps 0: want at least 1")
	require.EqualError(t, &OptionError{Where: "--data", Want: "a folder"}, "--data: want a folder")
}

func TestParseNumbers(t *testing.T) {
	for text, want := range map[string]float64{"2": 2, "2x": 2, "1.5X": 1.5, " 3 ": 3, "-1": -1} {
		v, err := ParseFactor(text)
		require.NoError(t, err, text)
		require.Equal(t, want, v, text)
	}
	for text, want := range map[string]float64{"0.5": .5, "50%": .5, "12.5 %": .125, "150%": 1.5} {
		v, err := ParseShare(text)
		require.NoError(t, err, text)
		require.Equal(t, want, v, text)
	}
	for _, text := range []string{"", "x", "2xx", "NaN", "nanx", "inf", "-Infx", "50%", "1,5", "two"} {
		_, err := ParseFactor(text)
		require.Error(t, err, text)
	}
	for _, text := range []string{"", "%", "2x", "NaN", "inf%", "50%%", "half", "1e999"} {
		_, err := ParseShare(text)
		require.Error(t, err, text)
	}
}
