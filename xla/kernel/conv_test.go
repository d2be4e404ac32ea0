package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(r *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// tilers are the kernels that this processor runs.
func tilers() map[string]tiler {
	out := supported()
	out["portable"] = portable
	return out
}

// withEach runs a test with every kernel.
func withEach(t *testing.T, f func(t *testing.T)) {
	old := best
	defer func() { best = old }()
	for name, k := range tilers() {
		best = k
		t.Run(name, f)
	}
}

func near(t *testing.T, want, got []float32, what string) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		if math.Abs(float64(w-got[i])) > 1e-4*(1+math.Abs(float64(w))) {
			t.Fatalf("%s: element %d: want %g, got %g", what, i, w, got[i])
		}
	}
}

func TestMultiply(t *testing.T) {
	withEach(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, c := range [][3]int{{1, 1, 1}, {5, 7, 3}, {12, 16, 16}, {13, 9, 17}, {25, 3, 32}, {7, 40, 33}, {130, 65, 70}, {3, 0, 4}, {600, 300, 20}} {
			n, k, cols := c[0], c[1], c[2]
			left, right, bias, add := random(r, n*k), random(r, k*cols), random(r, cols), random(r, n*cols)
			want := make([]float32, n*cols)
			for i := range n {
				for j := range cols {
					sum := float64(bias[j] + add[i*cols+j])
					for l := range k {
						sum += float64(left[i*k+l] * right[l*cols+j])
					}
					want[i*cols+j] = float32(min(max(sum, -1), 6))
				}
			}
			got := make([]float32, n*cols)
			Pack(right, k, cols, cols, 1, bias).Multiply(got, left, n, add, Bounds{-1, 6})
			near(t, want, got, fmt.Sprint(c))
			turned := make([]float32, k*cols)
			for l := range k {
				for j := range cols {
					turned[j*k+l] = right[l*cols+j]
				}
			}
			Pack(turned, k, cols, 1, k, bias).Multiply(got, left, n, add, Bounds{-1, 6})
			near(t, want, got, fmt.Sprint(c, " transposed"))
		}
	})
}

// naive is a convolution by its definition, in float64.
func naive(c *Conv, w, bias, x, add []float32, n, h, wide int) []float32 {
	oh, ow := c.Out(h, wide)
	each, per := c.in/c.Groups, c.out/c.Groups
	y := make([]float32, n*oh*ow*c.out)
	for at := range y {
		o, pos := at%c.out, at/c.out
		j, i, image := pos%ow, pos/ow%oh, pos/ow/oh
		sum := 0.
		for ki := range c.Kernel[0] {
			for kj := range c.Kernel[1] {
				row, col := i*c.Strides[0]-c.Pads[0][0]+ki*c.Dilations[0], j*c.Strides[1]-c.Pads[1][0]+kj*c.Dilations[1]
				if row < 0 || row >= h || col < 0 || col >= wide {
					continue
				}
				for ch := range each {
					a := x[((image*h+row)*wide+col)*c.in+o/per*each+ch]
					sum += float64(a * w[((o*each+ch)*c.Kernel[0]+ki)*c.Kernel[1]+kj])
				}
			}
		}
		if bias != nil {
			sum += float64(bias[o])
		}
		if add != nil {
			sum += float64(add[at])
		}
		y[at] = c.Bounds.hold(float32(sum))
	}
	return y
}

func TestConv(t *testing.T) {
	one := [2]int{1, 1}
	cases := []struct {
		in, out, groups, h, w int
		g                     Geometry
	}{
		{1, 16, 1, 9, 8, Geometry{[2]int{3, 3}, one, one, [2][2]int{{1, 1}, {1, 1}}}},
		{16, 16, 1, 28, 28, Geometry{[2]int{3, 3}, one, one, [2][2]int{{1, 1}, {1, 1}}}},
		{5, 33, 1, 7, 9, Geometry{[2]int{3, 3}, [2]int{2, 2}, one, [2][2]int{{0, 1}, {1, 0}}}},
		{4, 40, 1, 11, 12, Geometry{[2]int{3, 2}, [2]int{1, 2}, [2]int{2, 3}, [2][2]int{{2, 2}, {1, 3}}}},
		{3, 7, 1, 30, 31, Geometry{[2]int{7, 7}, [2]int{2, 2}, one, [2][2]int{{3, 3}, {3, 3}}}},
		{32, 20, 1, 6, 5, Geometry{one, one, one, [2][2]int{}}},
		{8, 12, 1, 6, 5, Geometry{one, [2]int{2, 2}, one, [2][2]int{}}},
		{8, 12, 4, 6, 5, Geometry{[2]int{3, 3}, one, one, [2][2]int{{1, 1}, {1, 1}}}},
		{6, 12, 6, 6, 5, Geometry{[2]int{3, 3}, one, one, [2][2]int{{1, 1}, {1, 1}}}},
		{45, 45, 45, 6, 5, Geometry{[2]int{3, 3}, [2]int{2, 1}, [2]int{1, 2}, [2][2]int{{1, 1}, {2, 1}}}},
		{64, 64, 64, 12, 12, Geometry{[2]int{5, 5}, one, one, [2][2]int{}}},
		{2, 3, 1, 80, 70, Geometry{[2]int{3, 65}, one, one, [2][2]int{{1, 1}, {1, 1}}}},
	}
	withEach(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for i, k := range cases {
			x, w, bias := random(r, 3*k.h*k.w*k.in), random(r, k.out*k.in/k.groups*k.g.Kernel[0]*k.g.Kernel[1]), random(r, k.out)
			if i%3 == 0 {
				bias = nil
			}
			b := Free()
			if i%2 == 0 {
				b.Low = 0
			}
			c := NewConv(w, k.out, k.in, k.g, k.groups, bias, b)
			require.NotNil(t, c)
			oh, ow := c.Out(k.h, k.w)
			y := make([]float32, 3*oh*ow*k.out)
			var add []float32
			if c.Adds() {
				add = random(r, len(y))
			}
			c.Run(y, x, 3, k.h, k.w, add)
			near(t, naive(c, w, bias, x, add, 3, k.h, k.w), y, fmt.Sprintf("case %d", i))
		}
	})
	require.Nil(t, NewConv(make([]float32, 81), 1, 1, Geometry{[2]int{9, 9}, one, [2]int{1, 2}, [2][2]int{}}, 1, nil, Free()))
}

// What is no number stays none, and infinities are held between the bounds.
func TestBoundsOfSpecialValues(t *testing.T) {
	withEach(t, func(t *testing.T) {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		got := make([]float32, 3)
		Pack([]float32{1}, 1, 1, 1, 1, nil).Multiply(got, []float32{nan, inf, -inf}, 3, nil, Bounds{0, 6})
		require.True(t, math.IsNaN(float64(got[0])))
		require.Equal(t, []float32{6, 0}, got[1:])
	})
}

func TestMistakesPanic(t *testing.T) {
	m := Pack(make([]float32, 6), 2, 3, 3, 1, nil)
	require.Panics(t, func() { m.Multiply(make([]float32, 6), make([]float32, 3), 2, nil, Free()) })
	require.Panics(t, func() { m.Multiply(make([]float32, 5), make([]float32, 4), 2, nil, Free()) })
}

func BenchmarkConv(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, k := range [][4]int{{16, 16, 28, 3}, {32, 32, 14, 3}, {64, 64, 7, 3}, {1, 16, 28, 3}, {256, 64, 56, 1}, {64, 64, 56, 3}, {512, 512, 7, 3}, {3, 64, 224, 7}} {
		b.Run(fmt.Sprint(k), func(b *testing.B) {
			p := k[3] / 2
			c := NewConv(random(r, k[0]*k[1]*k[3]*k[3]), k[1], k[0], Geometry{[2]int{k[3], k[3]}, [2]int{1, 1}, [2]int{1, 1}, [2][2]int{{p, p}, {p, p}}}, 1, nil, Free())
			n := 8
			x, y := random(r, n*k[2]*k[2]*k[0]), make([]float32, n*k[2]*k[2]*k[1])
			for b.Loop() {
				c.Run(y, x, n, k[2], k[2], nil)
			}
			b.ReportMetric(2*float64(len(y)*k[0]*k[3]*k[3])*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
