package metatrain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What an allocation says beyond what this program knows is refused, by name.
func TestAllocationsThatAreNotUnderstood(t *testing.T) {
	const good = `{"format":"metaprune-allocation","version":1,"model_sha256":"00","options":{"speed_ups":[2],"step":0.1},"result":{"offsets":{"a":0.5}},"seconds":1}`
	r, err := parseAllocation([]byte(good))
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"a": .5}, r.Result.Offsets)
	for name, c := range map[string][3]string{
		"newer":                  {`"version":1`, `"version":2`, "made by a newer metaprune (allocation version 2)"},
		"newer with a new field": {`"version":1`, `"version":7,"dance":true`, "allocation version 7"},
		"no version":             {`"version":1`, `"version":0`, "version 0"},
		"another format":         {`metaprune-allocation`, `metaprune-plan`, `format "metaprune-plan"`},
		"an unknown field":       {`"seconds"`, `"minutes":0,"seconds"`, `unknown field "minutes"; allocation version 1 has no such field`},
		"an unknown option":      {`"step"`, `"stride":1,"step"`, `unknown field "stride"`},
		"no offsets":             {`{"a":0.5}`, `{}`, "it has no offsets"},
		"two":                    {`"seconds":1}`, `"seconds":1}{}`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c[0], c[1], 1)
			require.NotEqual(t, good, text)
			_, err := parseAllocation([]byte(text))
			require.ErrorContains(t, err, c[2])
		})
	}
}
