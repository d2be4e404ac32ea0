// Command metaprune makes ONNX models smaller.
package main

import (
	"os"
	"runtime/debug"

	"github.com/metaprune/metaprune/native/cli"
)

func main() {
	useHugePages()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a short process whose weights are mapped, not on the heap
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
