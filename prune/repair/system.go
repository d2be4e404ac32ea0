package repair

import (
	"context"
	"slices"

	"github.com/metaprune/metaprune/prune/gram"
)

// system is the least squares of a layer, or of one group of a convolution.
type system struct {
	sums  *gram.Accumulator
	index []int // where a solution's entries [inputs][outputs] lie in the weight
}

// systems gathers the least squares of a layer over all chunks; nil where its shapes are not those of a layer.
func (q *pair) systems(ctx context.Context, l *layer, t *target, w []float32) ([]*system, error) {
	groups, k, each := l.sizes(q.p.constant(l.weight).Dims)
	if len(t.kept) != groups*each {
		return nil, nil
	}
	total := 0
	for i := range q.p.store.sizes {
		total += l.rows(q.o.store.like(t.value, i))
	}
	rows := q.options.positions(total, k)
	if len(rows) == 0 {
		return nil, nil
	}
	out := make([]*system, groups)
	for g := range out {
		s := &system{index: l.entries(g, k, each)}
		w0 := make([]float32, len(s.index))
		for i, j := range s.index {
			w0[i] = w[j]
		}
		s.sums = q.products.New(len(rows), k, each, w0, 0)
		out[g] = s
	}
	first := 0
	err := q.chunks(l, t, func(i int, c chunk) error {
		n := l.rows(c.y)
		from, _ := slices.BinarySearch(rows, first)
		to, _ := slices.BinarySearch(rows, first+n)
		start := first
		first += n
		for g, s := range out {
			fill := l.filler(t, &c, q.p.constant(l.weight).Dims, g, each)
			if fill == nil {
				out = nil
				return nil
			}
			own := rows[from:to]
			if err := s.sums.Add(ctx, len(own), func(i int, x, z []float32) { fill(own[i]-start, x, z) }); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// sizes are a layer's groups and, of each, how many inputs an output has and how many outputs there are.
func (l *layer) sizes(dims []int64) (groups, inputs, outputs int) {
	if l.conv == nil {
		return 1, int(dims[1-l.out]), int(dims[l.out])
	}
	return l.conv.groups, int(product(dims[1:])), int(dims[0]) / l.conv.groups
}

// entries lists where the weights [inputs][outputs] of a group lie.
func (l *layer) entries(group, inputs, outputs int) []int {
	out := make([]int, 0, inputs*outputs)
	for i := range inputs {
		for j := range outputs {
			if l.conv == nil && l.out == 1 {
				out = append(out, i*outputs+j)
			} else {
				out = append(out, (group*outputs+j)*inputs+i)
			}
		}
	}
	return out
}

// rows is how many rows a layer's output on a chunk gives.
func (l *layer) rows(y Array) int {
	before, _, after := y.Blocks(l.channel)
	return before * after
}

// filler writes rows of a group's system: what an output at a place reads, and its target. It is nil
// where the arrays do not fit together.
func (l *layer) filler(t *target, c *chunk, dims []int64, group, each int) func(r int, x, z []float32) {
	if l.conv == nil {
		_, k, _ := c.x.Blocks(-1)
		if k != int(dims[1-l.out]) || len(c.x.Floats)/max(k, 1) != l.rows(c.y) {
			return nil
		}
		return func(r int, x, z []float32) {
			copy(x, c.x.Floats[r*k:(r+1)*k])
			t.row(c, r, 0, 1, 0, z)
		}
	}
	if len(c.x.Dims) != 4 || len(c.y.Dims) != 4 {
		return nil
	}
	p := &patches{geometry: l.conv, kernel: [2]int{int(dims[2]), int(dims[3])}, from: group * int(dims[1]), channels: int(dims[1])}
	oh, ow := c.y.Dims[2], c.y.Dims[3]
	return func(r int, x, z []float32) {
		n, at := r/(oh*ow), r%(oh*ow)
		p.fill(c.x, n, at/ow, at%ow, x)
		t.row(c, n, at, oh*ow, group*each, z)
	}
}

// patches are what a group of a convolution reads, [C, kh, kw], as kernels are.
type patches struct {
	*geometry
	kernel         [2]int
	from, channels int
}

// fill writes the patch of sample n's output at row y and column c.
func (p *patches) fill(x Array, n, y, c int, to []float32) {
	h, w := x.Dims[2], x.Dims[3]
	at := 0
	for ch := range p.channels {
		plane := x.Floats[(n*x.Dims[1]+p.from+ch)*h*w : (n*x.Dims[1]+p.from+ch+1)*h*w]
		for i := range p.kernel[0] {
			sy := y*p.strides[0] - p.pads[0] + i*p.dilations[0]
			for j := range p.kernel[1] {
				sx := c*p.strides[1] - p.pads[1] + j*p.dilations[1]
				to[at] = 0
				if sy >= 0 && sy < h && sx >= 0 && sx < w {
					to[at] = plane[sy*w+sx]
				}
				at++
			}
		}
	}
}
