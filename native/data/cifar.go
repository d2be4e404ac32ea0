package data

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// readCIFAR reads CIFAR's binary format: records of label bytes and 3x32x32 pixels. CIFAR-100 has a coarse label before the fine one.
func readCIFAR(name string, labelBytes int, paths ...string) (*Set, error) {
	record := labelBytes + 3*32*32
	var px, labels []byte
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if len(raw) == 0 || len(raw)%record != 0 {
			return nil, fmt.Errorf("%s: %d bytes are not a multiple of the record size %d", path, len(raw), record)
		}
		for at := 0; at < len(raw); at += record {
			labels = append(labels, raw[at+labelBytes-1])
			px = append(px, raw[at+labelBytes:at+record]...)
		}
	}
	s := &Set{Name: name, N: len(labels), C: 3, H: 32, W: 32}
	s.fill = func(i int, dst []float32) error { return bytesTo(dst, px[i*3072:(i+1)*3072]) }
	s.setLabels(labels)
	return s, nil
}

// openCIFAR reads a folder with data_batch_*.bin and test_batch.bin, or train.bin and test.bin.
func openCIFAR(dir string) (*Splits, error) {
	batches, err := fs.Glob(os.DirFS(dir), "data_batch_*.bin") // a folder's own name is no pattern
	if err != nil {
		return nil, err
	}
	for i, name := range batches {
		batches[i] = filepath.Join(dir, name)
	}
	if len(batches) > 0 {
		train, err := readCIFAR("cifar10", 1, batches...)
		if err != nil {
			return nil, err
		}
		test, err := readCIFAR("cifar10", 1, filepath.Join(dir, "test_batch.bin"))
		if err != nil {
			return nil, err
		}
		return named(&Splits{train, test}, filepath.Join(dir, "batches.meta.txt")), nil
	}
	train, err := readCIFAR("cifar100", 2, filepath.Join(dir, "train.bin"))
	if err != nil {
		return nil, err
	}
	test, err := readCIFAR("cifar100", 2, filepath.Join(dir, "test.bin"))
	if err != nil {
		return nil, err
	}
	return named(&Splits{train, test}, filepath.Join(dir, "fine_label_names.txt")), nil
}

// named takes class names from a file with one a line, where there is one that fits.
func named(s *Splits, path string) *Splits {
	raw, err := os.ReadFile(path)
	if names := strings.Fields(string(raw)); err == nil && len(names) >= len(s.Train.Classes) {
		s.Train.Classes, s.Test.Classes = names, names
	}
	return s
}
