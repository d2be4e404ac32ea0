package metatrain

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/graphcodec/op"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/onnxio/safetensors"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

func images(t testing.TB) *data.Set {
	t.Helper()
	s, err := data.Open("../../testdata/fashion-test-1000-images-idx3-ubyte.gz,../../testdata/fashion-test-1000-labels-idx1-ubyte.gz", data.Geometry{})
	require.NoError(t, err)
	for _, set := range []*data.Set{s.Train, s.Test} {
		if set != nil {
			return set
		}
	}
	require.Fail(t, "no images")
	return nil
}

func dataModel(t testing.TB, b *xla.Backend, name string, o models.Options) *DataModel {
	t.Helper()
	o.Input, o.Classes = []int{1, 28, 28}, 10
	m, err := models.New(name, o)
	require.NoError(t, err)
	d, err := NewDataModel(b, name, m, graphcodec.Universal, Weights, 1)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

// metanetwork draws one whose decoders are not zero.
func metanetwork(r *rand.Rand) *safetensors.File {
	f := metanet.New(prune.Sizes(graphcodec.Universal, 6, 2), 1)
	for _, name := range sortedNames(f) {
		t := f.Tensors[name]
		v, _ := t.Floats()
		for i := range v {
			v[i] += float32(r.NormFloat64()) * .1
		}
		*t = *safetensors.FloatTensor(v, t.Shape...)
	}
	return f
}

func sortedNames(f *safetensors.File) []string {
	var names []string
	for name := range f.Tensors {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// The metanetwork's gradient, through decoding, the data model and its loss, is that of finite differences.
func TestGradientOfTheWholeStep(t *testing.T) {
	b, err := xla.Open(xla.Go)
	require.NoError(t, err)
	defer b.Finalize()
	set, ctx := images(t), context.Background()
	for _, name := range []string{"resnet8", "mlp", "mobilenetv2"} {
		r := rand.New(rand.NewPCG(4, 4))
		d := dataModel(t, b, name, map[string]models.Options{"resnet8": {Width: .25}, "mlp": {Widths: []int{12, 8}}, "mobilenetv2": {Width: .1}}[name])
		f := metanetwork(r)
		config := Config{Images: 16, Batch: 16, Sparsity: -1}
		at := func(f *safetensors.File) (*Trainer, *Report, map[*op.Constant][]float32) {
			tr, err := New(b, f, config)
			require.NoError(t, err)
			theta, err := tr.theta(d)
			require.NoError(t, err)
			values, err := d.values(theta)
			require.NoError(t, err)
			rep := &Report{}
			g, err := tr.crossEntropy(ctx, d, values, set, rep)
			require.NoError(t, err)
			return tr, rep, g
		}
		tr, _, g := at(f)
		cotangent, err := tr.pull(d, g)
		require.NoError(t, err)
		grads, err := tr.Net.Gradient(d.graph, cotangent)
		require.NoError(t, err)
		tr.Close()
		used := 0
		for range 6 {
			analytic, size := 0.0, 0.0
			direction := map[string][]float32{}
			for _, p := range sortedNames(f) {
				for _, x := range grads[p] {
					v := r.NormFloat64()
					direction[p] = append(direction[p], float32(v))
					analytic, size = analytic+v*float64(x), size+float64(x)*float64(x)
				}
			}
			moved := func(step float64) float64 {
				m := &safetensors.File{Metadata: f.Metadata, Tensors: map[string]*safetensors.Tensor{}}
				for p, tensor := range f.Tensors {
					v, err := tensor.Floats()
					require.NoError(t, err)
					v = slices.Clone(v)
					for i := range v {
						v[i] += float32(step) * direction[p][i]
					}
					m.Tensors[p] = safetensors.FloatTensor(v, tensor.Shape...)
				}
				tr, rep, _ := at(m)
				tr.Close()
				return rep.Loss
			}
			slope := func(h float64) float64 { return (moved(h) - moved(-h)) / (2 * h) }
			wide, narrow, room := slope(1e-3), slope(5e-4), .05*math.Sqrt(size)
			t.Logf("%s: gradient %.5g, differences %.5g and %.5g, usual %.5g", name, analytic, wide, narrow, math.Sqrt(size))
			if math.Abs(wide-narrow) > room { // a kink
				continue
			}
			used++
			require.InDelta(t, narrow, analytic, 2*room, name)
		}
		require.Greater(t, used, 2, name)
	}
}

// A metanetwork learns to make networks of two families better than they are, and two runs are the same.
func TestMetanetworkLearns(t *testing.T) {
	b, err := xla.Open(xla.Go)
	require.NoError(t, err)
	defer b.Finalize()
	set, ctx := images(t), context.Background()
	ds := []*DataModel{dataModel(t, b, "resnet8", models.Options{Width: .25}), dataModel(t, b, "mlp", models.Options{Widths: []int{12, 8}})}
	const steps = 60
	run := func() []*Report {
		c := Config{Images: 64, Batch: 64}
		c.AdamW.Rate = 3e-2
		tr, err := New(b, metanet.New(prune.Sizes(graphcodec.Universal, 6, 2), 1), c)
		require.NoError(t, err)
		defer tr.Close()
		var out []*Report
		for k := range steps {
			r, err := tr.Step(ctx, ds[k%2], set)
			require.NoError(t, err)
			out = append(out, r)
		}
		m, err := tr.Rewritten(ds[0])
		require.NoError(t, err)
		require.NotNil(t, m)
		return out
	}
	reports := run()
	for _, k := range []int{0, 1} {
		first, last := (reports[k].Loss+reports[k+2].Loss)/2, (reports[steps-4+k].Loss+reports[steps-2+k].Loss)/2
		t.Logf("%s: loss %.3f -> %.3f, gradient %.3g, sparsity %.3g", reports[k].Model, first, last, reports[k].Norm, reports[k].Sparsity)
		require.Less(t, last, first-.05, reports[k].Model)
	}
	require.Equal(t, reports, run())
}

func TestConfigIsChecked(t *testing.T) {
	b, err := xla.Open(xla.Go)
	require.NoError(t, err)
	defer b.Finalize()
	_, err = New(b, metanet.New(prune.Sizes(graphcodec.Universal, 4, 1), 1), Config{Images: 3, Batch: 5})
	require.ErrorContains(t, err, "at least one batch")
	_, err = NewDataModel(b, "broken", nil, graphcodec.Universal, Weights, 1)
	require.ErrorContains(t, err, "broken")
}

// A step for masks prunes to a speed-up of its range and moves scores at a cost that stays: making all of them larger together would change nothing.
func TestMasks(t *testing.T) {
	b, err := xla.Open(xla.Go)
	require.NoError(t, err)
	defer b.Finalize()
	set, ctx := images(t), context.Background()
	r := rand.New(rand.NewPCG(6, 6))
	d := dataModel(t, b, "resnet8", models.Options{Width: .5})
	tr, err := New(b, metanetwork(r), Config{Objective: Masks, Images: 32, Batch: 32, SpeedUps: [2]float64{2, 3}})
	require.NoError(t, err)
	defer tr.Close()
	theta, err := tr.theta(d)
	require.NoError(t, err)
	k, err := tr.cut(ctx, d, theta)
	require.NoError(t, err)
	require.True(t, k.speedUp >= 2 && k.speedUp <= 3)
	whole := d.analysis.NewState().MACs()
	require.InDelta(t, k.speedUp, float64(whole)/float64(k.state.MACs()), .25)
	byGate := make([]float64, d.analysis.NumUnits())
	for i := range byGate {
		byGate[i] = r.NormFloat64()
	}
	sum, size := 0.0, 0.0
	for u, x := range k.straightThrough(d.analysis, byGate, .5) {
		sum, size = sum+x, size+math.Abs(x)
		require.True(t, x == 0 || k.scores[u] > 0)
	}
	require.Positive(t, size)
	require.InDelta(t, 0, sum/size, 1e-9)

	before, err := tr.Net.Weights()
	require.NoError(t, err)
	report, err := tr.Step(ctx, d, set)
	require.NoError(t, err)
	require.Equal(t, k.speedUp, report.SpeedUp)
	require.Positive(t, report.Gradient)
	after, err := tr.Net.Weights()
	require.NoError(t, err)
	require.NotEqual(t, before.Bytes(), after.Bytes())
	for _, bad := range []Config{{Objective: "best"}, {SpeedUps: [2]float64{.5, 2}}, {SpeedUps: [2]float64{3, 2}}, {Temperature: -1}} {
		_, err := New(b, metanetwork(r), bad)
		require.Error(t, err)
	}
}

// The derivative of what scores are compared by is that of finite differences, and constants that the comparison is up to do not count.
func TestCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	s := set{units: []coupling.UnitID{4, 0, 2}, shares: []float64{.5, .25, .25}}
	scores, wanted := make([]float64, 5), make([]float64, 5)
	for i := range scores {
		scores[i], wanted[i] = math.Exp(r.NormFloat64()), r.NormFloat64()
	}
	by := make([]float64, 5)
	loss, ok := s.compare(scores, wanted, by, .5)
	require.True(t, ok)
	for u := range scores {
		moved := func(h float64) float64 {
			own := slices.Clone(scores)
			own[u] *= math.Exp(h)
			l, _ := s.compare(own, wanted, make([]float64, 5), .5)
			return l
		}
		require.InDelta(t, (moved(1e-5)-moved(-1e-5))/2e-5, by[u], 1e-8)
	}
	larger := slices.Clone(scores)
	for _, u := range s.units {
		larger[u] *= 7
	}
	same, _ := s.compare(larger, wanted, make([]float64, 5), .5)
	require.InDelta(t, loss, same, 1e-9)
	for i := range wanted {
		scores[i] = 3 * math.Exp(wanted[i])
	}
	none, _ := s.compare(scores, wanted, make([]float64, 5), .5)
	require.InDelta(t, 0, none, 1e-12)
	_, ok = s.compare(scores, make([]float64, 5), by, 1)
	require.False(t, ok)
}
