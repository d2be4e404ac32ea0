package repair

import (
	"math"
	"math/rand/v2"
)

// Noise returns n smooth random inputs of the given dims [C, H, W] (or any other, which become white): grids of several coarsenesses, enlarged, each of mean 0 and
// variance 1, in equal shares.
func Noise(n int, dims []int, seed uint64) Array {
	r := rand.New(rand.NewPCG(seed, 0x6e01))
	size := 1
	for _, d := range dims {
		size *= d
	}
	a := Array{Dims: append([]int{n}, dims...), Floats: make([]float32, n*size)}
	for i := range n {
		x := a.Floats[i*size : (i+1)*size]
		grid := []int{4, 7, 14, 0}[i%4]
		if len(dims) != 3 || grid == 0 {
			for k := range x {
				x[k] = float32(r.NormFloat64())
			}
			continue
		}
		area := dims[1] * dims[2]
		for c := range dims[0] {
			smooth(x[c*area:(c+1)*area], dims[1], dims[2], grid, r)
		}
		standardise(x)
	}
	return a
}

// smooth fills a plane with a random grid, enlarged bilinearly.
func smooth(x []float32, h, w, grid int, r *rand.Rand) {
	g := make([]float64, grid*grid)
	for i := range g {
		g[i] = r.NormFloat64()
	}
	for y := range h {
		fy := (float64(y)+.5)/float64(h)*float64(grid) - .5
		y0 := int(math.Floor(fy))
		for c := range w {
			fx := (float64(c)+.5)/float64(w)*float64(grid) - .5
			x0 := int(math.Floor(fx))
			at := func(dy, dx int) float64 {
				return g[min(max(y0+dy, 0), grid-1)*grid+min(max(x0+dx, 0), grid-1)]
			}
			ty, tx := fy-float64(y0), fx-float64(x0)
			x[y*w+c] = float32((1-ty)*((1-tx)*at(0, 0)+tx*at(0, 1)) + ty*((1-tx)*at(1, 0)+tx*at(1, 1)))
		}
	}
}

func standardise(x []float32) {
	sum, square := 0.0, 0.0
	for _, v := range x {
		sum += float64(v)
		square += float64(v) * float64(v)
	}
	n := float64(len(x))
	mean := sum / n
	sd := math.Sqrt(math.Max(square/n-mean*mean, 1e-12))
	for i := range x {
		x[i] = float32((float64(x[i]) - mean) / sd)
	}
}
