// Command metaprune makes ONNX models smaller.
package main

import (
	"os"

	"github.com/metaprune/metaprune/native/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
