//go:build !js

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this program runs in a web worker: GOOS=js GOARCH=wasm go build ./wasm/browser")
	os.Exit(2)
}
