package server

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/metaprune/metaprune/native/client"
	"github.com/metaprune/metaprune/native/engine/ort/orttest"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/wasm/api"
	"github.com/stretchr/testify/require"
)

func testFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/" + name)
	require.NoError(t, err)
	return b
}

// The service repairs on pictures, on arrays and on noise, and what it sends comes closer to the original than pruning alone.
func TestRepairOnTheService(t *testing.T) {
	spoolDir := t.TempDir()
	s, _ := start(t, Config{Backend: "go", Memory: 64 << 20, Spool: spoolDir})
	var repaired, warned []string
	c := &client.Client{URL: "http://" + s.Addr(), Repaired: func(v string) { repaired = append(repaired, v) }, Warning: func(v string) { warned = append(warned, v) }}
	for _, x := range []struct {
		model, samples string
		o              client.Options
		mode           string
		sizes          []string
	}{
		{"fashion-resnet20.onnx", "calibration/photos.zip", client.Options{SpeedUp: 2, Criterion: "obs"}, "data", nil},
		{"calibration/text.onnx", "calibration/tokens.npz", client.Options{SpeedUp: 1.2}, "data", nil},
		{"calibration/table.onnx", "", client.Options{SpeedUp: 1.5, Criterion: "wanda", Repair: "noise"}, "noise", nil},
	} {
		data := testFile(t, x.model)
		var samples, out bytes.Buffer
		ctx := client.WithRequestID(context.Background(), "repair-test")
		if x.samples != "" {
			samples.Write(testFile(t, x.samples))
			require.NoError(t, c.PruneWith(ctx, bytes.NewReader(data), &samples, x.o, &out), x.model)
		} else {
			require.NoError(t, c.Prune(ctx, bytes.NewReader(data), x.o, &out), x.model)
		}
		var before, after float64
		var held, skipped int
		_, err := fmt.Sscanf(repaired[len(repaired)-1], x.mode+";method=solve;cosine-before=%g;cosine=%g;held=%d;skipped=%d", &before, &after, &held, &skipped)
		require.NoError(t, err, repaired)
		require.Greater(t, after, before, x.model)
		require.Positive(t, held)
		m, err := onnxio.Decode(out.Bytes(), nil)
		require.NoError(t, err)
		pruned, err := prune.FromModel(m, out.Bytes())
		require.NoError(t, err)
		require.NoError(t, pruned.Close())
		require.Less(t, out.Len(), len(data))
	}
	require.Empty(t, warned)
	require.Zero(t, leftovers(t, spoolDir))

	p, err := c.MasksWith(context.Background(), bytes.NewReader(model(t)), bytes.NewReader(testFile(t, "calibration/photos.zip")), client.Options{SpeedUp: 2, Criterion: "hessian"})
	require.NoError(t, err)
	require.Equal(t, "hessian", p.Criterion)
	_, err = c.Progress(context.Background(), "repair-test")
	var refused *api.Problem
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 404, refused.Status)
}

func TestSamplesThatAreRefused(t *testing.T) {
	s, _ := start(t, Config{Backend: "go"})
	c := &client.Client{URL: "http://" + s.Addr()}
	var bad bytes.Buffer
	z := zip.NewWriter(&bad)
	for i := range 6 {
		w, err := z.Create(fmt.Sprintf("%d.png", i))
		require.NoError(t, err)
		_, err = w.Write(testFile(t, "calibration/photos/1.png")[:200+i])
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	for name, x := range map[string]struct {
		samples []byte
		says    string
	}{
		"no archive":       {[]byte("GIF89a"), "samples: zip: not a valid zip file; send an NPZ file, or a zip file of pictures"},
		"damaged pictures": {bad.Bytes(), ".png: "},
		"other arrays":     {testFile(t, "calibration/tokens.npz"), "want arrays called like the model's inputs (image), or x or images, got [attention_mask input_ids]; rename the arrays"},
	} {
		err := c.PruneWith(context.Background(), bytes.NewReader(model(t)), bytes.NewReader(x.samples), client.Options{SpeedUp: 2}, &bytes.Buffer{})
		var p *api.Problem
		require.ErrorAs(t, err, &p, name)
		require.Equal(t, 422, p.Status, name)
		require.Equal(t, "format", p.Kind, name)
		require.Contains(t, p.Detail, x.says, name)
	}
}

// A service that is told no backend repairs on ONNX Runtime where that is found.
func TestRepairOnONNXRuntime(t *testing.T) {
	orttest.Library(t)
	e := newEngine(&Config{Memory: 64 << 20})
	r, err := e.runtime()
	require.NoError(t, err)
	require.Equal(t, engines.ORT, r.Kind)
	s, _ := start(t, Config{Memory: 64 << 20})
	repaired := ""
	c := &client.Client{URL: "http://" + s.Addr(), Repaired: func(v string) { repaired = v }}
	var out bytes.Buffer
	require.NoError(t, c.PruneWith(context.Background(), bytes.NewReader(model(t)), bytes.NewReader(testFile(t, "calibration/photos.zip")), client.Options{SpeedUp: 2}, &out))
	require.Contains(t, repaired, "data;method=solve;")
}
