package prune_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/metaprune/metaprune/graphcodec"
	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/prune"
	"github.com/stretchr/testify/require"
)

// BenchmarkMetanet runs a metanetwork over the model that METAPRUNE_BENCH_MODEL names: graph, node states and every decoded edge; with METAPRUNE_BENCH_PORTABLE on the portable kernels.
func BenchmarkMetanet(b *testing.B) {
	path := os.Getenv("METAPRUNE_BENCH_MODEL")
	if path == "" {
		b.Skip("METAPRUNE_BENCH_MODEL names no model")
	}
	s := open(b, path)
	for _, size := range []struct{ hidden, layers int }{{16, 4}, {16, 6}, {4, 3}, {64, 8}} {
		f := metanet.New(prune.Sizes(graphcodec.Universal, size.hidden, size.layers), 1)
		net, err := metanet.Load(f)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("H%dL%d", size.hidden, size.layers), func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				n, err := graphcodec.Encode(s.Analysis, graphcodec.Universal)
				require.NoError(b, err)
				encoded := time.Since(start)
				r, err := net.Run(context.Background(), prune.Graph(n), metanet.Options{Portable: os.Getenv("METAPRUNE_BENCH_PORTABLE") != ""})
				require.NoError(b, err)
				ran := time.Since(start)
				for i := range n.Blocks {
					require.NoError(b, r.Edges(context.Background(), i, func(int, int, []float32) {}))
				}
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.Logf("H %d L %d: %d nodes, %d blocks: graph %v, layers %v, decode %v, heap %d MB", size.hidden, size.layers, n.N, len(n.Blocks), encoded, ran-encoded, time.Since(start)-ran, m.Sys>>20)
			}
		})
	}
}
