package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run's record is read whole: fields of another version are refused by name.
func TestRecordsAreReadWhole(t *testing.T) {
	var c Config
	require.NoError(t, ReadRecord([]byte(`{"epochs":3}`), "x/config.json", &c))
	require.Equal(t, 3.0, float64(c.Epochs))
	err := ReadRecord([]byte(`{"epochs":3,"dreams":1}`), "x/config.json", &c)
	require.ErrorContains(t, err, "x/config.json was not written by this version of metaprune")
	require.ErrorContains(t, err, `unknown field "dreams"`)
}

// Options that JSON has no text for are not taken for equal ones.
func TestDifferencesOfNumbersThatAreNone(t *testing.T) {
	a, b := Config{Rate: .1}, Config{Rate: .2}
	require.Empty(t, Differences(&a, &a))
	require.Contains(t, Differences(&a, &b), "was 0.1, is 0.2")
	b.Rate = math.NaN()
	require.Contains(t, Differences(&a, &b), "cannot be compared")
	require.Contains(t, Differences(&b, &b), "cannot be compared")
}
