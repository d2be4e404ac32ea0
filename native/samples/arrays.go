package samples

import (
	"archive/zip"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
)

// memory are the chosen ones of samples that are in memory.
func (o Options) memory(path string, all map[string]repair.Array, what string) (*Samples, error) {
	n, err := calib.Check(o.Inputs, all)
	if err != nil {
		return nil, inFile(path, err)
	}
	picked := choose(n, o.Limit, o.Seed)
	if len(picked) == n { // as they are: what fits a fixed batch may not be mixed
		slices.Sort(picked)
	}
	out := map[string]repair.Array{}
	for _, in := range o.Inputs {
		a := taken(all[in.Name], picked)
		a.Type = in.Type
		out[in.Name] = a
	}
	return &Samples{Source: calib.Memory(out), Notes: []string{fmt.Sprintf("%s: %d of %d %s", path, len(picked), n, what)}}, nil
}

// taken are the samples of an array with these numbers.
func taken(a repair.Array, picked []int) repair.Array {
	size := 1
	for _, d := range a.Dims[1:] {
		size *= d
	}
	out := repair.Array{Dims: append([]int{len(picked)}, a.Dims[1:]...)}
	for _, i := range picked {
		if a.Floats != nil {
			out.Floats = append(out.Floats, a.Floats[i*size:(i+1)*size]...)
		} else {
			out.Ints = append(out.Ints, a.Ints[i*size:(i+1)*size]...)
		}
	}
	return out
}

// npz opens an array for each input, called like it; for the only input, the file's only array; or
// the images of a data set.
func (o Options) npz(path string) (*Samples, error) {
	arrays, err := data.Arrays(path)
	if err != nil {
		return nil, damaged(path, err, "save it again with numpy.savez")
	}
	if own := o.named(arrays); own != nil {
		return o.arrays(path, own)
	}
	if !slices.ContainsFunc([]string{"x", "images", "x_train", "x_test"}, func(name string) bool { _, ok := arrays[name]; return ok }) {
		return nil, o.unnamed(path, arrays)
	}
	return o.set(path)
}

// named are arrays called like inputs, or the only one as that of the only input; nil where there are none.
func (o *Options) named(arrays map[string]data.Array) map[string]data.Array {
	if slices.ContainsFunc(o.Inputs, func(in calib.Input) bool { _, ok := arrays[in.Name]; return ok }) {
		return arrays
	}
	for _, a := range arrays {
		if in := o.Inputs; len(arrays) == 1 && len(in) == 1 && (a.Bytes == nil || !in[0].Type.IsFloat()) && in[0].Fits(a.Dims) {
			return map[string]data.Array{in[0].Name: a}
		}
	}
	return nil
}

func (o *Options) unnamed(path string, arrays map[string]data.Array) error {
	return &calib.SampleError{File: path, Want: "arrays called like the model's inputs (" + names(o.Inputs) + "), or x or images", Got: fmt.Sprint(slices.Sorted(maps.Keys(arrays))), Do: "rename the arrays"}
}

// Upload opens what a request sends: an NPZ file with arrays called like the inputs, or a zip file of
// pictures or sound, which the caller keeps open.
func Upload(name string, r io.ReaderAt, size int64, o Options) (*Samples, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, damaged(name, err, "send an NPZ file, or a zip file of pictures")
	}
	if !slices.ContainsFunc(z.File, func(f *zip.File) bool { return extension(f.Name) == ".npy" }) {
		return o.archive(name, z)
	}
	arrays, err := data.ArraysOf(name, z)
	if err != nil {
		return nil, damaged("", err, "save it again with numpy.savez")
	}
	if own := o.named(arrays); own != nil {
		return o.arrays(name, own)
	}
	return nil, o.unnamed(name, arrays)
}

// npy opens an array for the model's only input.
func (o Options) npy(path string) (*Samples, error) {
	in, err := o.only(path, "an NPY file")
	if err != nil {
		return nil, err
	}
	a, err := data.ReadNPY(path)
	if err != nil {
		return nil, damaged("", err, "save it again with numpy.save")
	}
	return o.arrays(path, map[string]data.Array{in.Name: a})
}

// arrays brings arrays to the types of the inputs.
func (o Options) arrays(path string, arrays map[string]data.Array) (*Samples, error) {
	all := map[string]repair.Array{}
	for name, v := range arrays {
		all[name] = repair.Array{Dims: v.Dims, Floats: v.Floats, Ints: v.Ints}
	}
	for _, in := range o.Inputs {
		v, ok := arrays[in.Name]
		switch {
		case !ok:
		case v.Bytes != nil && in.Type.IsInteger():
			all[in.Name] = repair.Array{Dims: v.Dims, Ints: numbers[uint8, int64](v.Bytes)}
		case v.Bytes != nil:
			return nil, &calib.SampleError{File: path, Input: in.Name, Want: in.Type.String(), Got: "uint8", Do: "save the numbers as the model gets them, such as (pixels / 255 - mean) / std in float32"}
		case v.Ints != nil && in.Type.IsFloat():
			all[in.Name] = repair.Array{Dims: v.Dims, Floats: numbers[int64, float32](v.Ints)}
		}
	}
	return o.memory(path, all, "samples")
}

func numbers[From uint8 | int64, To int64 | float32](v []From) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out
}

// inFile adds the file to an error of samples.
func inFile(path string, err error) error {
	if e, ok := err.(*calib.SampleError); ok && e.File == "" {
		with := *e
		with.File = path
		if with.Input == "" {
			with.Want, with.Got = with.Want+" samples", with.Got+" of them"
		}
		return &with
	}
	return err
}

// set opens a data set, which is read image by image.
func (o Options) set(path string) (*Samples, error) {
	if len(o.Inputs) != 1 {
		if _, err := data.Open(path, data.Geometry{}); err != nil {
			return nil, err
		}
	}
	in, err := o.only(path, "images")
	if err != nil {
		return nil, err
	}
	s, err := data.Open(path, o.geometry(in))
	if err != nil {
		return nil, err
	}
	set := s.Train
	if set == nil {
		set = s.Test
	}
	if o.Mean != nil || o.Std != nil {
		n, err := normOf(1, o.Mean, o.Std, set.C, "")
		if err != nil {
			return nil, err
		}
		if err := set.Normalise(numbers64(n.mean), numbers64(n.std)); err != nil {
			return nil, err
		}
	}
	if dims := []int{set.N, set.C, set.H, set.W}; !in.Fits(dims) || !in.Type.IsFloat() {
		return nil, &calib.SampleError{File: path, Input: in.Name, Want: fmt.Sprintf("%s %v", in.Type, in.Dims), Got: fmt.Sprintf("images of %v", dims[1:]), Do: "give pictures of that size in a folder, which are resized, or an NPZ file"}
	}
	n := set.N
	if o.Limit > 0 {
		set = set.Shuffled(o.Limit, o.Seed)
	}
	return &Samples{Source: images{set, in}, Notes: []string{fmt.Sprintf("%s: %d of %d images", path, set.N, n)}}, nil
}

func numbers64(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// geometry is the size of the pictures that an input takes, zero where it is unknown.
func (o *Options) geometry(in calib.Input) data.Geometry {
	dims, err := o.size(in)
	if err != nil || len(dims) != 3 {
		return data.Geometry{}
	}
	return data.Geometry{C: max(dims[0], 0), H: max(dims[1], 0), W: max(dims[2], 0)}
}

// images are a data set as samples of an input.
type images struct {
	set   *data.Set
	input calib.Input
}

func (s images) Len() int { return s.set.N }

func (s images) Read(from, n int) (map[string]repair.Array, error) {
	if from < 0 || n < 0 || from > s.set.N-n {
		return nil, fmt.Errorf("images %d to %d of %d", from, from+n, s.set.N)
	}
	which := make([]int, n)
	for i := range which {
		which[i] = from + i
	}
	b, err := s.set.Take(which)
	if err != nil {
		return nil, err
	}
	return map[string]repair.Array{s.input.Name: {Dims: b.Dims, Floats: b.X, Type: s.input.Type}}, nil
}
