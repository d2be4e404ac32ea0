package graphcodec_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/onnxio/hostile"
	"github.com/stretchr/testify/require"
)

// A small file must not take much time or memory, whatever it claims, and is refused in words of its own or analysed.
func TestSmallFilesStaySmall(t *testing.T) {
	for _, f := range hostile.Files() {
		m, err := onnxio.Decode(f.Data, nil)
		if err != nil {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err = coupling.Analyze(m)
		runtime.ReadMemStats(&after)
		if err != nil {
			require.NotContains(t, err.Error(), "please report", f.Name)
		}
		require.Less(t, time.Since(start), 20*time.Second, f.Name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<30), f.Name)
		t.Logf("%-36s %6.2f s %6d MB in all, error %v", f.Name, time.Since(start).Seconds(), (after.TotalAlloc-before.TotalAlloc)>>20, err)
	}
}
