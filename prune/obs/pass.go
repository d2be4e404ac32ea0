package obs

import (
	"context"
	"slices"

	"github.com/metaprune/metaprune/graphcodec/coupling"
	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/metaprune/metaprune/prune/gram"
)

// maxRows bounds the samples and positions that second moments are taken over.
const maxRows = 8192

// momentBytes bounds the second moments that are in memory at once. Where they take more, the
// samples run more than once, each time for some of the groups.
const momentBytes = 512 << 20

// source is what a layer, or one group of a grouped convolution, reads: n channels of a value.
type source struct {
	value       string
	at, from, n int // the axis of channels, from the end where negative, and the first of them
}

// moments are what is known of a source: the covariance of its channels, or their mean squares.
type moments struct {
	sums       *gram.Accumulator
	covariance []float64 // [n][n], the upper half
	squares    []float64
	count      int
}

// pass scores some groups from one run of all samples.
type pass struct {
	analysis *coupling.Analysis
	layers   map[string]*layer
	groups   []*coupling.Group
	diagonal bool // mean squares are enough
	products *gram.Products
	moments  map[source]*moments
}

// passes divides the groups, so that the moments of each pass fit into memory.
func passes(a *coupling.Analysis, layers map[string]*layer) [][]*coupling.Group {
	var out [][]*coupling.Group
	bytes := int64(0)
	for i := range a.Groups {
		g := &a.Groups[i]
		if g.Frozen != "" {
			continue
		}
		own := int64(0)
		for _, s := range sources(g, layers) {
			if s.n <= MaxInputs {
				own += 8 * int64(s.n) * int64(s.n)
			}
		}
		if len(out) == 0 || bytes+own > momentBytes {
			out, bytes = append(out, nil), 0
		}
		bytes += own
		out[len(out)-1] = append(out[len(out)-1], g)
	}
	return out
}

// sources are what the layers that read a group read, each once.
func sources(g *coupling.Group, layers map[string]*layer) []source {
	var out []source
	for _, m := range g.Members {
		l := reads(m, layers)
		if l == nil {
			continue
		}
		n := int(m.Const.Tensor.Dims[m.Axis])
		for k := range l.groups {
			s := source{l.node.Inputs[0], l.channel, k * n, n}
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// run runs all samples and takes the moments.
func (p *pass) run(ctx context.Context, e engine.Engine, m *onnxio.Model, chunks []map[string]engine.Array) error {
	var all []source
	for _, g := range p.groups {
		all = append(all, sources(g, p.layers)...)
	}
	t, err := tap(ctx, e, m, all, chunks[0])
	if err != nil || t == nil {
		return err
	}
	defer t.close()
	samples, done := 0, 0
	for _, c := range chunks {
		samples += engine.Count(c)
	}
	for _, c := range chunks {
		values, err := t.run(ctx, c)
		if err != nil {
			return err
		}
		n := engine.Count(c)
		for _, s := range all {
			if err := p.add(ctx, s, values[s.value], done, n, samples); err != nil {
				return err
			}
		}
		done += n
	}
	return nil
}

// taps runs a model for some of its values.
type taps struct {
	session engine.Session
	asked   []string
}

// tap prepares a model for the values that sources read; nil where there are none.
func tap(ctx context.Context, e engine.Engine, m *onnxio.Model, all []source, inputs map[string]engine.Array) (*taps, error) {
	t := &taps{}
	for _, s := range all {
		if _, given := inputs[s.value]; !given {
			t.asked = append(t.asked, s.value)
		}
	}
	slices.Sort(t.asked)
	t.asked = slices.Compact(t.asked)
	if len(t.asked) == 0 {
		if len(all) == 0 {
			return nil, nil
		}
		return t, nil
	}
	open, g := *m, *m.Graph
	open.Graph, g.Outputs = &g, nil
	for _, name := range t.asked {
		g.Outputs = append(g.Outputs, &onnxio.ValueInfo{Name: name, Type: &onnxio.Type{Tensor: &onnxio.TensorType{ElemType: onnxio.Float}}})
	}
	var err error
	t.session, err = engine.Compile(ctx, e, &open)
	return t, err
}

func (t *taps) run(ctx context.Context, chunk map[string]engine.Array) (map[string]engine.Array, error) {
	out := map[string]engine.Array{}
	for name, v := range chunk {
		out[name] = v
	}
	if t.session == nil {
		return out, ctx.Err()
	}
	values, err := t.session.Run(ctx, chunk)
	if err != nil {
		return nil, err
	}
	for i, name := range t.asked {
		out[name] = values[i]
	}
	return out, nil
}

func (t *taps) close() {
	if t.session != nil {
		t.session.Close()
	}
}

// add takes a source's value on the samples done, ..., done+n-1 of all in. A value of another shape is left out.
func (p *pass) add(ctx context.Context, s source, x engine.Array, done, n, samples int) error {
	if len(x.Floats) == 0 || s.at >= len(x.Dims) || -s.at > len(x.Dims) {
		return nil
	}
	before, all, after := x.Blocks(s.at)
	if s.from+s.n > all || all%s.n != 0 {
		return nil
	}
	m := p.moments[s]
	own := before * after
	if p.diagonal || s.n > MaxInputs {
		if m == nil {
			m = &moments{squares: make([]float64, s.n)}
			p.moments[s] = m
		}
		m.square(x, s)
		return nil
	}
	start, total := 0, own
	if n > 0 && own%n == 0 {
		start, total = own/n*done, own/n*samples
	}
	rows := positions(total, start, own)
	if m == nil {
		expected := min(total, maxRows)
		m = &moments{sums: p.products.New(expected, s.n, 0, nil, min(expected, max(2*len(rows), 256)))}
		p.moments[s] = m
	}
	return m.sums.Add(ctx, len(rows), func(i int, to, _ []float32) {
		b, at := rows[i]/after, rows[i]%after
		for j := range to {
			to[j] = x.Floats[(b*all+s.from+j)*after+at]
		}
	})
}

// positions are those of evenly spaced rows of total that lie among the own ones from start on, counted from there.
func positions(total, start, own int) []int {
	rows := min(total, maxRows)
	var out []int
	for i := (start*rows + total - 1) / total; i < rows; i++ {
		r := i*total/rows - start
		if r >= own {
			break
		}
		if r >= 0 {
			out = append(out, r)
		}
	}
	return out
}

// square adds the squares of a value's channels.
func (m *moments) square(x engine.Array, s source) {
	before, all, after := x.Blocks(s.at)
	for b := range before {
		for j := range s.n {
			for _, v := range x.Floats[(b*all+s.from+j)*after : (b*all+s.from+j+1)*after] {
				m.squares[j] += float64(v) * float64(v)
			}
		}
	}
	m.count += before * after
}

// means are the mean squares of channels.
func (m *moments) means() []float64 {
	out := slices.Clone(m.squares)
	for i := range out {
		out[i] /= float64(m.count)
	}
	return out
}
