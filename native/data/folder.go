package data

import (
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "image/jpeg" // registers
	_ "image/png"

	"golang.org/x/image/draw"
)

// Geometry is the size that images of a folder are brought to: the shorter side to Resize, then the middle H x W.
type Geometry struct {
	C, H, W int
	Resize  int // 0: H*256/224, ImageNet's usual share
}

func (g Geometry) short() int {
	if g.Resize > 0 {
		return g.Resize
	}
	return max(g.H, g.W) * 256 / 224
}

// openFolder reads images in class folders, in train and val (or test) folders of those, or loose ones without labels.
func openFolder(dir string, g Geometry) (*Splits, error) {
	s := &Splits{}
	for _, name := range []string{"val", "validation", "test", "train"} {
		sub := filepath.Join(dir, name)
		if info, err := os.Stat(sub); err != nil || !info.IsDir() {
			continue
		}
		set, err := readFolder(sub, g)
		if err != nil {
			return nil, err
		}
		if name == "train" {
			s.Train = set
		} else if s.Test == nil {
			s.Test = set
		}
	}
	if s.Train != nil || s.Test != nil {
		return s, nil
	}
	set, err := readFolder(dir, g)
	s.Train = set
	return s, err
}

func readFolder(dir string, g Geometry) (*Set, error) {
	if g.C == 0 || g.H == 0 || g.W == 0 {
		return nil, fmt.Errorf(`%s: the model's input has no fixed size; give the size of the images with option "input CxHxW"`, dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	var labels []int32
	var classes []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		files, err := pictures(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			continue
		}
		for _, f := range files {
			paths, labels = append(paths, f), append(labels, int32(len(classes)))
		}
		classes = append(classes, e.Name())
	}
	if len(paths) == 0 {
		if paths, err = pictures(dir); err != nil {
			return nil, err
		}
		labels = nil
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: no JPEG or PNG files, neither here nor in folders one level down", dir)
	}
	s := &Set{Name: dir, N: len(paths), C: g.C, H: g.H, W: g.W, Labels: labels, Classes: classes}
	s.fill = func(i int, dst []float32) error { return readPicture(paths[i], g, dst) }
	return s, nil
}

func pictures(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".jpg", ".jpeg", ".png":
			if !e.IsDir() {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// maxPixels bounds a picture; a file of some kilobytes can say that it has billions.
const maxPixels = 1 << 27

// decoded reads a picture, whose size is looked at first.
func decoded(f io.ReadSeeker) (image.Image, error) {
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, err
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return nil, fmt.Errorf("%d x %d pixels, want at most %d", c.Width, c.Height, maxPixels)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(f)
	return img, err
}

func readPicture(path string, g Geometry, dst []float32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	img, err := decoded(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b := img.Bounds()
	scale := float64(g.short()) / float64(min(b.Dx(), b.Dy()))
	w, h := max(int(float64(b.Dx())*scale+.5), g.W), max(int(float64(b.Dy())*scale+.5), g.H)
	out := image.NewRGBA(image.Rect(0, 0, g.W, g.H))
	x, y := (w-g.W)/2, (h-g.H)/2
	// The part of the source that the middle g.W x g.H of the scaled picture shows.
	part := image.Rect(b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h, b.Min.X+(x+g.W)*b.Dx()/w, b.Min.Y+(y+g.H)*b.Dy()/h)
	draw.BiLinear.Scale(out, out.Bounds(), img, part, draw.Src, nil)
	area := g.H * g.W
	for i := range area {
		r, gr, bl := float32(out.Pix[4*i]), float32(out.Pix[4*i+1]), float32(out.Pix[4*i+2])
		if g.C == 1 {
			dst[i] = (0.299*r + 0.587*gr + 0.114*bl) / 255
			continue
		}
		dst[i], dst[area+i], dst[2*area+i] = r/255, gr/255, bl/255
	}
	return nil
}
