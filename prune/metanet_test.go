package prune_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

func open(t testing.TB, path string) *prune.Model {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	s, err := prune.Read(data, nil)
	require.NoError(t, err)
	return s
}

func tensors(t testing.TB, path string) *safetensors.File {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	return f
}

// trained returns a metanetwork of a scheme that does change weights.
func trained(t testing.TB, s graphcodec.Scheme, seed uint64) *prune.Metanet {
	t.Helper()
	f := metanet.New(prune.Sizes(s, 8, 3), seed)
	r := rand.New(rand.NewPCG(seed, 9))
	for _, name := range []string{"nodeDec.3.weight", "nodeDec.3.bias", "edgeDec_kernel.3.weight", "edgeDec_kernel.3.bias", "edgeDec.3.weight", "edgeDec.3.bias"} {
		if old := f.Tensors[name]; old != nil {
			v, err := old.Floats()
			require.NoError(t, err)
			for i := range v {
				v[i] = float32(4*r.Float64() - 2)
			}
			f.Tensors[name] = safetensors.FloatTensor(v, old.Shape...)
		}
	}
	m, err := prune.LoadMetanet(f.Bytes())
	require.NoError(t, err)
	return m
}

// edgeKey tells the edges of a graph apart by their ends and their features.
type edgeKey struct{ out, in int32 }

// A checkpoint of the paper's code, run on the ONNX model of the network behind the reference numbers, sees the reference's graph and gives the reference's residuals.
func TestReferenceSchemeOnONNX(t *testing.T) {
	dir := "../testdata/metanet/"
	s := open(t, dir+"tiny_net.onnx")
	n, err := graphcodec.Encode(s.Analysis, graphcodec.ReferenceCNN)
	require.NoError(t, err)
	in, out := tensors(t, dir+"tiny_in.safetensors"), tensors(t, dir+"tiny_out.safetensors")
	nodes, err := in.Tensors["node_in"].Floats()
	require.NoError(t, err)
	require.Equal(t, nodes, n.Nodes)

	net, err := metanet.Convert(tensors(t, dir+"tiny_metanet.safetensors"), "reference-cnn")
	require.NoError(t, err)
	m, err := prune.LoadMetanet(net.Bytes())
	require.NoError(t, err)
	result, err := m.Network.Run(context.Background(), prune.Graph(n), metanet.Options{})
	require.NoError(t, err)
	want, err := out.Tensors["node_out"].Floats()
	require.NoError(t, err)
	for i, v := range want {
		require.InDelta(t, (v-nodes[i])/0.01, (result.Nodes[i]-nodes[i])/0.01, 1e-4)
	}
	residuals := referenceResiduals(t, in, out)
	seen := 0
	for i := range n.Blocks {
		b := &n.Blocks[i]
		if b.Const == nil {
			seen += b.Edges()
			continue
		}
		err := result.Edges(context.Background(), i, func(row, rows int, delta []float32) {
			for j, d := range delta {
				e, k := j/b.Kernel, j%b.Kernel
				if b.Kernel == 1 {
					k = 4
				}
				all := residuals[edgeKey{int32(b.Out + row + e/b.Cols), int32(b.In + e%b.Cols)}]
				require.NotEmpty(t, all)
				best := math.Inf(1)
				for _, r := range all {
					best = min(best, math.Abs(float64(r[k]-d/0.01)))
				}
				require.Less(t, best, 1e-4)
			}
			seen += len(delta) / b.Kernel
		})
		require.NoError(t, err)
	}
	require.Equal(t, 268, seen)
}

// referenceResiduals gathers (out - in) / ratio of the explicit graph's edges; where a shortcut runs beside a convolution two edges have the same ends.
func referenceResiduals(t testing.TB, in, out *safetensors.File) map[edgeKey][][]float32 {
	t.Helper()
	index, err := in.Tensors["edge_index"].Ints()
	require.NoError(t, err)
	before, err := in.Tensors["edge_in"].Floats()
	require.NoError(t, err)
	after, err := out.Tensors["edge_out"].Floats()
	require.NoError(t, err)
	all := map[edgeKey][][]float32{}
	edges := len(index) / 2
	for e := range edges {
		key := edgeKey{index[e], index[edges+e]}
		r := make([]float32, 9)
		for k := range r {
			r[k] = (after[e*9+k] - before[e*9+k]) / 0.01
		}
		all[key] = append(all[key], r)
	}
	return all
}

func request(speedUp float64, kind string) prune.Request {
	r := prune.Request{}
	r.Target.SpeedUp, r.Criterion = speedUp, planner.Criterion{Kind: kind}
	return r
}

// An untrained metanetwork changes nothing, so that its scores are those of l2.
func TestUntrainedScoresLikeL2(t *testing.T) {
	s := open(t, "../testdata/fashion-resnet20.onnx")
	m, err := prune.LoadMetanet(metanet.New(prune.Sizes(graphcodec.Universal, 16, 4), 0).Bytes())
	require.NoError(t, err)
	require.Equal(t, "untrained", m.Network.Metadata["name"])
	want, err := s.MakePlan(context.Background(), request(1.5, "l2"))
	require.NoError(t, err)
	for _, weights := range []string{"original", "metanet"} {
		p, err := s.Prepare(context.Background(), "metanet", weights, m, metanet.Options{})
		require.NoError(t, err)
		got, err := p.MakePlan(context.Background(), request(1.5, "metanet"))
		require.NoError(t, err)
		require.Equal(t, want.Removed, got.Removed)
		require.Equal(t, weights, got.Weights)
		require.Equal(t, m.SHA256, got.Metanet)
	}
}

// Weights that were made for scores are nobody's: only a metanetwork that was trained for weights may rewrite a model.
func TestScoresAreNoWeights(t *testing.T) {
	f := metanet.New(prune.Sizes(graphcodec.Universal, 8, 3), 0)
	f.Metadata["normalizer"] = "order"
	m, err := prune.LoadMetanet(f.Bytes())
	require.NoError(t, err)
	s := open(t, "../testdata/fashion-resnet20.onnx")
	_, err = s.Prepare(context.Background(), "metanet", "original", m, metanet.Options{})
	require.NoError(t, err)
	_, err = s.Prepare(context.Background(), "metanet", "metanet", m, metanet.Options{})
	require.ErrorContains(t, err, "trained for scores")
}

// A plan with a metanetwork's weights gives the same bytes when it is replayed, and is refused without its metanetwork.
func TestPlanWithMetanetWeights(t *testing.T) {
	ctx := context.Background()
	for _, scheme := range []graphcodec.Scheme{graphcodec.Universal, graphcodec.ReferenceCNN} {
		m := trained(t, scheme, 1)
		s := open(t, "../testdata/fashion-resnet20.onnx")
		p, err := s.Prepare(ctx, "metanet", "metanet", m, metanet.Options{})
		require.NoError(t, err)
		plan, err := p.MakePlan(ctx, request(1.5, "metanet"))
		require.NoError(t, err)
		p.Sign(plan)
		small, err := p.Apply(plan)
		require.NoError(t, err)
		first, err := small.Marshal()
		require.NoError(t, err)

		again := open(t, "../testdata/fashion-resnet20.onnx")
		q, err := again.PrepareReplay(ctx, plan, m, metanet.Options{Memory: -1, Portable: true})
		require.NoError(t, err)
		small, err = q.Apply(plan)
		require.NoError(t, err)
		second, err := small.Marshal()
		require.NoError(t, err)
		require.Equal(t, first, second, "recomputed states and portable kernels give the same bits")

		_, err = again.PrepareReplay(ctx, plan, trained(t, scheme, 2), metanet.Options{})
		require.ErrorContains(t, err, `give that file with option "metanet"`)
		l2, err := s.MakePlan(ctx, request(1.5, "l2"))
		require.NoError(t, err)
		require.NotEqual(t, l2.Removed, plan.Removed, "this metanetwork does change scores")
	}
}

// The same bits on every platform, under WebAssembly too.
func TestBitsOfARewrite(t *testing.T) {
	for path, want := range map[string]string{
		"../testdata/fashion-resnet20.onnx":  "7d91ae90329aba8478e37ff17a686875",
		"../testdata/models/yoloish.dy.onnx": "bcac29b6f0d989d88b16397ba8bacc2b",
		"../testdata/models/gnnet.ts.onnx":   "dade6e82c9b8c48fa187e755301692ec",
	} {
		s := open(t, path)
		r, err := s.Rewrite(context.Background(), trained(t, graphcodec.Universal, 5), metanet.Options{})
		require.NoError(t, err)
		rewritten, err := r.Model(s)
		require.NoError(t, err)
		data, err := rewritten.ONNX.Marshal()
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%.16x", sha256.Sum256(data)), path)
	}
}

// Only what the metanetwork changes differs, and scores with --weights original leave the weights alone.
func TestWeightsOriginal(t *testing.T) {
	ctx := context.Background()
	s := open(t, "../testdata/fashion-resnet20.onnx")
	p, err := s.Prepare(ctx, "metanet", "original", trained(t, graphcodec.Universal, 3), metanet.Options{})
	require.NoError(t, err)
	plan, err := p.MakePlan(ctx, request(1.3, "metanet"))
	require.NoError(t, err)
	m, err := p.Apply(plan)
	require.NoError(t, err)
	want, err := planner.Expected(s.Analysis, plan)
	require.NoError(t, err)
	data, err := m.Marshal()
	require.NoError(t, err)
	again, err := onnxio.Decode(data, nil)
	require.NoError(t, err)
	a, err := coupling.Analyze(again)
	require.NoError(t, err)
	have := map[string][]byte{}
	for _, c := range a.Constants() {
		have[c.Name], err = c.Tensor.Bytes()
		require.NoError(t, err)
	}
	for _, x := range want {
		raw, err := x.Bytes()
		require.NoError(t, err)
		require.Equal(t, raw, have[x.Name])
	}
	_, err = p.MakePlan(ctx, prune.Request{Pattern: "2:4"})
	require.ErrorContains(t, err, `option "weights metanet"`)
}

func TestSchemesAreRefused(t *testing.T) {
	ctx := context.Background()
	s := open(t, "../testdata/fashion-resnet20.onnx")
	m, err := prune.LoadMetanet(tensors(t, "../testdata/metanet/tiny_metanet.safetensors").Bytes())
	require.NoError(t, err)
	_, err = s.Prepare(ctx, "metanet", "", m, metanet.Options{})
	require.ErrorContains(t, err, "does not say which features")
	_, err = metanet.Convert(metanet.New(prune.Sizes(graphcodec.Universal, 4, 1), 0), "reference-cnn")
	require.ErrorContains(t, err, `of feature scheme "universal-1"`)
	f := metanet.New(prune.Sizes(graphcodec.Universal, 4, 1), 0)
	f.Metadata["scheme"] = "reference-cnn"
	m, err = prune.LoadMetanet(f.Bytes())
	require.NoError(t, err)
	_, err = s.Prepare(ctx, "metanet", "", m, metanet.Options{})
	require.ErrorContains(t, err, "needs 14 node and [9 1 1 1] edge features, but its feature scheme reference-cnn has 8 and [9]")
	f.Metadata["scheme"] = "universal-2"
	m, err = prune.LoadMetanet(f.Bytes())
	require.NoError(t, err)
	_, err = s.Prepare(ctx, "metanet", "", m, metanet.Options{})
	require.ErrorContains(t, err, `feature scheme "universal-2": want "universal-1" or "reference-cnn"`)
}
