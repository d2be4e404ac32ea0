package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C avo . -out ../kernel_amd64.s

// tile is what the kernels in kernel_amd64.s read; avo/main.go has the offsets of its fields.
type tile struct {
	a, b, c, bias, add           *float32
	offsets                      *int // of the segments from a, in bytes
	segments, run                int
	stepA, stepC, stepAdd, panel int    // in bytes
	mask                         int    // one bit for each column of the last vector (AVX-512)
	lanes                        *int32 // 16 masks (AVX2)
	low, high                    float32
}

// taps is what tapsAVX2 reads.
type taps struct {
	x, w, y, bias   *float32
	offsets         *int // in bytes
	count, n, stepW int
	low, high       float32
}

// bestTiler returns the fastest tiles that the processor runs.
func bestTiler() tiler {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasFMA:
		return tiler{rows: 12, panels: 2, tile: tileAVX512, taps: tapsVector}
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return tiler{rows: 6, panels: 1, tile: tileAVX2, taps: tapsVector}
	}
	return portable
}

// tileOf fills in what all kernels read. The block was checked.
func tileOf(m *Matrix, r *rows, p, from int, b Bounds, scaled *[maxSegments]int) tile {
	for i, o := range r.offsets {
		scaled[i] = 4 * o
	}
	t := tile{
		a: &r.left[from*r.step], b: &m.panels[p*m.Rows*width], c: &r.out[from*r.outStep+p*width], bias: &m.bias[p*width],
		offsets: &scaled[0], segments: len(r.offsets), run: r.run,
		stepA: 4 * r.step, stepC: 4 * r.outStep, stepAdd: 4 * r.outStep, panel: 4 * m.Rows * width,
		low: b.Low, high: b.High,
	}
	if r.add != nil {
		t.add = &r.add[from*r.outStep+p*width]
	}
	return t
}

func tileAVX512(m *Matrix, r *rows, p, from, n, cols int, b Bounds) {
	var scaled [maxSegments]int
	t := tileOf(m, r, p, from, b, &scaled)
	panels := (cols + width - 1) / width
	t.mask = 1<<(cols-(panels-1)*width) - 1
	if panels == 1 {
		call16(&t, n)
	} else {
		call32(&t, n)
	}
}

// masks are 16 lanes that are on before 16 that are off.
var masks = [2 * width]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

func tileAVX2(m *Matrix, r *rows, p, from, n, cols int, b Bounds) {
	var scaled [maxSegments]int
	t := tileOf(m, r, p, from, b, &scaled)
	t.lanes = &masks[width-cols]
	callAVX2(&t, n)
}

// tapsVector computes eight channels at a time and what remains in portable code.
func tapsVector(c *Conv, x, y []float32, offsets []int) {
	var scaled [maxSegments]int
	n := c.out &^ 7
	if n > 0 {
		last := 0
		for i, o := range offsets {
			scaled[i], last = 4*o, max(last, o)
		}
		_, _, _, _ = x[last+n-1], y[n-1], c.depth[(len(offsets)-1)*c.out+n-1], c.bias[n-1]
		t := taps{x: &x[0], w: &c.depth[0], y: &y[0], bias: &c.bias[0], offsets: &scaled[0], count: len(offsets), n: n, stepW: 4 * c.out, low: c.Bounds.Low, high: c.Bounds.High}
		tapsAVX2((*byte)(unsafe.Pointer(&t)))
	}
	if n < c.out {
		c.taps(x, y, offsets, n)
	}
}

//go:noescape
func tapsAVX2(t *byte)
