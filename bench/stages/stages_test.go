package stages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/native/models"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune"
	"github.com/metaprune/metaprune/prune/planner"
	"github.com/stretchr/testify/require"
)

// sizes are ResNet-50s by width, and deeper networks of small layers.
var sizes = []struct {
	network string
	width   float64
	input   []int
}{
	{"resnet50", .125, []int{3, 224, 224}}, {"resnet50", .25, []int{3, 224, 224}}, {"resnet50", .5, []int{3, 224, 224}}, {"resnet50", 1, []int{3, 224, 224}}, {"resnet50", 2, []int{3, 224, 224}},
	{"resnet20", 1, []int{3, 32, 32}}, {"resnet110", 1, []int{3, 32, 32}}, {"vit", 1, []int{3, 32, 32}},
}

func file(b *testing.B, i int) []byte {
	s := sizes[i]
	m, err := models.New(s.network, models.Options{Input: s.input, Classes: 100, Width: s.width})
	require.NoError(b, err)
	data, err := m.Marshal()
	require.NoError(b, err)
	return data
}

// each runs a stage on every model; what comes before the stage is not timed.
func each(b *testing.B, stage func(b *testing.B, data []byte)) {
	for i, s := range sizes {
		b.Run(fmt.Sprintf("%s-%g", s.network, s.width), func(b *testing.B) {
			data := file(b, i)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			b.ResetTimer()
			stage(b, data)
		})
	}
}

func analysis(b *testing.B, data []byte) *coupling.Analysis {
	m, err := onnxio.Decode(data, nil)
	require.NoError(b, err)
	a, err := coupling.Analyze(m)
	require.NoError(b, err)
	return a
}

func BenchmarkInspect(b *testing.B) {
	each(b, func(b *testing.B, data []byte) {
		for b.Loop() {
			analysis(b, data)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	each(b, func(b *testing.B, data []byte) {
		a := analysis(b, data)
		for b.Loop() {
			_, err := planner.Score(a, a.NewState(), planner.Criterion{})
			require.NoError(b, err)
		}
	})
}

func BenchmarkPlan(b *testing.B) {
	each(b, func(b *testing.B, data []byte) {
		a := analysis(b, data)
		scores, err := planner.Score(a, a.NewState(), planner.Criterion{})
		require.NoError(b, err)
		for b.Loop() {
			_, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{SpeedUp: 2}, Scores: scores})
			require.NoError(b, err)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	each(b, func(b *testing.B, data []byte) {
		a := analysis(b, data)
		plan, err := planner.MakePlan(context.Background(), a, planner.Options{Target: planner.Target{SpeedUp: 2}})
		require.NoError(b, err)
		for b.Loop() {
			m, err := planner.Apply(a, plan)
			require.NoError(b, err)
			require.NoError(b, m.Encode(io.Discard))
		}
	})
}

func BenchmarkGraph(b *testing.B) {
	each(b, func(b *testing.B, data []byte) {
		a := analysis(b, data)
		for b.Loop() {
			n, err := graphcodec.Encode(a, graphcodec.Universal)
			require.NoError(b, err)
			d, err := n.Decoder(n.Nodes, nil)
			require.NoError(b, err)
			_, err = d.Model()
			require.NoError(b, err)
		}
	})
}

// BenchmarkMetanet is a plan by the metanetwork in the program; the largest model is left out.
func BenchmarkMetanet(b *testing.B) {
	each(b, func(b *testing.B, data []byte) {
		if len(data) > 150_000_000 {
			b.Skip("a minute a run")
		}
		s, err := prune.Read(bytes.Clone(data), nil)
		require.NoError(b, err)
		net, err := prune.LoadMetanet(nil)
		require.NoError(b, err)
		for b.Loop() {
			p, err := s.Prepare(context.Background(), "metanet", "original", net, metanet.Options{})
			require.NoError(b, err)
			r := prune.Request{}
			r.Target.SpeedUp, r.Criterion.Kind = 2, "metanet"
			_, err = p.MakePlan(context.Background(), r)
			require.NoError(b, err)
		}
	})
}
