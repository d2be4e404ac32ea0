//go:build !noort && (linux || darwin || windows) && (amd64 || arm64)

package ort

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"1.8.0": "", "1.20.1": "", "1.32.0": "", "1.40.0+dev": "",
		"1.7.2": "too old", "0.9.1": "too old", "2.0.0": "too new", "": "unknown", "one": "unknown",
	} {
		err := versionProblem(version)
		if want == "" {
			require.NoError(t, err, version)
			continue
		}
		require.ErrorContains(t, err, want, version)
	}
}
