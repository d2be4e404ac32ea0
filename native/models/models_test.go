package models_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/native/internal/judge"
	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/outfile"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/xla"
	"github.com/stretchr/testify/require"
)

func build(t *testing.T, name string, o models.Options) *onnxio.Model {
	t.Helper()
	m, err := models.New(name, o)
	require.NoError(t, err, name)
	return m
}

// Parameters (weights, biases, scales and shifts) as in torchvision, and in the papers for the CIFAR networks.
func TestParameterCounts(t *testing.T) {
	imagenet, cifar := models.Options{Input: []int{3, 224, 224}, Classes: 1000}, models.Options{Input: []int{3, 32, 32}, Classes: 10}
	for _, c := range []struct {
		name string
		o    models.Options
		want int
	}{
		{"resnet18", imagenet, 11689512}, {"resnet50", imagenet, 25557032}, {"mobilenetv2", imagenet, 3504872},
		{"resnet20", cifar, 272474}, {"resnet56", cifar, 855770}, // with projections (1x1 and BatchNormalization), 2,752 more than with zero padding
		{"mlp", models.Options{Input: []int{1, 28, 28}, Classes: 10, Widths: []int{64, 32}}, 784*64 + 64 + 64*32 + 32 + 32*10 + 10},
	} {
		p, err := xla.Load(build(t, c.name, c.o))
		require.NoError(t, err)
		n := 0
		for _, x := range p.Params {
			if x.Trained() {
				n += x.Size()
			}
		}
		require.Equal(t, c.want, n, c.name)
	}
}

// Every network is read back, analysed, pruned at 1.5x and run.
func TestNetworksPruneAndRun(t *testing.T) {
	b, err := xla.Open("go")
	require.NoError(t, err)
	defer b.Finalize()
	dir, j := t.TempDir(), judge.Start(t)
	for _, name := range models.Names() {
		m := build(t, name, models.Options{Input: []int{3, 32, 32}, Classes: 7, Width: .25, Seed: 1})
		data, err := m.Marshal()
		require.NoError(t, err)
		s, err := prune.Read(data, nil)
		require.NoError(t, err, name)
		require.Empty(t, s.Analysis.Unknown(), name)
		for _, g := range s.Analysis.Groups {
			if name != "vit" && g.Frozen != "" {
				require.Contains(t, g.Frozen, "graph output", "%s: %s", name, g.Name)
			}
		}
		r := prune.Request{}
		r.Target.SpeedUp, r.Criterion = 1.5, planner.Criterion{}
		p, err := s.MakePlan(context.Background(), r)
		require.NoError(t, err, name)
		s.Sign(p)
		small, err := s.Apply(p)
		require.NoError(t, err, name)
		for _, model := range []*onnxio.Model{m, small} {
			require.Equal(t, []int{2, 7}, shapeOf(t, b, model), name)
		}
		judged(t, j, dir, name, data, small, p)
	}
}

// judged asks ONNX Runtime.
func judged(t *testing.T, j *judge.Judge, dir, name string, original []byte, small *onnxio.Model, p *planner.Plan) {
	t.Helper()
	at := func(n string) string { return filepath.Join(dir, name+n) }
	require.NoError(t, os.WriteFile(at(".onnx"), original, 0o644))
	require.NoError(t, outfile.Write(at(".small.onnx"), small.Encode))
	plan, err := planner.MarshalPlan(p)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at(".json"), plan, 0o644))
	j.Accepts(t, at(".onnx"), at(".small.onnx"), at(".json"), "--min-speed-up", "1.49")
}

func shapeOf(t *testing.T, b *xla.Backend, m *onnxio.Model) []int {
	t.Helper()
	p, err := xla.Load(m)
	require.NoError(t, err)
	r, err := xla.NewRunner(b, p)
	require.NoError(t, err)
	defer r.Close()
	out, err := r.Run(xla.Array{Dims: []int{2, 3, 32, 32}, Floats: make([]float32, 2*3*32*32), Type: onnxio.Float})
	require.NoError(t, err)
	return out[0].Dims
}

func TestSeedsAndErrors(t *testing.T) {
	o := models.Options{Input: []int{1, 28, 28}, Classes: 10}
	bytes := func(seed uint64) []byte {
		o.Seed = seed
		b, err := build(t, "resnet8", o).Marshal()
		require.NoError(t, err)
		return b
	}
	require.Equal(t, bytes(1), bytes(1))
	require.NotEqual(t, bytes(1), bytes(2))
	for name, c := range map[string]models.Options{
		"resnet21": {Input: []int{1, 28, 28}, Classes: 10}, "resnet20": {Input: []int{28, 28}, Classes: 10}, "mlp": {Input: []int{1, 28, 28}},
		"vgg16": {Input: []int{1, 28, 28}, Classes: 10, Widths: []int{0}},
	} {
		_, err := models.New(name, c)
		require.Error(t, err, name)
	}
}

// Classes stay: the last layer's outputs are the model's.
func TestClassesAreFrozen(t *testing.T) {
	a, err := coupling.Analyze(build(t, "resnet8", models.Options{Input: []int{1, 28, 28}, Classes: 10}))
	require.NoError(t, err)
	found := false
	for _, g := range a.Groups {
		if g.Frozen != "" {
			found = true
			require.Len(t, g.Units, 10)
		}
	}
	require.True(t, found)
}
