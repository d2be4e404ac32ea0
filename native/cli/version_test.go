package cli

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	require.Equal(t, ok(t, "version"), ok(t, "--version"))
	require.Equal(t, decode[versionReport](t, ok(t, "version", "--json")), decode[versionReport](t, ok(t, "--version", "--json")))
	require.Contains(t, ok(t), "Available Commands")
	require.Contains(t, ok(t, "metanet"), "Available Commands")
}

// A program that `go install` has built says the module's version, one of a release what the linker was given.
func TestVersionOfTheModule(t *testing.T) {
	built := func(v string) *debug.BuildInfo { return &debug.BuildInfo{Main: debug.Module{Version: v}} }
	require.Equal(t, "v0.2.0", versionOf("v0.2.0", built("v0.3.0")))
	require.Equal(t, "v0.3.0", versionOf("", built("v0.3.0")))
	require.Equal(t, "dev", versionOf("", built("(devel)")))
	require.Equal(t, "dev", versionOf("", built("")))
	require.Equal(t, "dev", versionOf("", nil))
}
