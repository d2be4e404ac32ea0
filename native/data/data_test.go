package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sbinet/npyio/npz"
	"github.com/stretchr/testify/require"
)

const (
	images = "../../testdata/fashion-test-1000-images-idx3-ubyte.gz"
	labels = "../../testdata/fashion-test-1000-labels-idx1-ubyte.gz"
)

func write(t *testing.T, path string, raw []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, raw, 0o644))
}

func idx(dims []int, body []byte) []byte {
	raw := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		raw = binary.BigEndian.AppendUint32(raw, uint32(d))
	}
	return append(raw, body...)
}

func gzipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(raw)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// pixels are bytes that differ everywhere.
func pixels(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i*7 + i/251)
	}
	return out
}

func TestIDX(t *testing.T) {
	s, err := Open(images+","+labels, Geometry{})
	require.NoError(t, err)
	require.Equal(t, 1000, s.Test.N)
	require.Len(t, s.Test.Classes, 10)
	require.EqualValues(t, 9, s.Test.Labels[0], "the first test image is an ankle boot")
	x := make([]float32, s.Test.Size())
	require.NoError(t, s.Test.Image(0, x))
	require.InDelta(t, -0.2860/0.3530, x[0], 1e-6, "black, normalised as usual")

	dir := t.TempDir()
	for name, c := range map[string]struct {
		images, labels []byte
		want           string
	}{
		"short":       {idx([]int{2, 2, 2}, pixels(7)), idx([]int{2}, pixels(2)), "images"},
		"long":        {idx([]int{2, 2, 2}, pixels(9)), idx([]int{2}, pixels(2)), "images"},
		"count":       {idx([]int{2, 2, 2}, pixels(8)), idx([]int{3}, pixels(3)), "3 labels"},
		"empty":       {nil, idx([]int{2}, pixels(2)), "images"},
		"text":        {[]byte("hello, world"), idx([]int{2}, pixels(2)), "images"},
		"huge":        {idx([]int{1 << 30, 1 << 30, 4}, nil), idx([]int{2}, pixels(2)), "images"},
		"broken gzip": {gzipped(t, idx([]int{2, 2, 2}, pixels(8)))[:20], idx([]int{2}, pixels(2)), "images"},
	} {
		write(t, filepath.Join(dir, "images"), c.images)
		write(t, filepath.Join(dir, "labels"), c.labels)
		_, err := Open(filepath.Join(dir, "images")+","+filepath.Join(dir, "labels"), Geometry{})
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestFolderOfIDX(t *testing.T) {
	dir := t.TempDir()
	for part, n := range map[string]int{"train": 6, "t10k": 4} {
		write(t, filepath.Join(dir, part+"-images-idx3-ubyte"), idx([]int{n, 3, 2}, pixels(6*n)))
		write(t, filepath.Join(dir, part+"-labels-idx1-ubyte.gz"), gzipped(t, idx([]int{n}, make([]byte, n))))
	}
	s, err := Open("mnist:"+dir, Geometry{})
	require.NoError(t, err)
	require.Equal(t, []int{6, 4, 3, 2}, []int{s.Train.N, s.Test.N, s.Train.H, s.Train.W})
	require.Equal(t, []float64{0.1307}, s.Train.Mean)
	require.Equal(t, "mnist", s.Train.Name)
}

func TestCIFAR(t *testing.T) {
	dir := t.TempDir()
	record := func(label ...byte) []byte { return append(label, pixels(3072)...) }
	write(t, filepath.Join(dir, "data_batch_1.bin"), append(record(3), record(1)...))
	write(t, filepath.Join(dir, "data_batch_2.bin"), record(2))
	write(t, filepath.Join(dir, "test_batch.bin"), record(0))
	write(t, filepath.Join(dir, "batches.meta.txt"), []byte("airplane\nautomobile\nbird\ncat\n"))
	s, err := Open("cifar10:"+dir, Geometry{})
	require.NoError(t, err)
	require.Equal(t, []int32{3, 1, 2}, s.Train.Labels)
	require.Equal(t, "cat", s.Train.Classes[3])
	x := make([]float32, 3072)
	require.NoError(t, s.Test.Image(0, x))
	require.InDelta(t, (float64(pixels(3072)[1024])/255-0.4822)/0.2435, x[1024], 1e-5, "the second channel")

	hundred := t.TempDir()
	write(t, filepath.Join(hundred, "train.bin"), record(19, 99))
	write(t, filepath.Join(hundred, "test.bin"), record(1, 5))
	s, err = Open(hundred, Geometry{})
	require.NoError(t, err)
	require.Equal(t, []int32{99}, s.Train.Labels, "the fine label")
	write(t, filepath.Join(hundred, "test.bin"), record(1, 5)[:3000])
	_, err = Open(hundred, Geometry{})
	require.ErrorContains(t, err, "not a multiple of the record size")
}

func picture(t *testing.T, path string, w, h int, c color.Color) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if filepath.Ext(path) == ".png" {
		require.NoError(t, png.Encode(&b, m))
	} else {
		require.NoError(t, jpeg.Encode(&b, m, nil))
	}
	write(t, path, b.Bytes())
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	red, blue := color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}
	picture(t, filepath.Join(dir, "train", "cat", "1.png"), 40, 30, red)
	picture(t, filepath.Join(dir, "train", "dog", "2.jpg"), 30, 50, blue)
	picture(t, filepath.Join(dir, "train", "dog", "3.JPEG"), 8, 8, blue)
	picture(t, filepath.Join(dir, "val", "dog", "4.png"), 16, 16, blue)
	s, err := Open(dir, Geometry{C: 3, H: 16, W: 12})
	require.NoError(t, err)
	require.Equal(t, []string{"cat", "dog"}, s.Train.Classes)
	require.Equal(t, []int32{0, 1, 1}, s.Train.Labels)
	require.Equal(t, 1, s.Test.N)
	x := make([]float32, s.Train.Size())
	require.NoError(t, s.Train.Image(0, x))
	require.InDelta(t, (1-0.485)/0.229, x[0], 1e-2, "red")
	require.InDelta(t, (0-0.406)/0.225, x[2*16*12], 1e-2, "no blue")
	_, err = Open(dir, Geometry{})
	require.ErrorContains(t, err, `option "input CxHxW"`)
	_, err = Open(t.TempDir(), Geometry{C: 3, H: 4, W: 4})
	require.ErrorContains(t, err, "no JPEG or PNG")

	loose := t.TempDir()
	picture(t, filepath.Join(loose, "a.png"), 9, 9, red)
	s, err = Open(loose, Geometry{C: 1, H: 4, W: 4})
	require.NoError(t, err)
	require.Nil(t, s.Train.Labels)
	write(t, filepath.Join(loose, "b.png"), []byte("no picture"))
	s, err = Open(loose, Geometry{C: 1, H: 4, W: 4})
	require.NoError(t, err)
	require.ErrorContains(t, s.Train.Image(1, make([]float32, 16)), "b.png")
}

func TestNPZ(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	save := func(arrays map[string]any) {
		w, err := npz.Create(path)
		require.NoError(t, err)
		for name, v := range arrays {
			require.NoError(t, w.Write(name, v))
		}
		require.NoError(t, w.Close())
	}
	// npyio writes flat slices as one-dimensional arrays, which are no images
	save(map[string]any{"x": []float32{1, 2, 3, 4}})
	_, err := Open(path, Geometry{})
	require.ErrorContains(t, err, "want [N, C, H, W]")
	save(map[string]any{"other": []float32{1}})
	_, err = Open(path, Geometry{})
	require.ErrorContains(t, err, "want an array x")
	save(map[string]any{"ids": []int64{5, 6}, "mask": []int32{1, 0}, "x": []float64{.5}})
	arrays, err := Arrays(path)
	require.NoError(t, err)
	require.Equal(t, []int64{5, 6}, arrays["ids"].Ints)
	require.Equal(t, []int64{1, 0}, arrays["mask"].Ints)
	require.Equal(t, []float32{.5}, arrays["x"].Floats)
	s, err := npzSet("a", Array{Dims: []int{2, 2, 2}, Bytes: pixels(8)})
	require.NoError(t, err)
	require.NoError(t, s.label(Array{Ints: []int64{0, 3}}))
	require.Len(t, s.Classes, 4)
	require.ErrorContains(t, s.label(Array{Ints: []int64{0}}), "1 labels for 2 images")
	write(t, path, []byte("PK no archive"))
	_, err = Open(path, Geometry{})
	require.ErrorContains(t, err, "a.npz")
}

func TestUnknownName(t *testing.T) {
	_, err := Open("fashoin-mnist", Geometry{})
	require.ErrorContains(t, err, "want a file, a folder, or one of the sets cifar10")
}

// What a batch holds depends on the order alone: not on timing, the number of cores or where the run was taken up.
func TestOrderIsReproducible(t *testing.T) {
	s, err := Open(images+","+labels, Geometry{})
	require.NoError(t, err)
	gather := func(o Order) (x []float32, y []int32) {
		require.NoError(t, s.Test.Each(context.Background(), o, func(_ int, b *Batch) error {
			x, y = append(x, b.X...), append(y, b.Labels...)
			return nil
		}))
		return x, y
	}
	o := Order{Batch: 64, Shuffle: true, Seed: 3, Epoch: 2, DropLast: true, Augment: Augment{Crop: 2, Flip: true, Cutout: 8}}
	x, y := gather(o)
	require.Len(t, y, 15*64)
	old := runtime.GOMAXPROCS(1)
	again, _ := gather(o)
	runtime.GOMAXPROCS(old)
	require.Equal(t, x, again)
	rest := o
	rest.From = 5
	tail, tailLabels := gather(rest)
	require.Equal(t, x[5*64*784:], tail)
	require.Equal(t, y[5*64:], tailLabels)
	other := o
	other.Epoch = 3
	x3, _ := gather(other)
	require.NotEqual(t, x, x3)
}

func TestEachStops(t *testing.T) {
	s, err := Open(images, Geometry{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err = s.Test.Each(ctx, Order{Batch: 10}, func(int, *Batch) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, n)
}

func TestAugment(t *testing.T) {
	s := &Set{N: 1, C: 1, H: 2, W: 3, Mean: []float64{0}, Std: []float64{1}}
	x := []float32{1, 2, 3, 4, 5, 6}
	s.moved(x, 0, 0, true)
	require.Equal(t, []float32{3, 2, 1, 6, 5, 4}, x)
	x = []float32{1, 2, 3, 4, 5, 6}
	s.moved(x, 1, -1, false)
	require.Equal(t, []float32{0, 0, 0, 2, 3, 0}, x)
}

func TestSplit(t *testing.T) {
	s, err := Open(images+","+labels, Geometry{})
	require.NoError(t, err)
	a, b := s.Test.Split(.1, 4)
	require.Equal(t, []int{900, 100}, []int{a.N, b.N})
	c, _ := s.Test.Split(.1, 4)
	require.Equal(t, a.Labels, c.Labels)
	d, _ := s.Test.Split(.1, 5)
	require.NotEqual(t, a.Labels, d.Labels)
	require.Error(t, s.Test.Normalise([]float64{1, 2}, []float64{1}))
	require.Error(t, s.Test.Normalise([]float64{1}, []float64{0}))
}

func TestDownload(t *testing.T) {
	good := gzipped(t, idx([]int{1, 1, 1}, []byte{7}))
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "deep/../../data_batch_1.bin", Size: 3, Typeflag: tar.TypeReg}))
	_, err := w.Write([]byte("abc"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	packed := gzipped(t, archive.Bytes())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/images.gz":
			_, _ = w.Write(good)
		case "/set.tar.gz":
			_, _ = w.Write(packed)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	sum := func(raw []byte) string { s := sha256.Sum256(raw); return hex.EncodeToString(s[:]) }
	dir := filepath.Join(t.TempDir(), "set")
	files := []remote{{url: server.URL + "/images.gz", file: "images", sha256: sum(idx([]int{1, 1, 1}, []byte{7}))}, {url: server.URL + "/set.tar.gz", tar: true, sha256: sum(packed)}}
	require.NoError(t, download(dir, files))
	require.FileExists(t, filepath.Join(dir, "images"))
	require.FileExists(t, filepath.Join(dir, "data_batch_1.bin"), "names keep no folders")

	bad := filepath.Join(t.TempDir(), "bad")
	require.ErrorContains(t, download(bad, []remote{{url: server.URL + "/images.gz", file: "images", sha256: sum(nil)}}), "SHA-256")
	require.ErrorContains(t, download(bad, []remote{{url: server.URL + "/none.gz", file: "images"}}), "404")
	require.NoDirExists(t, bad)
	left, err := os.ReadDir(filepath.Dir(bad))
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}

// BenchmarkEach is the loading of augmented batches; training on the same two cores takes 500 to 750 images a second.
func BenchmarkEach(b *testing.B) {
	s, err := Open(images+","+labels, Geometry{})
	require.NoError(b, err)
	n := 0
	for b.Loop() {
		require.NoError(b, s.Test.Each(context.Background(), Order{Batch: 128, Shuffle: true, Augment: Augment{Crop: 2, Flip: true}}, func(_ int, x *Batch) error {
			n += len(x.Labels)
			return nil
		}))
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "images/s")
}
