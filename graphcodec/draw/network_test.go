package draw

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/stretchr/testify/require"
)

func TestPicture(t *testing.T) {
	n, err := graphcodec.Encode(opened(t, "../../testdata/metanet/tiny_net.onnx"), graphcodec.Universal)
	require.NoError(t, err)
	var svg bytes.Buffer
	require.NoError(t, WriteSVG(&svg, n, `<b>"tiny" & more`))
	require.NoError(t, xml.Unmarshal(svg.Bytes(), new(struct{})))
	require.Contains(t, svg.String(), "&lt;b&gt;&#34;tiny&#34; &amp; more")
	require.Equal(t, len(n.Layers), strings.Count(svg.String(), "<rect"))
}
