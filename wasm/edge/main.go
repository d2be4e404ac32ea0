package main

import (
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/metaprune/metaprune/metanet"
	"github.com/metaprune/metaprune/wasm/api"
)

// Version is set by the build.
var Version = "dev"

// Limits of a worker with 128 MB: Go's heap, a model that is cut, and one that a metanetwork scores.
const (
	heap         = 96 << 20
	largest      = 64 << 20
	largestScore = 48 << 20
	metaMemory   = 8 << 20
)

// streaming is what is kept of models in the bucket that are read tensor by tensor.
var streaming = api.Streaming{From: 16 << 20, Tensor: 24 << 20, Kept: 16 << 20}

func main() {
	debug.SetGCPercent(20)
	debug.SetMemoryLimit(heap)
	c := api.Config{MaxBytes: setting("MAX_BYTES", largest), MaxMetanetBytes: setting("MAX_METANET_BYTES", largestScore), Stream: streaming, Memory: 1 << 30, Requests: 1, Timeout: 5 * time.Minute, Token: getenv("TOKEN"), Version: Version,
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)), Store: &room{}, MetanetOptions: metanet.Options{Memory: metaMemory}}
	h, err := api.New(c)
	if err != nil {
		panic(err)
	}
	serve(withBucket(h, openBucket))
}

// setting reads a number of bytes from the worker's variables.
func setting(name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(getenv(name), 10, 64)
	if err != nil || n <= 0 {
		return otherwise
	}
	return n
}
