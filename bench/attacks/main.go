// Attacks tries hostile models and plans on the command line and on the HTTP API, and writes a table of what happened; with -files it only writes the files into a folder.
//
//	go run ./bench/attacks -big -o docs/results/attacks.md
package main

import (
	"flag"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/metaprune/metaprune/onnxio/hostile"
)

func main() {
	files := flag.String("files", "", "folder to write the files to, and nothing else")
	out := flag.String("o", "docs/results/attacks.md", "table to write")
	program := flag.String("metaprune", "bin/metaprune", "the program")
	big := flag.Bool("big", false, "try the big files too")
	flag.Parse()
	err := writeFiles(*files, *big)
	if *files == "" {
		err = report(*program, *out, *big)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func writeFiles(dir string, big bool) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	all := hostile.Files()
	if big {
		all = append(all, hostile.Big()...)
	}
	for _, f := range all {
		if err := os.WriteFile(filepath.Join(dir, fileName(f.Name)), f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func fileName(name string) string {
	return strings.NewReplacer(" ", "-", ",", "", "^", "").Replace(name) + ".onnx"
}

func attackName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".onnx"), "-", " ")
}
