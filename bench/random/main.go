// Random writes random networks into a folder, one .onnx file a seed, for the judge to try (make random).
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/metaprune/metaprune/graphcodec/randnet"
)

func main() {
	n := flag.Int("n", 100, "networks to write")
	first := flag.Uint64("seed", 1, "seed of the first one")
	out := flag.String("o", "random", "folder")
	hide := flag.Bool("hide", false, "hide ranks in all networks (default: in every ninth)")
	flag.Parse()
	if err := write(*out, *first, *n, *hide); err != nil {
		log.Fatal(err)
	}
}

var hiding = map[bool]randnet.Hiding{true: randnet.Reshaped}

func write(dir string, first uint64, n int, hide bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	opsets := []int64{13, 17, 18, 20}
	for i := range n {
		seed := first + uint64(i)
		m := randnet.New(randnet.Options{Seed: seed, Steps: 6 + int(seed%3)*8, Opset: opsets[seed%4], Style: randnet.Style{FreeBatch: seed%2 == 0, Identities: seed%5 == 0, Constants: seed%7 == 0, MatMulAdd: seed%3 == 0, SharedZeros: seed%4 == 1, Standardised: seed%6 == 2, Hide: hiding[hide || seed%9 == 3]}})
		data, err := m.Marshal()
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("random%05d.onnx", seed)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
