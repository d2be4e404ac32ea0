package samples

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // registers
	_ "image/jpeg"
	_ "image/png"
	"runtime"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/calib"
	"github.com/metaprune/metaprune/prune/repair"
	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
	"golang.org/x/sync/errgroup"
)

var pictureTypes = []string{".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"}

// pictures are picture files as samples of a model's only input.
type pictures struct {
	files   []file
	input   calib.Input
	c, h, w int
	last    bool // channels are the last axis
	resize  string
	norm    *norm
}

// pictures opens picture files.
func (o Options) pictures(path string, files []file) (*Samples, error) {
	in, err := o.only(path, "pictures")
	if err != nil {
		return nil, err
	}
	p := &pictures{input: in}
	if err := p.shape(path, &o); err != nil {
		return nil, err
	}
	if err := few(path, len(files), "pictures", "give another folder"); err != nil {
		return nil, err
	}
	if p.norm, err = o.normalisation(in, p.c); err != nil {
		return nil, err
	}
	p.resize = o.resize()
	for _, i := range choose(len(files), o.Limit, o.Seed) {
		p.files = append(p.files, files[i])
	}
	note := fmt.Sprintf("%s: %d of %d pictures, %s to %d x %d pixels; %s", path, len(p.files), len(files), p.how(), p.w, p.h, p.norm.why)
	return &Samples{Source: p, Notes: []string{note}}, nil
}

// how says how pictures are brought to their size.
func (p *pictures) how() string {
	return map[string]string{"crop": "resized and cropped", "stretch": "stretched", "letterbox": "letterboxed"}[p.resize]
}

// shape finds the size of a picture, and which axis holds the channels.
func (p *pictures) shape(path string, o *Options) error {
	dims, err := o.size(p.input)
	if err != nil {
		return err
	}
	wrong := &calib.SampleError{File: path, Input: p.input.Name, Want: fmt.Sprint(p.input.Dims), Got: "pictures"}
	channels := func(n int) bool { return n == 1 || n == 3 || n < 0 }
	switch {
	case len(dims) != 3:
		wrong.Do = "give an NPZ file with arrays of that shape"
		return wrong
	case channels(dims[0]) && (dims[0] > 0 || !channels(dims[2]) || dims[2] < 0):
		p.c, p.h, p.w = dims[0], dims[1], dims[2]
	case channels(dims[2]):
		p.h, p.w, p.c, p.last = dims[0], dims[1], dims[2], true
	default:
		wrong.Do = "pictures have 1 or 3 channels; give an NPZ file with arrays of that shape"
		return wrong
	}
	if p.c < 0 || p.h < 0 || p.w < 0 {
		wrong.Got, wrong.Do = "no fixed size", `give the size of the images with option "input CxHxW"`
		return wrong
	}
	if p.c < 1 || p.h < 1 || p.w < 1 || p.h > MaxPixels/p.w {
		wrong.Do = fmt.Sprintf("a size has 1 to %d pixels", MaxPixels)
		return wrong
	}
	if t := p.input.Type; t != onnxio.Float && t != onnxio.Uint8 {
		wrong.Want, wrong.Do = "numbers of type "+t.String(), "give an NPZ file with arrays of that type"
		return wrong
	}
	return nil
}

// Len is the number of pictures.
func (p *pictures) Len() int { return len(p.files) }

// Read decodes pictures, several at a time.
func (p *pictures) Read(from, n int) (map[string]repair.Array, error) {
	if from < 0 || n < 0 || from > len(p.files)-n {
		return nil, fmt.Errorf("pictures %d to %d of %d", from, from+n, len(p.files))
	}
	size := p.c * p.h * p.w
	a := repair.Array{Dims: []int{n, p.c, p.h, p.w}, Type: p.input.Type}
	if p.last {
		a.Dims = []int{n, p.h, p.w, p.c}
	}
	if p.input.Type == onnxio.Float {
		a.Floats = make([]float32, n*size)
	} else {
		a.Ints = make([]int64, n*size)
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error {
			x, err := p.decoded(p.files[from+i])
			if err != nil {
				return damaged(p.files[from+i].name, err, "replace or remove the picture")
			}
			p.lay(x, &a, i*size)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return map[string]repair.Array{p.input.Name: a}, nil
}

// decoded reads a picture in the input's size.
func (p *pictures) decoded(f file) (*pixels, error) {
	raw, err := f.bytes()
	if err != nil {
		return nil, err
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if c.Width < 1 || c.Height < 1 || c.Width > MaxPixels/c.Height {
		return nil, fmt.Errorf("%d x %d pixels, want at most %d", c.Width, c.Height, MaxPixels)
	}
	img, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return pixelsOf(img, p.c).fitted(p.w, p.h, p.resize), nil
}

// pixelsOf are the pixels of a picture in 3 channels, or as brightness in 1, as Pillow converts them:
// without regard to transparency.
func pixelsOf(img image.Image, channels int) *pixels {
	b := img.Bounds()
	p, i := newPixels(b.Dx(), b.Dy(), channels), 0
	if m, ok := img.(*image.YCbCr); ok {
		p.fromYCbCr(m)
		return p
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := colorAt(img, x, y)
			p.set(i, c.R, c.G, c.B)
			i += channels
		}
	}
	return p
}

// set writes a pixel's colour, or its brightness.
func (p *pixels) set(i int, r, g, b uint8) {
	if p.channels == 1 {
		p.pix[i] = uint8((int(r)*19595 + int(g)*38470 + int(b)*7471 + 1<<15) >> 16)
		return
	}
	p.pix[i], p.pix[i+1], p.pix[i+2] = r, g, b
}

// fromYCbCr takes the pixels of a decoded JPEG.
func (p *pixels) fromYCbCr(m *image.YCbCr) {
	b, i := m.Rect, 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		at := m.YOffset(b.Min.X, y)
		for x := b.Min.X; x < b.Max.X; x++ {
			c := m.COffset(x, y)
			r, g, blue := color.YCbCrToRGB(m.Y[at], m.Cb[c], m.Cr[c])
			p.set(i, r, g, blue)
			at, i = at+1, i+p.channels
		}
	}
}

func colorAt(img image.Image, x, y int) color.NRGBA {
	switch m := img.(type) {
	case *image.NRGBA:
		return m.NRGBAAt(x, y)
	case *image.Gray:
		v := m.GrayAt(x, y).Y
		return color.NRGBA{v, v, v, 255}
	}
	return color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
}

// lay writes a picture's numbers into an array from an index on.
func (p *pictures) lay(x *pixels, a *repair.Array, at int) {
	area := p.h * p.w
	for i := range area {
		for c := range p.c {
			to := at + c*area + i
			if p.last {
				to = at + i*p.c + c
			}
			v := x.pix[i*p.c+c]
			if a.Ints != nil {
				a.Ints[to] = int64(v)
			} else {
				a.Floats[to] = (float32(v)*p.norm.scale - p.norm.mean[c]) / p.norm.std[c]
			}
		}
	}
}
