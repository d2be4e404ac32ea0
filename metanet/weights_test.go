package metanet

import (
	"testing"

	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/stretchr/testify/require"
)

// A metanetwork of a newer version is refused, and a checkpoint of another framework becomes one of this version.
func TestMetanetVersions(t *testing.T) {
	s := Sizes{Hidden: 4, Layers: 1, NodeIn: 2, Scheme: "s", EdgeTypes: []string{""}, EdgeIn: []int{3}}
	for _, c := range []struct{ format, version, want string }{
		{"metaprune-metanet", "1", ""}, {"metaprune-metanet", "", ""}, {"pt", "7", ""}, {"", "", ""},
		{"metaprune-metanet", "2", "made by a newer metaprune (metanetwork version 2)"}, {"metaprune-metanet", "one", `metadata version is "one"`}, {"metaprune-metanet", "0", `metadata version is "0"`},
	} {
		f := New(s, 1)
		f.Metadata["format"], f.Metadata["version"] = c.format, c.version
		_, err := Load(f)
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		f.Metadata["version"] = ""
		converted, err := Convert(f, "s")
		require.NoError(t, err)
		require.Equal(t, "metaprune-metanet", converted.Metadata["format"])
		require.Equal(t, "1", converted.Metadata["version"])
	}
	f := New(s, 1)
	f.Tensors["nodeEnc.weight"], f.Tensors["nodeEnc.bias"] = safetensors.FloatTensor(nil, 0, 1<<40), safetensors.FloatTensor(nil, 0)
	_, err := Load(f)
	require.ErrorContains(t, err, "want at least one input and one output")
}
