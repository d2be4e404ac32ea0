package samples

import "math"

// pixels are a picture's samples of 8 bits, row by row, all channels of a pixel together.
type pixels struct {
	w, h, channels int
	pix            []uint8
}

func newPixels(w, h, channels int) *pixels {
	return &pixels{w, h, channels, make([]uint8, w*h*channels)}
}

// Bits after the binary point of a resampling weight; Pillow's for 8 bits.
const weightBits = 32 - 8 - 2

// window is what one pixel of a scaled row or column is made of.
type window struct {
	from    int
	weights []int64
}

// windows are Pillow's for its bilinear filter (Resample.c): a triangle that grows with the factor
// by which the picture becomes smaller. Without smooth it does not grow, as in OpenCV's INTER_LINEAR.
func windows(from, to int, smooth bool) []window {
	scale := float64(from) / float64(to)
	radius := 1.0
	if smooth {
		radius = max(scale, 1)
	}
	out := make([]window, to)
	for i := range out {
		center := (float64(i) + .5) * scale
		first, end := max(int(center-radius+.5), 0), min(int(center+radius+.5), from)
		raw, sum := make([]float64, end-first), 0.0
		for k := range raw {
			raw[k] = max(0, 1-math.Abs((float64(first+k)-center+.5)/radius))
			sum += raw[k]
		}
		out[i] = window{first, make([]int64, len(raw))}
		for k, v := range raw {
			out[i].weights[k] = int64(.5 + v/sum*(1<<weightBits))
		}
	}
	return out
}

// resized scales a picture to w x h.
func (p *pixels) resized(w, h int, smooth bool) *pixels {
	return p.part(windows(p.w, w, smooth), windows(p.h, h, smooth))
}

// part are the columns and rows of a scaled picture that these windows make: first along rows, for
// the rows that are looked at, then along columns.
func (p *pixels) part(columns, rows []window) *pixels {
	first, last := rows[0].from, rows[len(rows)-1]
	wide := newPixels(len(columns), last.from+len(last.weights)-first, p.channels)
	for y := range wide.h {
		line := p.pix[(first+y)*p.w*p.channels : (first+y+1)*p.w*p.channels]
		for x, win := range columns {
			win.weigh(wide.pix[(y*wide.w+x)*p.channels:][:p.channels], line[win.from*p.channels:], p.channels)
		}
	}
	out := newPixels(len(columns), len(rows), p.channels)
	stride := out.w * p.channels
	for y, win := range rows {
		for i := 0; i < stride; i += p.channels {
			win.weigh(out.pix[y*stride+i:][:p.channels], wide.pix[(win.from-first)*stride+i:], stride)
		}
	}
	return out
}

// weigh makes one pixel of those that lie step bytes apart in a picture.
func (win *window) weigh(to, from []uint8, step int) {
	for c := range to {
		sum, at := int64(1)<<(weightBits-1), c
		for _, v := range win.weights {
			sum += v * int64(from[at])
			at += step
		}
		to[c] = uint8(min(sum>>weightBits, 255))
	}
}

// placed copies the part of the picture that lies in a canvas of w x h pixels; left and top are where
// its corner comes to lie and may be negative. What it does not cover is fill.
func (p *pixels) placed(w, h, left, top int, fill uint8) *pixels {
	if left == 0 && top == 0 && w == p.w && h == p.h {
		return p
	}
	out := newPixels(w, h, p.channels)
	for i := range out.pix {
		out.pix[i] = fill
	}
	from, to := max(0, -left), min(p.w, w-left)
	for y := max(0, -top); y < min(p.h, h-top); y++ {
		copy(out.pix[((y+top)*w+from+left)*p.channels:], p.pix[(y*p.w+from)*p.channels:(y*p.w+to)*p.channels])
	}
	return out
}

// Resizes are the ways in which a picture is brought to an input's size: the middle of a picture
// whose shorter side is 256/224 of it, as for ImageNet; stretched; or as a whole between gray bars.
var resizes = []string{"crop", "stretch", "letterbox"}

// Resizes are the names of the ways in which a picture is brought to an input's size.
func Resizes() []string { return append([]string(nil), resizes...) }

// gray is the colour of the bars of a letterbox; Ultralytics'.
const gray = 114

// fitted brings a picture to w x h.
func (p *pixels) fitted(w, h int, how string) *pixels {
	switch how {
	case "stretch":
		return p.resized(w, h, true)
	case "letterbox":
		r := min(float64(w)/float64(p.w), float64(h)/float64(p.h))
		nw, nh := max(1, int(math.RoundToEven(float64(p.w)*r))), max(1, int(math.RoundToEven(float64(p.h)*r)))
		left, top := math.RoundToEven(float64(w-nw)/2-.1), math.RoundToEven(float64(h-nh)/2-.1)
		return p.resized(nw, nh, false).placed(w, h, int(left), int(top), gray)
	}
	nw, nh := w*256/224, h*256/224
	if nw*p.h < nh*p.w {
		nw = nh * p.w / p.h
	} else {
		nh = nw * p.h / p.w
	}
	left, top := int(math.RoundToEven(float64(nw-w)/2)), int(math.RoundToEven(float64(nh-h)/2))
	return p.part(windows(p.w, nw, true)[left:left+w], windows(p.h, nh, true)[top:top+h])
}
