package gram

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/engine"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
)

// calculator is an engine for products, in float32.
type calculator struct{ runs int }

func (c *calculator) Run(_ context.Context, m *onnxio.Model, feeds map[string]engine.Array) ([]engine.Array, error) {
	c.runs++
	v := map[string]*mat.Dense{}
	for name, a := range feeds {
		d := mat.NewDense(a.Dims[0], a.Dims[1], nil)
		for i, x := range a.Floats {
			d.Set(i/a.Dims[1], i%a.Dims[1], float64(x))
		}
		v[name] = d
	}
	numbers := map[string]int{}
	for _, t := range m.Graph.Initializers {
		n, err := t.Int64s()
		if err != nil {
			return nil, err
		}
		numbers[t.Name] = int(n[0])
	}
	for _, n := range m.Graph.Nodes {
		x := v[n.Inputs[0]]
		rows, _ := x.Dims()
		var out mat.Dense
		switch n.OpType {
		case "Identity":
			out = *x
		case "Transpose":
			out.CloneFrom(x.T())
		case "Slice":
			out.CloneFrom(x.Slice(0, rows, numbers[n.Inputs[1]], numbers[n.Inputs[2]]))
		case "MatMul":
			out.Mul(x, v[n.Inputs[1]])
		case "Sub":
			out.Sub(x, v[n.Inputs[1]])
		}
		v[n.Outputs[0]] = &out
	}
	var all []engine.Array
	for _, o := range m.Graph.Outputs {
		d := v[o.Name]
		r, c := d.Dims()
		a := engine.Array{Dims: []int{r, c}, Type: onnxio.Float}
		for i := range r * c {
			a.Floats = append(a.Floats, float32(d.At(i/c, i%c)))
		}
		all = append(all, a)
	}
	return all, nil
}

// problem is x w + b = z with noise, x far from zero.
type problem struct {
	rows, k, o int
	x, z, w0   []float32
}

func newProblem(seed uint64, rows, k, o int) *problem {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &problem{rows: rows, k: k, o: o, w0: make([]float32, k*o)}
	w := make([]float64, k*o)
	for i := range w {
		w[i] = r.NormFloat64()
		p.w0[i] = float32(w[i] + r.NormFloat64()/10)
	}
	for range rows {
		z := make([]float64, o)
		for j := range z {
			z[j] = 3 + r.NormFloat64()/10
		}
		for i := range k {
			x := 20 + r.NormFloat64()
			p.x = append(p.x, float32(x))
			for j := range z {
				z[j] += x * w[i*o+j]
			}
		}
		for _, v := range z {
			p.z = append(p.z, float32(v))
		}
	}
	return p
}

// solve is the closed form in float64: every row at once.
func (p *problem) solve(t *testing.T, ridge float64, bias bool) (w, b []float64) {
	x, z := mat.NewDense(p.rows, p.k, nil), mat.NewDense(p.rows, p.o, nil)
	mean := func(v []float32, cols, j int) float64 {
		if !bias {
			return 0
		}
		s := 0.0
		for i := range p.rows {
			s += float64(v[i*cols+j]) / float64(p.rows)
		}
		return s
	}
	for j := range p.k {
		m := mean(p.x, p.k, j)
		for i := range p.rows {
			x.Set(i, j, float64(p.x[i*p.k+j])-m)
		}
	}
	for j := range p.o {
		m := mean(p.z, p.o, j)
		for i := range p.rows {
			z.Set(i, j, float64(p.z[i*p.o+j])-m)
		}
	}
	var r, gram, d mat.Dense
	w0 := mat.NewDense(p.k, p.o, nil)
	for i, v := range p.w0 {
		w0.Set(i/p.o, i%p.o, float64(v))
	}
	r.Mul(x, w0)
	r.Sub(z, &r)
	gram.Mul(x.T(), x)
	trace := mat.Trace(&gram)
	for i := range p.k {
		gram.Set(i, i, gram.At(i, i)+ridge*trace/float64(p.k)+1e-9*float64(p.rows))
	}
	d.Mul(x.T(), &r)
	var v mat.Dense
	require.NoError(t, v.Solve(&gram, &d))
	v.Add(&v, w0)
	w, b = v.RawMatrix().Data, make([]float64, p.o)
	for j := range b {
		b[j] = mean(p.z, p.o, j)
		for i := range p.k {
			b[j] -= mean(p.x, p.k, i) * w[i*p.o+j]
		}
	}
	return w, b
}

func (p *problem) add(t *testing.T, a *Accumulator, chunk int) {
	for from := 0; from < p.rows; from += chunk {
		n := min(chunk, p.rows-from)
		require.NoError(t, a.Add(t.Context(), n, func(i int, x, z []float32) {
			copy(x, p.x[(from+i)*p.k:(from+i+1)*p.k])
			copy(z, p.z[(from+i)*p.o:(from+i+1)*p.o])
		}))
	}
}

// Rows that arrive in chunks give what all of them at once give, by the engine's products and by those taken here.
func TestSolveIsTheClosedForm(t *testing.T) {
	p := newProblem(1, 500, 12, 5)
	for _, bias := range []bool{true, false} {
		want, wantBias := p.solve(t, 1e-2, bias)
		for _, small := range []bool{true, false} {
			c := &calculator{}
			products := NewProducts(c)
			a := products.New(p.rows, p.k, p.o, p.w0, 64)
			require.True(t, a.small)
			a.small = small
			p.add(t, a, 37)
			got, b, ok, err := a.Solve(t.Context(), 1e-2, bias)
			require.NoError(t, err)
			require.True(t, ok)
			require.InDeltaSlice(t, want, got, 2e-4)
			require.InDeltaSlice(t, wantBias, b, 2e-2)
			require.Equal(t, !small, c.runs > 0)
			products.Close()
		}
	}
}

// A wide product is taken in parts, of which only the upper ones are asked for.
func TestCovarianceInParts(t *testing.T) {
	p := newProblem(2, 40, splitFrom+3, 0)
	c := &calculator{}
	products := NewProducts(c)
	a := products.New(p.rows, p.k, 0, nil, 16)
	a.small = false
	p.add(t, a, 9)
	got, err := a.Covariance(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, c.runs)
	b := NewProducts(nil).New(p.rows, p.k, 0, nil, 0)
	p.add(t, b, 40)
	want, err := b.Covariance(t.Context())
	require.NoError(t, err)
	for i := range p.k {
		for j := i; j < p.k; j++ {
			require.InDelta(t, want[i*p.k+j], got[i*p.k+j], 1e-4)
		}
	}
}

// A product that the engine takes off a matrix is the one that is taken here.
func TestMinus(t *testing.T) {
	const k, n = 3, 1 << 12
	r := rand.New(rand.NewPCG(3, 3))
	a, b := make([]float64, k*n), make([]float64, k*n)
	for i := range a {
		a[i], b[i] = r.NormFloat64(), r.NormFloat64()
	}
	c := &calculator{}
	here, there := make([]float64, n*n), make([]float64, n*n)
	require.NoError(t, NewProducts(nil).Minus(t.Context(), here, n, a, b))
	require.NoError(t, NewProducts(c).Minus(t.Context(), there, n, a, b))
	require.Equal(t, 1, c.runs)
	for i := 0; i < n*n; i += 997 {
		want := 0.0
		for j := range k {
			want -= a[j*n+i/n] * b[j*n+i%n]
		}
		require.InDelta(t, want, here[i], 1e-9)
		require.InDelta(t, want, there[i], 1e-5)
	}
}
