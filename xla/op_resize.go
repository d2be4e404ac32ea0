package xla

import (
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

func init() {
	rules["Resize"] = one(resize)
	rules["Upsample"] = one(resize)
}

// resampling is Resize's arithmetic of one axis: which inputs an output position is made of, with which weights.
type resampling struct {
	coordinates, nearest, mode string
	in, out                    int
	scale                      float64
	from, to                   float64 // region of tf_crop_and_resize
	cubic                      float64
	exclude, antialias         bool
}

// at is the position in the input of output position i.
func (r *resampling) at(i int) float64 {
	x, n, m := float64(i), float64(r.in), float64(r.out)
	switch r.coordinates {
	case "asymmetric":
		return x / r.scale
	case "align_corners":
		if r.out == 1 {
			return 0
		}
		return x * (n - 1) / (m - 1)
	case "pytorch_half_pixel":
		if r.out == 1 {
			return 0
		}
	case "half_pixel_symmetric":
		adjust := m / (r.scale * n)
		return n/2*(1-adjust) + (x+.5)/r.scale - .5
	case "tf_half_pixel_for_nn":
		return (x + .5) / r.scale
	case "tf_crop_and_resize":
		if r.out == 1 {
			return .5 * (r.from + r.to) * (n - 1)
		}
		return r.from*(n-1) + x*(r.to-r.from)*(n-1)/(m-1)
	}
	return (x+.5)/r.scale - .5
}

func (r *resampling) round(x float64) int {
	switch r.nearest {
	case "floor":
		return int(math.Floor(x))
	case "ceil":
		return int(math.Ceil(x))
	case "round_prefer_ceil":
		return int(math.Floor(x + .5))
	}
	return int(math.Ceil(x - .5))
}

// kernel is the weight of an input at distance d.
func (r *resampling) kernel(d float64) float64 {
	d = math.Abs(d)
	if r.mode != "cubic" {
		return max(0, 1-d)
	}
	a := r.cubic
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

// matrix is [out, in].
func (r *resampling) matrix() []float32 {
	w := make([]float32, r.out*r.in)
	for i := range r.out {
		row, x := w[i*r.in:(i+1)*r.in], r.at(i)
		if r.mode == "nearest" {
			row[min(max(r.round(x), 0), r.in-1)] = 1
			continue
		}
		reach, shrink := 1.0, 1.0
		if r.mode == "cubic" {
			reach = 2
		}
		if r.antialias && r.scale < 1 {
			shrink = r.scale
		}
		var taps []int
		var weights []float64
		sum := 0.0
		for k := int(math.Floor(x - reach/shrink)); k <= int(math.Ceil(x+reach/shrink)); k++ {
			v := r.kernel((float64(k) - x) * shrink)
			if r.exclude && (k < 0 || k >= r.in) || r.antialias && (k < 0 || k >= r.in) {
				v = 0
			}
			taps, weights, sum = append(taps, k), append(weights, v), sum+v
		}
		for j, k := range taps {
			row[min(max(k, 0), r.in-1)] += float32(weights[j] / sum)
		}
	}
	return w
}

// resize multiplies each resized axis with a matrix; nearest neighbours by whole factors are repeated instead.
func resize(o *nodeOp) *value {
	v := o.in[0]
	d := v.dims()
	axes := o.normals(o.intsOr("axes", axesFrom(0, len(d))), len(d))
	scaleAt, sizeAt, roiAt := 2, 3, 1
	if o.OpType == "Upsample" || o.since < 11 {
		scaleAt, sizeAt, roiAt = 1, 9, 9
	}
	var scales, roi []float64
	var sizes []int
	if o.has(sizeAt) {
		sizes = o.ints(sizeAt)
	} else if o.has(scaleAt) && o.in[scaleAt].known != nil {
		scales = floats(o.in[scaleAt].known)
	} else if a := o.attr("scales"); a != nil {
		for _, s := range a.Floats {
			scales = append(scales, float64(s))
		}
	} else {
		o.fail("scales that depend on the data")
	}
	if o.has(roiAt) && o.in[roiAt].known != nil {
		roi = floats(o.in[roiAt].known)
	}
	coordinates := o.textOr("coordinate_transformation_mode", "half_pixel")
	if o.since < 11 {
		coordinates = "asymmetric"
	}
	if coordinates == "tf_crop_and_resize" && len(roi) != 2*len(axes) {
		o.fail("a region that depends on the data")
	}
	policy := o.textOr("keep_aspect_ratio_policy", "stretch")
	if sizes != nil && policy != "stretch" {
		sizes = keptAspect(d, axes, sizes, policy)
	}
	for i, a := range axes {
		r := &resampling{coordinates: coordinates, nearest: o.textOr("nearest_mode", "round_prefer_floor"), mode: o.textOr("mode", "nearest"), in: d[a],
			cubic: o.floatOr("cubic_coeff_a", -.75), exclude: o.intOr("exclude_outside", 0) != 0, antialias: o.intOr("antialias", 0) != 0}
		if o.since < 11 {
			r.nearest = "floor"
		}
		if sizes != nil {
			r.out, r.scale = sizes[i], float64(sizes[i])/float64(d[a])
		} else {
			r.scale = scales[i]
			r.out = int(math.Floor(float64(d[a]) * r.scale))
		}
		if coordinates == "tf_crop_and_resize" {
			r.from, r.to = roi[i], roi[len(axes)+i]
			if r.from < 0 || r.to > 1 {
				o.fail("a region beyond the input")
			}
		} else if r.out == r.in && r.scale == 1 {
			continue
		}
		v = o.e.resampled(v, a, r)
	}
	return v
}

func keptAspect(d, axes, sizes []int, policy string) []int {
	scale := math.Inf(1)
	if policy == "not_smaller" {
		scale = 0
	}
	for i, a := range axes {
		s := float64(sizes[i]) / float64(d[a])
		if policy == "not_smaller" {
			scale = max(scale, s)
		} else {
			scale = min(scale, s)
		}
	}
	out := slices.Clone(sizes)
	for i, a := range axes {
		out[i] = int(math.Floor(float64(d[a])*scale + .5))
	}
	return out
}

func (e *env) resampled(v *value, axis int, r *resampling) *value {
	x, back := e.node(v), func(y *Node) *value { return plain(y) }
	if v.only() {
		x, axis, back = v.last, []int{0, 3, 1, 2}[axis], channelsLast
	}
	d := x.Shape().Dimensions
	w := tensors.FromFlatDataAndDimensions(r.matrix(), r.out, r.in)
	m := cast(ConstTensor(e.g, w), x.DType())
	y := DotGeneral(Reshape(x, product(d[:axis]), d[axis], product(d[axis+1:])), []int{1}, nil, m, []int{1}, nil) // [before, after, out]
	y = Reshape(TransposeAllAxes(y, 0, 2, 1), slices.Concat(d[:axis], []int{r.out}, d[axis+1:])...)
	return back(y)
}
