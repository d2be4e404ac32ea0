package samples

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/metaprune/metaprune/native/data"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
	"github.com/stretchr/testify/require"
)

func input(name string, t onnxio.DataType, dims ...int) calib.Input {
	return calib.Input{Name: name, Type: t, Dims: dims}
}

// opened reads all samples.
func opened(t *testing.T, path string, o Options) (map[string]repair.Array, *Samples) {
	t.Helper()
	s, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	all, err := calib.ReadAll(s)
	require.NoError(t, err)
	return all, s
}

// folderOf is a folder with copies of files of testdata, and of others with contents.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, from := range files {
		to := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o700))
		raw, err := os.ReadFile(filepath.Join("testdata", from))
		if err != nil {
			raw = []byte(from)
		}
		require.NoError(t, os.WriteFile(to, raw, 0o600))
	}
	return dir
}

// Pillow decodes and scales PNG files to the same pixels. JPEG decoders differ by some levels.
func TestPicturesAsTorchvision(t *testing.T) {
	want, err := data.Arrays("testdata/expected.npz")
	require.NoError(t, err)
	for _, name := range []string{"rgb.png", "rgba.png", "gray.png", "photo.jpg"} {
		for _, c := range []struct {
			key string
			o   Options
		}{
			{"crop", Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 3, 32, 32)}}},
			{"stretch", Options{Inputs: []calib.Input{input("x", onnxio.Float, 1, 3, 40, 24)}, Resize: "stretch", Mean: []float64{0}}},
			{"one", Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 1, -1, -1)}, Sizes: map[string][]int64{"": {1, 16, 16}}, Std: []float64{1, 1}[:1]}},
		} {
			got, _ := opened(t, "testdata/"+name, c.o)
			w := want[name+"."+c.key]
			require.Equal(t, w.Dims, got["x"].Dims[1:])
			most, sum := 0.0, 0.0
			for i, v := range w.Floats {
				d := math.Abs(float64(v - got["x"].Floats[i]))
				most, sum = max(most, d), sum+d
			}
			t.Logf("%s %s: differs by %.5f at most, %.6f in the mean", name, c.key, most, sum/float64(len(w.Floats)))
			if name == "photo.jpg" {
				require.Less(t, sum/float64(len(w.Floats)), .02)
				continue
			}
			require.Less(t, most, 1e-5, "%s %s", name, c.key)
		}
	}
}

func TestLetterbox(t *testing.T) {
	got, s := opened(t, "testdata/rgb.png", Options{Inputs: []calib.Input{input("x", onnxio.Uint8, 1, 3, 64, 64)}, Resize: "letterbox"})
	x := got["x"].Ints
	require.Equal(t, int64(gray), x[0])
	require.Equal(t, int64(gray), x[6*64+1])
	require.NotEqual(t, int64(gray), x[7*64+1])
	require.Equal(t, int64(gray), x[63*64+1])
	require.Contains(t, s.Notes[0], "letterboxed to 64 x 64")

	// Channels last hold the same numbers.
	last, _ := opened(t, "testdata/rgb.png", Options{Inputs: []calib.Input{input("x", onnxio.Uint8, 1, 64, 64, 3)}, Resize: "letterbox"})
	require.Equal(t, x[64*64+30*64+20], last["x"].Ints[(30*64+20)*3+1])
}

func TestFoldersAndArchives(t *testing.T) {
	files := map[string]string{"b/1.png": "rgb.png", "a/2.JPG": "photo.jpg", "a/3.png": "gray.png", ".hidden/4.png": "rgb.png", "a/._3.png": "not a picture", "notes.md": "text"}
	dir := folderOf(t, files)
	o := Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 3, 8, 8)}}
	a, s := opened(t, dir, o)
	require.Equal(t, 3, s.Len())
	require.Contains(t, s.Notes[1], "3 other or hidden files were skipped")

	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, from := range files {
		w, err := z.Create(name)
		require.NoError(t, err)
		raw, err := os.ReadFile(filepath.Join("testdata", from))
		if err != nil {
			raw = []byte(from)
		}
		_, err = w.Write(raw)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	path := filepath.Join(t.TempDir(), "photos.zip")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	packed, _ := opened(t, path, o)
	require.Equal(t, a, packed)
	again, err := Upload("body", bytes.NewReader(b.Bytes()), int64(b.Len()), o)
	require.NoError(t, err)
	all, err := calib.ReadAll(again)
	require.NoError(t, err)
	require.Equal(t, a, all)

	part, err := s.Read(1, 2) // in parts as at once
	require.NoError(t, err)
	require.Equal(t, a["x"].Floats[3*64:], part["x"].Floats)
	o.Limit, o.Seed = 2, 7
	few, _ := opened(t, dir, o)
	same, _ := opened(t, dir, o)
	require.Equal(t, 2, few["x"].Dims[0])
	require.Equal(t, few, same)
}

func TestChooseTakesFromEveryPart(t *testing.T) {
	got := choose(1000, 10, 3)
	require.Equal(t, got, choose(1000, 10, 3))
	require.NotEqual(t, got, choose(1000, 10, 4))
	require.False(t, slices.IsSorted(got))
	slices.Sort(got)
	for i, v := range got {
		require.Equal(t, i, v/100)
	}
	all := choose(5, 0, 1)
	slices.Sort(all)
	require.Equal(t, []int{0, 1, 2, 3, 4}, all)
}

func TestSoundAsNumPy(t *testing.T) {
	want, err := data.Arrays("testdata/expected.npz")
	require.NoError(t, err)
	for _, name := range []string{"pcm8.wav", "pcm16.wav", "pcm24.wav", "pcm32.wav", "float.wav"} {
		w := want[name].Floats
		got, _ := opened(t, "testdata/"+name, Options{Inputs: []calib.Input{input("x", onnxio.Float, 1, 1, len(w)+5)}})
		require.Equal(t, []int{1, 1, len(w) + 5}, got["x"].Dims)
		require.InDeltaSlice(t, w, got["x"].Floats[:len(w)], 1e-6, name)
		require.Equal(t, make([]float32, 5), got["x"].Floats[len(w):])
	}
	parts, s := opened(t, "testdata/pcm16.wav", Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 100)}, SampleRate: 22050})
	require.Equal(t, []int{6, 100}, parts["x"].Dims)
	require.Contains(t, s.Notes[0], "6 of 6 parts")
	dir := folderOf(t, map[string]string{"a.wav": "pcm8.wav", "b.wav": "pcm16.wav", "c.txt": "x"})
	both, s := opened(t, dir, Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, -1)}, Sizes: map[string][]int64{"x": {1, 50}}})
	require.Equal(t, []int{2, 50}, both["x"].Dims)
	require.Contains(t, s.Notes[1], "1 other")
}

func TestTables(t *testing.T) {
	table := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	o := Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 2)}}
	body := "1,2\n3,4\n5,6\n7,8\n9,10.5\n"
	want := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10.5}
	for _, text := range []string{body, "a, b\n" + body, "\xef\xbb\xbfa;b\n" + "1;2\n3;4\n5;6\n7;8\n9;10.5\n"} {
		got, _ := opened(t, table("t.csv", text), o)
		require.Equal(t, want, got["x"].Floats)
	}
	named, _ := opened(t, table("t.csv", "n,x,unused\n1,2,0\n3,4,0\n5,6,0\n7,8,0\n9,10.5,0\n"), Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 1), input("n", onnxio.Int64, -1)}})
	require.Equal(t, []float32{2, 4, 6, 8, 10.5}, named["x"].Floats)
	require.Equal(t, []int64{1, 3, 5, 7, 9}, named["n"].Ints)
	require.Equal(t, []int{5}, named["n"].Dims)
	for text, says := range map[string]string{
		"1,2\n3,x\n":        `:2:3: want a number, got "x"; remove the row, or the column`,
		"1,2,3\n4,5,6\n":    "want 2 columns, for [-1 2], got 3; remove columns",
		"1,2\n3\n":          "wrong number of fields",
		"a,b\n":             "want rows of numbers, got none",
		"1,2\n3,4\n":        "want at least 5 samples, got 2 of them",
		"1,nan\n3,4\n1,2\n": "want 2 columns", // the first row is a header then, and 3 rows too few
	} {
		_, err := Open(table("t.csv", text), o)
		if text == "1,nan\n3,4\n1,2\n" {
			says = "want at least 5 samples"
		}
		require.ErrorContains(t, err, says)
	}
}

// npy is an NPY file.
func npy(kind, shape string, body any) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", kind, shape)
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
	var w bytes.Buffer
	if err := binary.Write(&w, binary.LittleEndian, body); err != nil {
		panic(err)
	}
	return append(append(b, header...), w.Bytes()...)
}

func TestArrays(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, raw []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		return path
	}
	o := func(kind onnxio.DataType) Options { return Options{Inputs: []calib.Input{input("x", kind, -1, 1)}} }
	for _, c := range []struct {
		kind string
		as   onnxio.DataType
		body any
		want any
	}{
		{"<f4", onnxio.Float, []float32{1, 2, 3, 4, -5}, []float32{1, 2, 3, 4, -5}},
		{"<f8", onnxio.Double, []float64{1, 2, 3, 4, -5}, []float32{1, 2, 3, 4, -5}},
		{"<f2", onnxio.Float16, []uint16{0x3c00, 0x4000, 0, 0, 0xc500}, []float32{1, 2, 0, 0, -5}},
		{"<i2", onnxio.Int32, []int16{1, 2, 3, 4, -5}, []int64{1, 2, 3, 4, -5}},
		{"<u4", onnxio.Int64, []uint32{1, 2, 3, 4, math.MaxUint32}, []int64{1, 2, 3, 4, math.MaxUint32}},
		{"|i1", onnxio.Int8, []int8{1, 2, 3, 4, -5}, []int64{1, 2, 3, 4, -5}},
		{"|u1", onnxio.Int64, []uint8{1, 2, 3, 4, 255}, []int64{1, 2, 3, 4, 255}},
		{"|b1", onnxio.Bool, []bool{true, false, true, false, true}, []int64{1, 0, 1, 0, 1}},
		{"<i8", onnxio.Float, []int64{1, 2, 3, 4, -5}, []float32{1, 2, 3, 4, -5}},
	} {
		got, _ := opened(t, write("a.npy", npy(c.kind, "(5, 1)", c.body)), o(c.as))
		if f, ok := c.want.([]float32); ok {
			require.Equal(t, f, got["x"].Floats, c.kind)
		} else {
			require.Equal(t, c.want, got["x"].Ints, c.kind)
		}
		require.Equal(t, c.as, got["x"].Type)
	}
	_, err := Open(write("a.npy", npy("<f4", "(5, 2)", make([]float32, 10))), o(onnxio.Float))
	require.ErrorContains(t, err, `a.npy: array "x": want shape [samples 1], got [5 2]`)
	_, err = Open(write("a.npy", npy("|u1", "(5, 1)", make([]uint8, 5))), o(onnxio.Float))
	require.ErrorContains(t, err, "save the numbers as the model gets them")
	_, err = Open(write("a.npy", npy("<f4", "(5, 1)", make([]float32, 5))), Options{Inputs: []calib.Input{input("a", onnxio.Float, -1, 1), input("b", onnxio.Float, -1, 1)}})
	require.ErrorContains(t, err, "want a model with one input for an NPY file, got 2 inputs: a, b; give an NPZ file")
}

// Images of a data set are reals of the width that the model takes.
func TestImagesOfHalfWidth(t *testing.T) {
	s, err := Open("../../testdata/fashion-train-100-images-idx3-ubyte.gz", Options{Limit: 10, Inputs: []calib.Input{{Name: "image", Type: onnxio.Float16, Dims: []int{-1, 1, 28, 28}}}})
	require.NoError(t, err)
	defer s.Close()
	v, err := s.Read(0, 10)
	require.NoError(t, err)
	require.Equal(t, onnxio.Float16, v["image"].Type)
}

// A damaged file is named, with what to do; so is one that is far larger than it says.
func TestRefused(t *testing.T) {
	o := Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 3, 8, 8)}}
	raw, err := os.ReadFile("testdata/rgb.png")
	require.NoError(t, err)
	dir := folderOf(t, map[string]string{"good.png": "rgb.png", "sub/bad.png": string(raw[:len(raw)/2])})
	s, err := Open(dir, o)
	require.NoError(t, err)
	_, err = calib.ReadAll(s)
	require.ErrorContains(t, err, filepath.Join(dir, "sub/bad.png")+": ")
	require.ErrorContains(t, err, "replace or remove the picture")

	huge := slices.Clone(raw)
	binary.BigEndian.PutUint32(huge[16:], 1<<20)
	binary.BigEndian.PutUint32(huge[20:], 1<<20)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	s, err = Open(folderOf(t, map[string]string{"huge.png": string(huge)}), o)
	require.NoError(t, err)
	_, err = calib.ReadAll(s)
	require.ErrorContains(t, err, "1048576 x 1048576 pixels, want at most")

	for _, c := range []struct {
		path, says string
		o          Options
	}{
		{folderOf(t, map[string]string{"a.md": "x"}), "want pictures (.jpg, .jpeg, .png, .gif, .bmp, .webp) or sound (.wav), got 1 other files", o},
		{"testdata/rgb.png", `no fixed size; give the size of the images with option "input CxHxW"`, Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 3, -1, -1)}}},
		{"testdata/rgb.png", "want a model with one input for pictures, got 2 inputs: a, b", Options{Inputs: []calib.Input{input("a", onnxio.Float, -1, 3, 8, 8), input("b", onnxio.Int64, -1)}}},
		{"testdata/rgb.png", "pictures have 1 or 3 channels", Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 4, 8, 8)}}},
		{"testdata/rgb.png", `option "std": want numbers to divide by, got 0`, Options{Inputs: o.Inputs, Std: []float64{0}}},
		{"testdata/pcm8.wav", `give the number of samples that the model hears at once with option "input"`, Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, -1)}}},
		{"testdata/pcm8.wav", "a model of spectrograms wants an NPZ file", Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 80, 100)}}},
		{filepath.Join(folderOf(t, map[string]string{"a.zip": "no zip"}), "a.zip"), "a.zip: zip: not a valid zip file; give a zip file of pictures", o},
		{filepath.Join(folderOf(t, map[string]string{"a.wav": "RIFF    WAVE"}), "a.wav"), "no sound in the file", Options{Inputs: []calib.Input{input("x", onnxio.Float, -1, 8)}}},
	} {
		_, err := Open(c.path, c.o)
		require.ErrorContains(t, err, c.says)
	}
}

// What a model's first operators do to its input says how its pixels look.
func TestGuessedNormalisation(t *testing.T) {
	constant := func(name string, v ...float32) *onnxio.Tensor {
		x := &onnxio.Tensor{Name: name, Dims: []int64{int64(len(v))}, DataType: onnxio.Float}
		require.NoError(t, x.SetFloat32s(v))
		return x
	}
	node := func(op string, in ...string) *onnxio.Node {
		return &onnxio.Node{OpType: op, Inputs: in, Outputs: []string{op}}
	}
	for name, c := range map[string]struct {
		nodes []*onnxio.Node
		meta  map[string]string
		want  [2]float32 // the first channel of black and of white
	}{
		"divides by 255":     {nodes: []*onnxio.Node{node("Div", "x", "c255")}, want: [2]float32{0, 255}},
		"after a Cast":       {nodes: []*onnxio.Node{node("Cast", "x"), node("Div", "Cast", "c255")}, want: [2]float32{0, 255}},
		"multiplies":         {nodes: []*onnxio.Node{node("Mul", "x", "small")}, want: [2]float32{0, 255}},
		"subtracts bytes":    {nodes: []*onnxio.Node{node("Sub", "x", "c255")}, want: [2]float32{0, 255}},
		"subtracts shares":   {nodes: []*onnxio.Node{node("Sub", "x", "half")}, want: [2]float32{0, 1}},
		"BatchNormalization": {nodes: []*onnxio.Node{node("BatchNormalization", "x", "half", "half", "half", "small")}, want: [2]float32{0, 1}},
		"nothing":            {nodes: []*onnxio.Node{node("Conv", "x", "half")}, want: [2]float32{-0.485 / 0.229, (1 - 0.485) / 0.229}},
		"Ultralytics":        {nodes: []*onnxio.Node{node("Conv", "x", "half")}, meta: map[string]string{"author": "Ultralytics", "task": "segment"}, want: [2]float32{0, 1}},
	} {
		m := &onnxio.Model{Graph: &onnxio.Graph{Nodes: c.nodes, Initializers: []*onnxio.Tensor{constant("c255", 255), constant("small", 1./255), constant("half", .5, .5, .5)}}}
		for k, v := range c.meta {
			m.Metadata = append(m.Metadata, &onnxio.KeyValue{Key: k, Value: v})
		}
		o := Options{Model: m}
		n, err := o.normalisation(input("x", onnxio.Float, -1, 3, 8, 8), 3)
		require.NoError(t, err)
		require.InDelta(t, c.want[0], -n.mean[0]/n.std[0], 1e-5, name)
		require.InDelta(t, c.want[1], (255*n.scale-n.mean[0])/n.std[0], 1e-4, name)
		want := "crop"
		if c.meta != nil {
			want = "letterbox"
		}
		require.Equal(t, want, o.resize(), name)
	}
}
