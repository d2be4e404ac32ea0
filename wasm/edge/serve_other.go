//go:build !js

package main

import (
	"errors"
	"net/http"
	"os"

	"github.com/syumai/workers"
)

// serve answers as an ordinary server, to try the worker without its runtime.
func serve(h http.Handler) { workers.Serve(h) }

func getenv(name string) string { return os.Getenv(name) }

func openBucket() (bucket, error) {
	return nil, errors.New("buckets exist only in the worker's runtime")
}
