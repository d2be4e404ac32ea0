package kernel

import (
	"fmt"
	"math"
)

// width is the number of columns of a panel of a packed matrix.
const width = 16

// Bounds are what results are held between: an activation such as Relu or Clip.
type Bounds struct{ Low, High float32 }

// Free are the bounds of no activation.
var free = Bounds{float32(math.Inf(-1)), float32(math.Inf(1))}

// Free returns bounds that change nothing.
func Free() Bounds { return free }

// Within returns bounds that hold both.
func (b Bounds) Within(c Bounds) Bounds {
	return Bounds{max(b.Low, c.Low), max(min(b.High, c.High), max(b.Low, c.Low))}
}

// Matrix is the right operand of a product [Rows, Cols] with a number added to each column. It is
// packed in panels of 16 columns, each of which is [Rows, 16].
type Matrix struct {
	Rows, Cols int
	panels     []float32
	bias       []float32 // a multiple of 16
}

// Pack packs b, whose element (i, j) lies at i*rowStep + j*colStep. A nil bias is zero.
func Pack(b []float32, rows, cols, rowStep, colStep int, bias []float32) *Matrix {
	m := &Matrix{Rows: rows, Cols: cols}
	n := (cols + width - 1) / width
	m.panels, m.bias = make([]float32, n*rows*width), make([]float32, n*width)
	copy(m.bias, bias)
	m.fill(b, rowStep, colStep)
	return m
}

// fill writes the panels.
func (m *Matrix) fill(b []float32, rowStep, colStep int) {
	for p := 0; p*width < m.Cols; p++ {
		panel := m.panels[p*m.Rows*width : (p+1)*m.Rows*width]
		cols := min(width, m.Cols-p*width)
		switch {
		case colStep == 1:
			for i := range m.Rows {
				copy(panel[i*width:][:cols], b[i*rowStep+p*width:])
			}
		default:
			for j := range cols {
				at := (p*width + j) * colStep
				for i := range m.Rows {
					panel[i*width+j] = b[at+i*rowStep]
				}
			}
		}
	}
}

// rows is a block of rows of a product. Row r of the left matrix consists of segments of run
// numbers, which start at left[r*step+offsets[s]]; the result's row starts at out[r*outStep].
type rows struct {
	left    []float32
	step    int
	offsets []int
	run     int
	out     []float32
	outStep int
	add     []float32 // added to the result, nil for nothing; rows as far apart as those of out
	n       int
}

// check panics where a block reaches beyond its operands.
func (r *rows) check(m *Matrix) {
	last := r.offsets[0]
	for _, o := range r.offsets {
		if o < 0 {
			panic("kernel: a segment starts before its operand")
		}
		last = max(last, o)
	}
	if need := (r.n-1)*r.step + last + r.run; len(r.left) < need || r.run*len(r.offsets) != m.Rows || r.step < 0 {
		panic(fmt.Sprintf("kernel: the left operand has %d numbers in %d segments of %d, want %d for %d rows", len(r.left), len(r.offsets), r.run, need, m.Rows))
	}
	need := (r.n-1)*r.outStep + m.Cols
	if len(r.out) < need || r.add != nil && len(r.add) < need || r.outStep < 0 {
		panic(fmt.Sprintf("kernel: the result has %d numbers, want %d", len(r.out), need))
	}
}

// multiply computes blocks of rows, all by a panel before the next panel.
func (m *Matrix) multiply(blocks []rows, b Bounds) {
	for i := range blocks {
		blocks[i].check(m)
	}
	wide := best.panels
	for p := 0; p*width < m.Cols; p += wide {
		for i := range blocks {
			m.panel(&blocks[i], p, min(wide*width, m.Cols-p*width), b)
		}
	}
}

// panel computes the columns from panel p on, at most best.panels panels.
func (m *Matrix) panel(r *rows, p, cols int, b Bounds) {
	parts := (r.n + best.rows - 1) / best.rows
	for k := range parts {
		from, to := k*r.n/parts, (k+1)*r.n/parts
		best.tile(m, r, p, from, to-from, cols, b)
	}
}

// Multiply writes left [n, m.Rows] times m to out [n, m.Cols], on all cores. Where add is not nil
// it has out's size and is added.
func (m *Matrix) Multiply(out, left []float32, n int, add []float32, b Bounds) {
	if m.Rows == 0 || n == 0 || m.Cols == 0 {
		m.empty(out[:n*m.Cols], add, b)
		return
	}
	each := max(min(n, (1<<16)/m.Rows), 4*best.rows)
	Parallel((n+each-1)/each, func(i int) { m.Some(out, left, i*each, min((i+1)*each, n), add, b) })
}

// Some is Multiply for the rows from to to alone, on one core.
func (m *Matrix) Some(out, left []float32, from, to int, add []float32, b Bounds) {
	r := rows{left: left[from*m.Rows : to*m.Rows], step: m.Rows, offsets: []int{0}, run: m.Rows, out: out[from*m.Cols : to*m.Cols], outStep: m.Cols, n: to - from}
	if add != nil {
		r.add = add[from*m.Cols : to*m.Cols]
	}
	m.multiply([]rows{r}, b)
}

// empty is a product over no numbers.
func (m *Matrix) empty(out, add []float32, b Bounds) {
	for i := range out {
		x := m.bias[i%m.Cols]
		if add != nil {
			x += add[i]
		}
		out[i] = b.hold(x)
	}
}

// hold returns x between the bounds; what is no number stays none.
func (b Bounds) hold(x float32) float32 { return min(max(x, b.Low), b.High) }
