package data

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/prune/planner"
)

// known data sets: usual normalisation, and where their files may lie.
var known = map[string]struct {
	mean, std []float64
	places    []string
}{
	"fashion-mnist": {[]float64{0.2860}, []float64{0.3530}, []string{"/usr/share/datasets/fashion-mnist"}},
	"mnist":         {[]float64{0.1307}, []float64{0.3081}, nil},
	"cifar10":       {[]float64{0.4914, 0.4822, 0.4465}, []float64{0.2470, 0.2435, 0.2616}, nil},
	"cifar100":      {[]float64{0.5071, 0.4865, 0.4409}, []float64{0.2673, 0.2564, 0.2762}, nil},
}

// imageNet is what models of colour pictures are usually trained with.
var imageNet = [2][]float64{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}

// Open reads a data set: fashion-mnist, mnist, cifar10 or cifar100, with an optional folder after a colon; a folder of IDX files, of CIFAR's binary files or of
// pictures in class folders; an NPZ file; or two IDX files joined by a comma, images and labels. Named sets that are not found are downloaded to Cache.
func Open(spec string, g Geometry) (*Splits, error) {
	name, dir, hasDir := strings.Cut(spec, ":")
	k, isKnown := known[name]
	if isKnown && !hasDir {
		var err error
		if dir, err = locate(name, k.places); err != nil {
			return nil, err
		}
	}
	if !isKnown {
		dir = spec
	}
	s, err := openPath(dir, g)
	if err != nil {
		return nil, err
	}
	for _, set := range []*Set{s.Train, s.Test} {
		if set == nil {
			continue
		}
		if isKnown {
			set.Name = name
		}
		if err := set.usual(name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// IsNamed reports whether Open knows a data set of this name, with or without a folder after a colon.
func IsNamed(spec string) bool {
	name, _, _ := strings.Cut(spec, ":")
	_, ok := known[name]
	return ok
}

// IsSet reports whether a folder holds IDX files or CIFAR's binary files under their usual names.
func IsSet(dir string) bool {
	return idxFile(dir, "t10k-images-idx3-ubyte") != "" || exists(filepath.Join(dir, "test_batch.bin")) || exists(filepath.Join(dir, "train.bin"))
}

// usual sets the normalisation that goes with a name, or with the number of channels.
func (s *Set) usual(name string) error {
	k, ok := known[name]
	switch {
	case ok:
		return s.Normalise(k.mean, k.std)
	case strings.HasSuffix(s.Name, ".npz"):
		return nil
	case s.C == 3:
		return s.Normalise(imageNet[0], imageNet[1])
	}
	return s.Normalise(known["fashion-mnist"].mean, known["fashion-mnist"].std)
}

func openPath(path string, g Geometry) (*Splits, error) {
	if images, labels, ok := strings.Cut(path, ","); ok {
		set, err := ReadIDX(images, labels)
		return &Splits{Test: set}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		names := slices.Sorted(maps.Keys(known))
		return nil, &planner.OptionError{Where: "data", Want: "a file, a folder, or one of the sets " + planner.Listed(names), Got: path, Near: planner.Nearest(path, names)}
	}
	if !info.IsDir() {
		if strings.HasSuffix(path, ".npz") {
			return openNPZ(path)
		}
		set, err := ReadIDX(path, "")
		return &Splits{Test: set}, err
	}
	if f := idxFile(path, "t10k-images-idx3-ubyte"); f != "" {
		return openIDX(path)
	}
	if IsSet(path) {
		return openCIFAR(path)
	}
	return openFolder(path, g)
}

// idxFile is the path of an IDX file, gzipped or not, or "".
func idxFile(dir, name string) string {
	for _, end := range []string{"", ".gz"} {
		if p := filepath.Join(dir, name+end); exists(p) {
			return p
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func openIDX(dir string) (*Splits, error) {
	test, err := ReadIDX(idxFile(dir, "t10k-images-idx3-ubyte"), idxFile(dir, "t10k-labels-idx1-ubyte"))
	if err != nil {
		return nil, err
	}
	s := &Splits{Test: test}
	if f := idxFile(dir, "train-images-idx3-ubyte"); f != "" {
		if s.Train, err = ReadIDX(f, idxFile(dir, "train-labels-idx1-ubyte")); err != nil {
			return nil, err
		}
	}
	return s, nil
}
