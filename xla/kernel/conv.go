package kernel

import "sync"

// maxSegments bounds the positions of a kernel.
const maxSegments = 64

// Geometry is how a kernel moves over an image [N, H, W, C].
type Geometry struct {
	Kernel, Strides, Dilations [2]int
	Pads                       [2][2]int // before and after, of rows and of columns
}

// Out returns the extents of the output for an image of h x w.
func (g Geometry) Out(h, w int) (int, int) { return g.extent(0, h), g.extent(1, w) }

func (g Geometry) extent(i, n int) int {
	return (n+g.Pads[i][0]+g.Pads[i][1]-(g.Kernel[i]-1)*g.Dilations[i]-1)/g.Strides[i] + 1
}

// Conv is a convolution of channels-last images. Addend and bounds are applied to what it writes.
type Conv struct {
	Geometry
	Groups int
	Bounds Bounds

	in, out int       // channels
	groups  []*Matrix // kernels of each group
	depth   []float32 // [positions, channels] of a depthwise convolution
	bias    []float32
	scratch sync.Pool
}

// NewConv prepares kernels w [out, in/groups, kh, kw] and a bias, which may be nil. It returns nil
// for kernels of more than 64 positions that no run of memory covers.
func NewConv(w []float32, out, in int, g Geometry, groups int, bias []float32, b Bounds) *Conv {
	c := &Conv{Geometry: g, Groups: groups, Bounds: b, in: in, out: out}
	each, positions := in/groups, g.Kernel[0]*g.Kernel[1]
	if positions > maxSegments && (g.Kernel[0] > maxSegments || !c.dense()) {
		return nil
	}
	if c.depthwise() {
		c.depth, c.bias = make([]float32, positions*out), make([]float32, out)
		copy(c.bias, bias)
		for o := range out {
			for t := range positions {
				c.depth[t*out+o] = w[o*positions+t]
			}
		}
		return c
	}
	n := out / groups
	flat := make([]float32, positions*each*n)
	for k := range groups {
		for o := range n {
			for i := range each {
				for t := range positions {
					flat[(t*each+i)*n+o] = w[((k*n+o)*each+i)*positions+t]
				}
			}
		}
		var part []float32
		if bias != nil {
			part = bias[k*n : (k+1)*n]
		}
		c.groups = append(c.groups, Pack(flat, positions*each, n, n, 1, part))
	}
	return c
}

func (c *Conv) depthwise() bool { return c.Groups == c.in && c.Groups == c.out && c.in > 1 }

// dense reports whether a row of the kernel meets adjoining numbers.
func (c *Conv) dense() bool { return c.Groups == 1 && (c.Dilations[1] == 1 || c.Kernel[1] == 1) }

// pointwise reports whether the convolution is a product of the image's positions.
func (c *Conv) pointwise() bool {
	return c.Kernel == [2]int{1, 1} && c.Strides == [2]int{1, 1} && c.Pads == [2][2]int{} && c.Groups == 1
}

// Adds reports whether Run takes an addend.
func (c *Conv) Adds() bool { return c.depth == nil }

// Run writes the convolution of images x [n, h, w, in] to y, on all cores. Where add is not nil it
// has y's size and is added before the bounds.
func (c *Conv) Run(y, x []float32, n, h, w int, add []float32) {
	oh, ow := c.Out(h, w)
	if c.pointwise() {
		c.groups[0].Multiply(y, x, n*h*w, add, c.Bounds)
		return
	}
	lines := c.lines(oh, w)
	parts := (oh + lines - 1) / lines
	Parallel(n*parts, func(i int) {
		from := i % parts * lines
		b := band{image: i / parts, from: from, to: min(from+lines, oh), h: h, w: w, oh: oh, ow: ow}
		c.band(b, y, x, add)
	})
}

// lines is how many lines of the output are computed at a time: what they read should stay in the cache.
func (c *Conv) lines(oh, w int) int {
	const numbers = 1 << 16
	line := max(w*c.in*c.Strides[0], 1)
	return min(max(numbers/line, 1), oh)
}

// band is some lines of the output of one image.
type band struct{ image, from, to, h, w, oh, ow int }

// band computes some lines.
func (c *Conv) band(b band, y, x, add []float32) {
	src, wide, release := c.source(b, x)
	defer release()
	offsets, run := c.offsets(wide)
	size := b.ow * c.out
	at := (b.image*b.oh + b.from) * size
	if c.depth != nil {
		for l := range b.to - b.from {
			for i := range b.ow {
				from := (l*c.Strides[0]*wide + i*c.Strides[1]) * c.in
				best.taps(c, src[from:], y[at+l*size+i*c.out:][:c.out], offsets)
			}
		}
		return
	}
	blocks := make([]rows, b.to-b.from)
	for g, m := range c.groups {
		for l := range blocks {
			start := l*c.Strides[0]*wide*c.in + g*c.in/c.Groups
			out := at + l*size + g*m.Cols
			end := at + (l+1)*size
			blocks[l] = rows{left: src[start:], step: c.Strides[1] * c.in, offsets: offsets, run: run, out: y[out:end], outStep: c.out, n: b.ow}
			if add != nil {
				blocks[l].add = add[out:end]
			}
		}
		m.multiply(blocks, c.Bounds)
	}
}

// offsets are the segments of a patch in lines of wide positions, and their length.
func (c *Conv) offsets(wide int) ([]int, int) {
	var out []int
	each := c.in / c.Groups
	for i := range c.Kernel[0] {
		if c.dense() {
			out = append(out, i*c.Dilations[0]*wide*c.in)
			continue
		}
		for j := range c.Kernel[1] {
			out = append(out, (i*c.Dilations[0]*wide+j*c.Dilations[1])*c.in)
		}
	}
	if c.dense() {
		return out, c.Kernel[1] * each
	}
	return out, each
}

// source returns the lines that a band reads, with pads, and how many positions a line has.
func (c *Conv) source(b band, x []float32) (src []float32, wide int, release func()) {
	image := b.h * b.w * c.in
	x = x[b.image*image : (b.image+1)*image]
	first := b.from*c.Strides[0] - c.Pads[0][0]
	count := (b.to-b.from-1)*c.Strides[0] + (c.Kernel[0]-1)*c.Dilations[0] + 1
	if c.Pads == [2][2]int{} {
		return x[first*b.w*c.in:], b.w, func() {}
	}
	wide = b.w + c.Pads[1][0] + c.Pads[1][1]
	buffer, _ := c.scratch.Get().(*[]float32)
	if buffer == nil || len(*buffer) < count*wide*c.in {
		fresh := make([]float32, count*wide*c.in)
		buffer = &fresh
	}
	src = (*buffer)[:count*wide*c.in]
	line, before, inner := wide*c.in, c.Pads[1][0]*c.in, b.w*c.in
	for i := range count {
		to := src[i*line : (i+1)*line]
		if k := first + i; k < 0 || k >= b.h {
			clear(to)
			continue
		}
		clear(to[:before])
		copy(to[before:], x[(first+i)*inner:][:inner])
		clear(to[before+inner:])
	}
	return src, wide, func() { c.scratch.Put(buffer) }
}
