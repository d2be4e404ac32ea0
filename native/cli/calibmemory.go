package cli

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/dustin/go-humanize"
	"github.com/metaprune/metaprune/native/spill"
	"github.com/metaprune/metaprune/prune/engine"
)

const memoryUsage = "memory for a calibration, such as 500MB: values of samples that do not fit into a third of it go to a temporary file (default: a quarter of the machine's memory). For --criterion metanet: memory for the metanetwork's cached edge states; the others are computed again, which takes about as long"

// The heap's share of a calibration: values come and go by the gigabyte.
const calibrationGC = 40

// calibrationMemory bounds what a calibration takes, by what --memory says, which is at least
// least; "" is a quarter of the machine's.
func calibrationMemory(ctx context.Context, text string, least int64) (engine.Memory, error) {
	budget := int64(memoryOf() / 4)
	if text != "" {
		n, err := humanize.ParseBytes(text)
		if err != nil || n > 1<<50 {
			return engine.Memory{}, fmt.Errorf("--memory %q: want a size such as 500MB", text)
		}
		budget = int64(n)
		if n > 0 && budget < least {
			want := "at least " + humanize.Bytes(uint64(least+999_999)/1_000_000*1_000_000)
			return engine.Memory{}, &usageError{"--memory", want, text, fmt.Sprintf("--memory %s: the least squares of the model's largest layer need %s; give that or more, or --repair none", text, want)}
		}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(calibrationGC)
	}
	if budget == 0 {
		return engine.Memory{}, nil
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(budget)
	}
	folder := spill.New(func() (string, func(), error) { return endingOf(ctx).tempDir("metaprune-values") })
	return engine.Memory{Bytes: budget / 3, Spill: folder}, nil
}
