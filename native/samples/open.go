package samples

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/calib"
)

// Limits of one file. A picture of some kilobytes can say that it has billions of pixels.
const (
	MaxFile   = 1 << 30
	MaxPixels = 1 << 27
)

// Options say how files become inputs of a model. Zero values are guessed or have defaults.
type Options struct {
	Inputs []calib.Input
	Model  *onnxio.Model      // its first operators and metadata say how pixels become numbers
	Folder string             // of the model, where a tokenizer.json may lie
	Sizes  map[string][]int64 // of inputs of free size, with or without the axis of samples; "" is the only input
	Limit  int                // samples to choose, 0 for all of them
	Seed   uint64             // of the choice

	Mean, Std  []float64 // numbers are (pixel/255 - Mean) / Std; one number, or one per channel
	Resize     string    // one of [Resizes]; "" is crop, letterbox for a detector by Ultralytics
	SampleRate int       // of sound, in Hz; 0 is 16000
	Tokenizer  string    // file; "" looks for tokenizer.json beside the text and beside the model
	Tokens     int       // of a text where the model takes any number; 0 is 128
}

// Samples are the chosen samples of a file or folder.
type Samples struct {
	calib.Source
	Notes []string // what a reader should know of them, a sentence each
	close func() error
}

// Close frees the files that are open.
func (s *Samples) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// Open opens samples: a folder or a zip file of pictures or sound, an NPZ, NPY, IDX, CSV, TXT, JSONL
// or WAV file, or what [data.Open] takes.
func Open(path string, o Options) (*Samples, error) {
	if data.IsNamed(path) {
		return o.set(path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return o.set(path) // says what there is
	case info.IsDir() && data.IsSet(path):
		return o.set(path)
	case info.IsDir():
		return o.folder(path)
	}
	if info.Size() > MaxFile && extension(path) != ".zip" && extension(path) != ".npz" {
		return nil, &calib.SampleError{File: path, Want: fmt.Sprintf("a file of at most %d bytes", MaxFile), Got: fmt.Sprint(info.Size()), Do: "give a part of it"}
	}
	switch e := extension(path); {
	case e == ".npz":
		return o.npz(path)
	case e == ".npy":
		return o.npy(path)
	case e == ".csv", e == ".tsv":
		return o.table(path)
	case e == ".txt", e == ".jsonl":
		return o.text(path)
	case e == ".zip":
		return o.zip(path)
	case e == ".wav":
		return o.sound(path, []file{onDisk(path, info.Size())})
	case slices.Contains(pictureTypes, e):
		return o.pictures(path, []file{onDisk(path, info.Size())})
	}
	return o.set(path)
}

// Reads lists the files that Open reads; a folder's own files are told by Part.
func Reads(path string) (files []string, folder string) { return data.Reads(path) }

// Part reports whether Open reads a file of a folder, by its name.
func Part(base string) bool { return data.Part(base) || kindOf(base) != "" }

func extension(path string) string { return strings.ToLower(filepath.Ext(path)) }

// choose picks n of total numbers, one from each of n equal parts, in an order drawn by seed. So a
// folder sorted by class gives all classes, and the last ones are as mixed as the first.
func choose(total, n int, seed uint64) []int {
	if n <= 0 || n > total {
		n = total
	}
	r := rand.New(rand.NewPCG(seed, 0x5a3b))
	out := make([]int, n)
	for i := range out {
		from, to := i*total/n, (i+1)*total/n
		out[i] = from + r.IntN(to-from)
	}
	r.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// only is the input that a kind of file fills, where the model has no other.
func (o *Options) only(path, what string) (calib.Input, error) {
	if len(o.Inputs) == 1 {
		return o.Inputs[0], nil
	}
	return calib.Input{}, &calib.SampleError{File: path, Want: "a model with one input for " + what, Got: fmt.Sprintf("%d inputs: %s", len(o.Inputs), names(o.Inputs)),
		Do: "give an NPZ file with an array for each input, called like it"}
}

func names(inputs []calib.Input) string {
	var all []string
	for _, in := range inputs {
		all = append(all, in.Name)
	}
	return strings.Join(all, ", ")
}

// size is the shape of one sample of an input; free lengths are those of --input, else -1.
func (o *Options) size(in calib.Input) ([]int, error) {
	dims := slices.Clone(in.Dims[min(1, len(in.Dims)):])
	given, ok := o.Sizes[in.Name]
	if !ok && len(o.Inputs) == 1 {
		given, ok = o.Sizes[""]
	}
	if !ok {
		return dims, nil
	}
	if len(given) == len(dims)+1 {
		given = given[1:]
	}
	for k := range dims {
		if len(given) != len(dims) || dims[k] >= 0 && dims[k] != int(given[k]) {
			return nil, &calib.SampleError{Input: in.Name, Want: fmt.Sprintf("sizes that fit %v, with the samples first", in.Dims), Got: fmt.Sprint(given), Do: `correct option "input"`}
		}
		dims[k] = int(given[k])
	}
	return dims, nil
}

// few refuses what is too little to choose from.
func few(path string, n int, what, do string) error {
	if n > 0 {
		return nil
	}
	return &calib.SampleError{File: path, Want: what, Got: "none", Do: do}
}

// damaged is an error of a file's contents.
func damaged(path string, err error, do string) error {
	var own *calib.SampleError
	var at *fs.PathError
	switch {
	case errors.As(err, &own):
		return err
	case errors.As(err, &at):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = errors.New("the file ends too early")
	}
	if said, named := strings.CutPrefix(err.Error(), path+": "); named { // SampleError names the file
		err = errors.New(said)
	}
	return &calib.SampleError{File: path, Err: err, Do: do}
}
