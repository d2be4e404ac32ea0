package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/xla"
	"github.com/spf13/pflag"
)

// dataFlags name a data set and how its images become inputs.
type dataFlags struct {
	spec, images, labels string
	mean, std            string
	inputs               []string
	batch, limit         int
}

const dataHelp = `data set: fashion-mnist, mnist, cifar10 or cifar100 (with :FOLDER if its files are in another folder), a folder of IDX or CIFAR files or of JPEG and PNG files in class folders, or an NPZ file`

func (d *dataFlags) add(f *pflag.FlagSet, batch int) {
	f.StringVar(&d.spec, "data", "", dataHelp)
	f.StringVar(&d.images, "images", "", "images in IDX format, gzipped or not, instead of --data")
	f.StringVar(&d.labels, "labels", "", "labels in IDX format, gzipped or not")
	f.StringVar(&d.mean, "mean", "", "inputs are (pixel/255 - mean) / std; one number, or one per channel (default: the usual values of the data set)")
	f.StringVar(&d.std, "std", "", "see --mean")
	inputFlag(f, &d.inputs)
	f.IntVar(&d.batch, "batch", batch, "number of images in a batch")
	f.IntVar(&d.limit, "limit", 0, "use only this many images, drawn at random, the same ones for the same seed")
	takes(f, whole(1, 0), "batch")
	takes(f, whole(0, 0), "limit")
}

// inputFlag adds --input.
func inputFlag(f *pflag.FlagSet, to *[]string) {
	f.StringArrayVar(to, "input", nil, "sizes of an input, NAME=SIZES such as x=1x3x224x224 (may be repeated; without NAME= if there is one input): MACs and activations are counted at them, and pictures of a folder are scaled to them. Default for free sizes: batch 1, height and width 224, sequence lengths 128, others 64")
}

// picture is the channels, height and width of --input, nil where no input of that kind is named.
func (d *dataFlags) picture() ([]int, error) {
	sizes, err := coupling.ParseSizes(d.inputs)
	if err != nil {
		return nil, badSize(err)
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if v := sizes[name]; len(v) == 3 || len(v) == 4 {
			v = v[len(v)-3:]
			return []int{int(v[0]), int(v[1]), int(v[2])}, nil
		}
	}
	return nil, nil
}

// open reads the data set for a model's input.
func (d *dataFlags) open(m *onnxio.Model) (*data.Splits, error) {
	g, err := d.geometry(m)
	if err != nil {
		return nil, err
	}
	spec := d.spec
	switch {
	case spec == "" && d.images == "":
		return nil, fmt.Errorf("--data is missing: want a %s", dataHelp)
	case spec == "" && d.labels == "":
		spec = d.images
	case spec == "":
		spec = d.images + "," + d.labels
	}
	s, err := data.Open(spec, g)
	if err != nil {
		return nil, err
	}
	if d.mean == "" && d.std == "" {
		return s, nil
	}
	mean, err := numbersOf("mean", cmp.Or(d.mean, "0"))
	if err != nil {
		return nil, err
	}
	std, err := numbersOf("std", cmp.Or(d.std, "1"))
	if err != nil {
		return nil, err
	}
	for _, set := range []*data.Set{s.Train, s.Test} {
		if set != nil {
			if err := set.Normalise(mean, std); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// numbersOf reads numbers joined by commas; nil where there are none.
func numbersOf(flag, text string) ([]float64, error) {
	if text == "" {
		return nil, nil
	}
	var out []float64
	for t := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
		if err != nil {
			return nil, fmt.Errorf("--%s %q: want a number or numbers joined by commas", flag, text)
		}
		out = append(out, v)
	}
	return out, nil
}

func (d *dataFlags) geometry(m *onnxio.Model) (data.Geometry, error) {
	v, err := d.picture()
	if err != nil {
		return data.Geometry{}, err
	}
	if v != nil {
		return data.Geometry{C: v[0], H: v[1], W: v[2]}, nil
	}
	p, err := xla.Load(m)
	if err != nil || len(p.Inputs) == 0 || len(p.Inputs[0].Dims) != 4 {
		return data.Geometry{}, nil //nolint:nilerr // only folders need it, and say so
	}
	dims := p.Inputs[0].Dims
	return data.Geometry{C: max(dims[1], 0), H: max(dims[2], 0), W: max(dims[3], 0)}, nil
}

// threeInts reads CxHxW.
func threeInts(text string) ([]int, error) {
	parts := strings.Split(strings.ToLower(text), "x")
	var out []int
	for _, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: want three numbers such as 3x224x224", text)
		}
		out = append(out, n)
	}
	if len(out) != 3 {
		return nil, fmt.Errorf("%q: want three numbers such as 3x224x224", text)
	}
	return out, nil
}

// labelled is the part that is measured: the test images where the set has a test part.
func (d *dataFlags) labelled(s *data.Splits) (*data.Set, error) {
	set := s.Test
	if set == nil {
		set = s.Train
	}
	if set.Labels == nil {
		return nil, fmt.Errorf("%s has no labels; give --labels, or class folders", set.Name)
	}
	if d.limit > 0 {
		set = set.Shuffled(d.limit, 0)
	}
	return set, nil
}

// runtimeFlag adds --backend for commands that run models.
func runtimeFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "backend", "", "ort (ONNX Runtime), xla:cuda, xla:cpu or go (default: the first of them that works here; see metaprune doctor)")
	oneOf(f, "backend", engines.Names()...)
}

// backendFlag adds --backend for commands that train.
func backendFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "backend", "", "xla:cuda, xla:cpu or go (default: the first of them that works here; see metaprune doctor)")
	oneOf(f, "backend", xla.Backends...)
}
